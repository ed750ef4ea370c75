"""Averages of frames over a coarse grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

GRID = 4
PIXEL_STD = 0.25
"""Pixels arrive as (x - .5) / PIXEL_STD with x in 0..1."""


def cell_means(pixels: Tensor) -> Tensor:
    """Means over a 4x4 grid.

    Args:
        pixels: ``(batch, time, chan, height, width)``, height and width multiples of 4.

    Returns:
        ``(batch, time, chan, 4, 4)``.
    """
    *lead, height, width = pixels.shape
    return pixels.reshape(*lead, GRID, height // GRID, GRID, width // GRID).mean(dim=(-3, -1))

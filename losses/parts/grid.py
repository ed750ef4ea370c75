"""Averages of frames over a coarse grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from losses.parts.precision import at_least_float32

if TYPE_CHECKING:
    from torch import Tensor

GRID = 4
PIXEL_MEAN, PIXEL_STD = 0.5, 0.25
"""Losses compare pixels as (x - .5) / .25 of x in 0..1, however a model normalises its own."""


def contrasted(pixels: Tensor) -> Tensor:
    """Pixels of 0..1 in the units in which losses compare them, float32 or wider."""
    return at_least_float32(pixels).sub(PIXEL_MEAN).div(PIXEL_STD)


def cell_means(pixels: Tensor) -> Tensor:
    """Means over a 4x4 grid.

    Args:
        pixels: ``(batch, time, chan, height, width)``, height and width multiples of 4.

    Returns:
        ``(batch, time, chan, 4, 4)``.
    """
    *lead, height, width = pixels.shape
    return pixels.reshape(*lead, GRID, height // GRID, GRID, width // GRID).mean(dim=(-3, -1))

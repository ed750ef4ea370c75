"""Neighbouring frames have similar features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from losses.parts.latents import steps
from losses.parts.precision import at_least_float32

if TYPE_CHECKING:
    from torch import Tensor


def temporal_similarity(*, frames: Tensor) -> Tensor:
    """Mean squared difference of neighbouring frames' features; 0 for a single frame.

    Alone it is least for constant features: combine it with a loss that keeps them apart.

    Args:
        frames: ``(batch, time, *places, dim)``.
    """
    change = steps(at_least_float32(frames))
    return change.square().sum() / max(1, change.numel())

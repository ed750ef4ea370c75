"""Latents change from frame to frame as the teacher's do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from losses.parts.latents import as_target, mean_where, steps, visible_pairs
from losses.parts.precision import at_least_float32

if TYPE_CHECKING:
    from torch import Tensor


def delta(
    *, frames_masked: Tensor, frame_mask: Tensor, frames_target: Tensor, normalise: bool = True
) -> Tensor:
    """Mean absolute difference of the changes, over cells visible before and after; else 0.

    Args:
        frames_masked: ``(batch, time, *places, dim)`` of the view with hidden cells.
        frame_mask: ``(batch, time, *places)`` bool, True = hidden.
        frames_target: ``(batch, time, *places, dim)`` of the teacher on the whole clip.
        normalise: See :func:`losses.parts.latents.as_target`.
    """
    target = as_target(frames_target, normalise=normalise)
    error = (steps(at_least_float32(frames_masked)) - steps(target)).abs().mean(-1)
    return mean_where(error, visible_pairs(frame_mask))

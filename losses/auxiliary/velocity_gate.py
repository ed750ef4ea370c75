"""Latents keep still where the teacher's do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from losses.parts.latents import as_target, mean_where, steps, visible_pairs
from losses.parts.precision import at_least_float32

if TYPE_CHECKING:
    from torch import Tensor


def velocity_gate(
    *,
    frames_masked: Tensor,
    frame_mask: Tensor,
    frames_target: Tensor,
    percentile: float = 0.5,
    normalise: bool = True,
) -> Tensor:
    """Mean absolute change over visible pairs, where moving cells count as 0; 0 without pairs.

    A cell is still where the teacher's latents change by no more than the quantile over the cells
    of its frame. With one vector per frame the quantile is taken over the steps of the clip, as
    there is nothing else to compare.

    Args:
        frames_masked: ``(batch, time, *places, dim)`` of the view with hidden cells.
        frame_mask: ``(batch, time, *places)`` bool, True = hidden.
        frames_target: ``(batch, time, *places, dim)`` of the teacher on the whole clip.
        percentile: 0..1, share of the cells that are held still.
        normalise: See :func:`losses.parts.latents.as_target`.
    """
    change = steps(at_least_float32(frames_masked)).abs().mean(-1)
    if change.shape[1] == 0:
        return change.sum()
    speed = steps(as_target(frames_target, normalise=normalise)).norm(dim=-1)
    rows = speed.flatten(2) if speed.ndim > 2 else speed
    threshold = rows.quantile(percentile, dim=-1, keepdim=True)
    still = (rows <= threshold).view(speed.shape)
    return mean_where(change * still, visible_pairs(frame_mask))

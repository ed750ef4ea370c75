"""Frame features stay spread out and do not repeat themselves (VICReg's two upper terms)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from losses.parts.precision import at_least_float32
from losses.parts.spread import covariance_penalty, standard_deviation_hinge

if TYPE_CHECKING:
    from torch import Tensor


def frame_spread(*, frames: Tensor, variance: float = 1.0, covariance: float = 0.04) -> Tensor:
    """Weighted sum of the variance and covariance terms over all frames of the batch.

    Args:
        frames: ``(batch, time, *places, dim)``.
        variance: Factor of the hinge that keeps each standard deviation at 1.
        covariance: Factor of the squared off-diagonal covariances.

    Returns:
        A scalar; 0 if there is a single vector.
    """
    flat = at_least_float32(frames).flatten(0, -2)
    if len(flat) < 2:
        return flat.sum() * 0.0
    return variance * standard_deviation_hinge(flat) + covariance * covariance_penalty(flat)

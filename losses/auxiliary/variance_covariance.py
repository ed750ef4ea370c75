"""Two views agree, and clip features neither collapse nor repeat themselves (VICReg)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from losses.parts.precision import at_least_float32
from losses.parts.spread import covariance_penalty, standard_deviation_hinge


def variance_covariance(
    *,
    video: Tensor,
    video_b: Tensor,
    invariance: float = 1.0,
    variance: float = 1.0,
    covariance: float = 0.04,
) -> Tensor:
    """Weighted sum of the invariance, variance and covariance terms.

    The default factors are the published 25 : 25 : 1 divided by 25, which puts the loss on the
    scale of the others. With a single clip, variances do not exist: the loss is 0.

    Args:
        video: ``(batch, dim)`` clip features of view A.
        video_b: ``(batch, dim)`` of view B.
        invariance: Factor of the mean squared difference of the views.
        variance: Factor of the hinge that keeps each standard deviation at 1, mean of the views.
        covariance: Factor of the squared off-diagonal covariances, summed over the views.
    """
    a, b = at_least_float32(video), at_least_float32(video_b)
    if len(a) < 2:
        return (a.sum() + b.sum()) * 0.0
    spread = (standard_deviation_hinge(a) + standard_deviation_hinge(b)) / 2
    repetition = covariance_penalty(a) + covariance_penalty(b)
    return invariance * F.mse_loss(a, b) + variance * spread + covariance * repetition

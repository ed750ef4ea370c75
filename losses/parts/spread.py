"""Terms that keep features from collapsing (VICReg).

Source: arXiv:2105.04906, equations 1 to 4.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from losses.parts.precision import at_least_float32

FLOOR = 1e-4
"""Added to variances before their root."""


def standard_deviation_hinge(z: Tensor) -> Tensor:
    """Mean over channels of ``relu(1 - sqrt(unbiased variance + 1e-4))``.

    Args:
        z: ``(n, dim)``, n at least 2.
    """
    return F.relu(1 - torch.sqrt(z.var(dim=0) + FLOOR)).mean()


def covariance_penalty(z: Tensor, *, per_pair: bool = False) -> Tensor:
    """Sum of squared off-diagonal covariances over the number of channels.

    Args:
        z: ``(n, dim)``, n at least 2.
        per_pair: Divide by the number of off-diagonal entries instead, which makes it their mean.
    """
    centred = z - z.mean(dim=0)
    matrix = at_least_float32(centred.T @ centred) / (len(z) - 1)
    dim = z.shape[1]
    count = dim * max(1, dim - 1) if per_pair else dim
    return (matrix.square().sum() - matrix.diagonal().square().sum()) / count

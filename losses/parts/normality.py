"""How far samples are from a standard normal distribution, direction by direction.

Source: arXiv:2511.08544; the Epps-Pulley statistic by the trapezoid rule on seventeen knots.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from losses.parts.precision import at_least_float32

KNOTS = 17
LAST_KNOT = 3.0


@lru_cache(maxsize=16)
def unit_directions(dim: int, count: int, seed: int) -> Tensor:
    """``(dim, count)`` float64 on the CPU: independent random unit columns, a function of all."""
    rng = torch.Generator().manual_seed(seed)
    drawn = torch.randn(dim, count, generator=rng, dtype=torch.float64)
    return drawn / drawn.norm(dim=0)


def epps_pulley(x: Tensor, directions: Tensor, *, normalise_n: bool = False) -> Tensor:
    """Weighted squared distance of the characteristic functions, times the number of samples.

    Args:
        x: ``(n, dim)``.
        directions: ``(dim, count)``, unit columns.
        normalise_n: Leave the factor n out.

    Returns:
        ``(count,)``, at least 0. All-zero samples give .4020 n.
    """
    with torch.autocast(x.device.type, enabled=False):
        projected = at_least_float32(x) @ directions
    step = LAST_KNOT / (KNOTS - 1)
    total = torch.zeros_like(projected[0])
    for j in range(1, KNOTS):  # at knot 0 both functions are 1
        t = j * step
        normal = math.exp(-(t**2) / 2)
        real = (t * projected).cos().mean(0) - normal
        imaginary = (t * projected).sin().mean(0)
        weight = (step if j == KNOTS - 1 else 2 * step) * normal
        total = total + weight * (real.square() + imaginary.square())
    return total if normalise_n else total * len(x)

"""Clip features follow a standard normal distribution in every direction (SIGReg)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from losses.parts.normality import epps_pulley, unit_directions
from losses.parts.precision import at_least_float32

if TYPE_CHECKING:
    from torch import Tensor


def sigreg(
    *, video: Tensor, directions: int = 256, seed: int = 0, normalise_n: bool = True
) -> Tensor:
    """Mean over directions of the Epps-Pulley statistic of the projections.

    The published code draws new directions at every step; a loss draws no random number here, and
    the directions are fixed by ``seed``. More of them than channels leave no direction unseen.

    Args:
        video: ``(batch, dim)``, or ``(..., dim)`` whose vectors are taken together.
        directions: How many.
        seed: Of the directions.
        normalise_n: Divide by the number of vectors, so that the scale does not depend on the
            batch; False as published.
    """
    flat = at_least_float32(video).flatten(0, -2)
    chosen = unit_directions(flat.shape[1], directions, seed).to(flat)
    return epps_pulley(flat, chosen, normalise_n=normalise_n).mean()

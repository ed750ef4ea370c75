"""Latents move as positions and momenta under a learned energy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losses.parts.latents import as_target, distance, mean_where, visible_pairs
from losses.parts.precision import at_least_float32
from losses.parts.sizes import size

if TYPE_CHECKING:
    from collections.abc import Mapping


def gelu_slope(x: Tensor) -> Tensor:
    """Derivative of the exact GELU: ``Phi(x) + x phi(x)``."""
    density = torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi)
    return (1 + torch.erf(x / math.sqrt(2))) / 2 + x * density


class Hamiltonian(nn.Module):
    """One symplectic Euler step must lead to the teacher's latents of the next frame.

    The energy is a network of three layers; its gradient is written out, so that the loss works
    without a graph, in forward mode and under double backward. The constant of the energy has no
    effect and is left out.
    """

    def __init__(
        self,
        *,
        dims: Mapping[str, int],
        hidden: int = 256,
        dt: float = 0.1,
        exponent: float = 1.0,
        normalise: bool = True,
    ) -> None:
        super().__init__()
        dim = size(dims, "frames", loss="hamiltonian")
        if dim % 2:
            raise ValueError(f"loss hamiltonian halves the channels, of which there are {dim}")
        self.first = nn.Linear(dim, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.energy = nn.Linear(hidden, 1, bias=False)
        self.dt = dt
        self.exponent = exponent
        self.normalise = normalise

    def energy_gradient(self, q: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives of the energy by positions and momenta, each ``(..., dim / 2)``."""
        a = self.first(torch.cat((q, p), -1))
        b = self.second(F.gelu(a))
        by_b = self.energy.weight[0] * gelu_slope(b)
        by_a = by_b @ self.second.weight * gelu_slope(a)
        by_q, by_p = (by_a @ self.first.weight).chunk(2, -1)
        return by_q, by_p

    def forward(
        self, *, frames_masked: Tensor, frame_mask: Tensor, frames_target: Tensor
    ) -> Tensor:
        """Sum of both halves' mean errors over cells visible before and after; else 0.

        Args:
            frames_masked: ``(batch, time, *places, dim)`` of the view with hidden cells; the first
                half of the channels are positions, the second momenta.
            frame_mask: ``(batch, time, *places)`` bool, True = hidden.
            frames_target: ``(batch, time, *places, dim)`` of the teacher on the whole clip.
        """
        q, p = at_least_float32(frames_masked[:, :-1]).chunk(2, -1)
        next_q, next_p = as_target(frames_target, normalise=self.normalise)[:, 1:].chunk(2, -1)
        q = q + self.dt * self.energy_gradient(q, p)[1]
        p = p - self.dt * self.energy_gradient(q, p)[0]
        pairs = visible_pairs(frame_mask)
        of_q = mean_where(distance(q, next_q, self.exponent), pairs)
        return of_q + mean_where(distance(p, next_p, self.exponent), pairs)

"""Weights that even out how fast the logarithms of the losses fall (FAMO)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from losses.combine.names import checked, rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class Famo(nn.Module):
    """Sum of z log D over sum z / D, with D = l + ``floor`` and z = softmax(xi).

    The denominator is held fixed, so that the slopes sum to 1. After the step of the model the
    losses are looked at again on the same batch, and xi moves towards those whose logarithm fell
    least, by an Adam of its own. One forward more per step, no gradient per loss.

    Quirk: fixed; the published floor of 1e-8 lets a loss that starts near 0, as the agreement of
    two views does in an untrained model, take all the weight. A loss below ``-floor`` makes the
    result NaN.

    Source: arXiv:2306.03792, algorithm 1.

    Args:
        names: Losses, in the order of the vector that :meth:`forward` gets.
        primary: The one of them that is the task.
        weights: Not used.
        floor: Above 0.
        xi_lr: Learning rate of xi.
        xi_decay: Weight decay of xi, added to its gradient.

    Raises:
        ValueError: A floor that is not above 0.
    """

    first: Tensor
    second: Tensor
    count: Tensor
    no_weight_decay = frozenset({"xi"})

    def __init__(
        self,
        *,
        names: Sequence[str],
        primary: str,
        weights: Mapping[str, float] | None = None,  # noqa: ARG002 - all combiners take the same
        floor: float = 0.01,
        xi_lr: float = 0.025,
        xi_decay: float = 1e-3,
    ) -> None:
        super().__init__()
        if not floor > 0:
            raise ValueError(f"combiner famo: floor {floor} is not above 0")
        self.names = checked(names, primary)
        self.primary = primary
        self.floor = floor
        self.xi_lr = xi_lr
        self.xi_decay = xi_decay
        self.xi = nn.Parameter(torch.empty(len(self.names)))
        zeros = torch.zeros(len(self.names), dtype=torch.float64)
        self.register_buffer("first", zeros)
        self.register_buffer("second", zeros.clone())
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Equal weights of the logarithms."""
        nn.init.zeros_(self.xi)

    def forward(self, losses: Tensor, *, present: Sequence[str] | None = None) -> Tensor:
        """``(losses,)`` -> the combined loss; ``present`` names them where some are absent."""
        chosen = rows(self.names, present, len(losses))
        z = self.xi.detach()[chosen].softmax(0).to(losses.dtype)
        distance = losses + self.floor
        scale = (z / distance).sum().detach()
        return (z * distance.log()).sum() / scale

    @torch.no_grad()
    def review(self, before: Tensor, after: Tensor) -> None:
        """Move xi.

        Args:
            before: ``(losses,)`` of the step that was taken.
            after: The same losses on the same batch after it. Nothing moves where one of both is
                not above ``-floor`` or not finite.
        """
        fall = ((before + self.floor).log() - (after + self.floor).log()).to(self.first)
        if not bool(fall.isfinite().all()):
            return
        z = self.xi.softmax(0).to(self.first)
        gradient = z * (fall - (z * fall).sum()) + self.xi_decay * self.xi.to(self.first)
        self.count = self.count + 1
        self.first = BETAS[0] * self.first + (1 - BETAS[0]) * gradient
        self.second = BETAS[1] * self.second + (1 - BETAS[1]) * gradient**2
        done = int(self.count)
        mean = self.first / (1 - BETAS[0] ** done)
        spread = (self.second / (1 - BETAS[1] ** done)).sqrt()
        self.xi.sub_((self.xi_lr * mean / (spread + EPSILON)).to(self.xi.dtype))

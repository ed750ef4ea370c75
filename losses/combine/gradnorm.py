"""Weights learned so that all losses train at like rates (GradNorm)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from losses.catalogue import nearest
from losses.combine.momentary import LEVELS
from losses.combine.names import checked, rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SMALLEST_START = 0.1
"""A loss may start near 0 and rise; its rate against such a start would drown all others."""


class GradNorm(nn.Module):
    """Weights K softmax(p), p moved to bring the weighted gradient norms G to their targets.

    The target of a loss is mean(G) times its relative rate to the power ``alpha``, the rate being
    its value over its first value, over the mean of those. The sum of |G - target|, the target
    held fixed, joins the combined loss with value 0: the optimiser of the model moves p by it, and
    the losses do not move p. The start is the plain sum. The weights act on the encoders; each head
    descends its own loss.

    Source: arXiv:1711.02257, equations 1 and 2.

    Args:
        names: Losses, in the order of the vector that :meth:`forward` gets.
        primary: The one of them that is the task.
        weights: Not used.
        alpha: How hard slow losses are pushed, at least 0; 0 makes all gradient norms equal.
        level: Where gradients are taken, see ``losses.combine.momentary``.

    Raises:
        ValueError: A knob out of range.
    """

    norms: Tensor
    rates: Tensor
    start: Tensor
    started: Tensor
    no_weight_decay = frozenset({"logits"})

    def __init__(
        self,
        *,
        names: Sequence[str],
        primary: str,
        weights: Mapping[str, float] | None = None,  # noqa: ARG002 - all combiners take the same
        alpha: float = 1.5,
        level: str = "representation",
    ) -> None:
        super().__init__()
        if not alpha >= 0:
            raise ValueError(f"combiner gradnorm: alpha {alpha} is not at least 0")
        if level not in LEVELS:
            raise ValueError(
                f"unknown level {level!r} of gradients{nearest(level, LEVELS)} "
                f"(levels: {', '.join(LEVELS)})"
            )
        self.names = checked(names, primary)
        self.primary = primary
        self.alpha = alpha
        self.level = level
        ones = torch.ones(len(self.names), dtype=torch.float64)
        for name in ("norms", "rates", "start"):
            self.register_buffer(name, ones.clone())
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))
        self.logits = nn.Parameter(torch.empty(len(self.names)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """All weights to 1."""
        nn.init.zeros_(self.logits)

    def prepare(self, losses: Tensor, gram: Tensor) -> None:
        """Take in losses ``(losses,)`` and the inner products of their gradients."""
        value = losses.detach().to(self.start)
        if not self.started:
            self.start = value.clamp(min=SMALLEST_START)
            self.started = torch.ones_like(self.started)
        rate = value.clamp(min=0) / self.start
        self.rates = rate / rate.mean().clamp(min=1e-12)
        self.norms = gram.detach().diagonal().clamp(min=0).sqrt().to(self.norms)

    def forward(self, losses: Tensor, *, present: Sequence[str] | None = None) -> Tensor:
        """``(losses,)`` -> their weighted sum; ``present`` names them where some are absent."""
        chosen = rows(self.names, present, len(losses))
        weights = len(self.names) * self.logits.softmax(0)
        length = weights * self.norms.to(weights)
        target = (length.mean() * self.rates.to(weights) ** self.alpha).detach()
        balance = (length - target).abs().sum()
        unified = (weights.detach().to(losses.dtype)[chosen] * losses).sum()
        return unified + (balance - balance.detach()).to(losses.dtype)

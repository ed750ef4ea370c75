"""Weights from how fast each loss fell lately (dynamic weight average)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from losses.combine.momentary import MomentaryWeights

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SMALLEST_MEAN = 1e-6
"""A mean loss nearer to 0 tells no rate."""


class Dwa(MomentaryWeights):
    """K softmax(r / temperature), r the ratio of the last two mean losses of each loss.

    Means are taken over ``period`` steps; the weights of the first two periods are 1.

    Quirk: fixed; the published period is an epoch, which says nothing across data sets and does not
    exist where labelled and unlabelled clips come in two streams.

    Source: arXiv:1803.10704, equation 7.

    Args:
        names: Losses, in the order of the vector that :meth:`forward` gets.
        primary: The one of them that is the task.
        weights: Not used.
        temperature: Above 0; a large one makes all weights 1.
        period: Steps, at least 1.

    Raises:
        ValueError: A knob out of range.
    """

    total: Tensor
    count: Tensor
    means: Tensor

    def __init__(
        self,
        *,
        names: Sequence[str],
        primary: str,
        weights: Mapping[str, float] | None = None,  # noqa: ARG002 - all combiners take the same
        temperature: float = 2.0,
        period: int = 20,
    ) -> None:
        if not temperature > 0 or period < 1:
            raise ValueError(
                f"combiner dwa: temperature {temperature} must be above 0 and period {period} "
                "at least 1"
            )
        super().__init__(names, primary)
        self.temperature = temperature
        self.period = period
        zeros = torch.zeros(len(self.names), dtype=torch.float64)
        self.register_buffer("total", zeros)
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("means", zeros.new_zeros(2, len(self.names)))

    def prepare(self, losses: Tensor, gram: Tensor | None = None) -> None:  # noqa: ARG002
        """Take the losses ``(losses,)`` of a step in; at the end of a period, weigh anew."""
        self.total = self.total + losses.detach().to(self.total)
        self.count = self.count + 1
        done = int(self.count)
        if done % self.period:
            return
        self.means = torch.stack((self.means[1], self.total / self.period))
        self.total = torch.zeros_like(self.total)
        if done >= 2 * self.period:
            known = self.means.abs().amin(0) > SMALLEST_MEAN
            rate = torch.where(known, self.means[1] / self.means[0], 1.0)
            self.weights = len(self.names) * torch.softmax(rate / self.temperature, 0)

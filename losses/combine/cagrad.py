"""The direction near the mean gradient that helps the worst-off loss most (CAGrad)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from losses.combine.momentary import GradientWeights
from losses.combine.simplex import most_common_gain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class CaGrad(GradientWeights):
    """Within ``c`` times its length around the mean gradient, the best for the worst-off loss.

    Quirk: fixed; times the number of losses, so that learning rate and clipping mean what they mean
    under the plain sum (``c=0``).

    Source: arXiv:2110.14048, algorithm 1, divided by 1 + c^2 as in the published code.

    Args:
        names: Losses, in the order of the vector that :meth:`forward` gets.
        primary: The one of them that is the task.
        weights: Not used.
        c: Radius, 0 to below 1.
        level: Where gradients are taken, see ``losses.combine.momentary``.

    Raises:
        ValueError: A knob out of range.
    """

    def __init__(
        self,
        *,
        names: Sequence[str],
        primary: str,
        weights: Mapping[str, float] | None = None,  # noqa: ARG002 - all combiners take the same
        c: float = 0.5,
        level: str = "representation",
    ) -> None:
        if not 0 <= c < 1:
            raise ValueError(f"combiner cagrad: c {c} is not within 0 to below 1")
        super().__init__(names, primary, level)
        self.c = c

    def weigh(self, gram: Tensor, losses: Tensor) -> Tensor:  # noqa: ARG002 - the values say nothing
        """Weights ``(losses,)`` from the inner products of the gradients."""
        count = len(self.names)
        radius = self.c * math.sqrt(max(0.0, float(gram.mean())))
        x = torch.tensor(most_common_gain(gram.tolist(), radius), dtype=torch.float64)
        length = math.sqrt(max(0.0, float(x @ gram @ x)))
        # gradients that cancel leave nothing to add
        extra = radius / length * x if length > 1e-12 * radius else torch.zeros_like(x)
        return count * (1 / count + extra) / (1 + self.c**2)

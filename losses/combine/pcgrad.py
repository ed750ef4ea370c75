"""Each gradient loses what opposes another (PCGrad)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from losses.combine.momentary import Draws, GradientWeights

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class PcGrad(GradientWeights):
    """From every gradient, in random order of the others, its part against each other is taken.

    The projections are always against the other's original gradient; the results are added up.
    The order is drawn by the names of the losses and the step.

    Quirk: fixed; code in circulation also projects a gradient on itself, which acts once it has
    been changed.

    Source: arXiv:2001.06782, algorithm 1.

    Args:
        names: Losses, in the order of the vector that :meth:`forward` gets.
        primary: The one of them that is the task.
        weights: Not used.
        level: Where gradients are taken, see ``losses.combine.momentary``.

    Raises:
        ValueError: An unknown level.
    """

    def __init__(
        self,
        *,
        names: Sequence[str],
        primary: str,
        weights: Mapping[str, float] | None = None,  # noqa: ARG002 - all combiners take the same
        level: str = "representation",
    ) -> None:
        super().__init__(names, primary, level)
        self.draws = Draws()

    def weigh(self, gram: Tensor, losses: Tensor) -> Tensor:  # noqa: ARG002 - the values say nothing
        """Weights ``(losses,)`` from the inner products of the gradients."""
        inner: list[list[float]] = gram.tolist()
        count = len(inner)
        total = [0.0] * count
        for i, name in enumerate(self.names):
            share = [float(j == i) for j in range(count)]  # the gradient in terms of all of them
            others = [j for j in range(count) if j != i]
            for j in sorted(others, key=lambda j: self.draws.number(name, self.names[j])):
                against = sum(share[k] * inner[k][j] for k in range(count))
                if against < 0:  # so that the j-th gradient is not zero
                    share[j] -= against / inner[j][j]
            total = [a + b for a, b in zip(total, share, strict=True)]
        self.draws.advance()
        return torch.tensor(total, dtype=torch.float64)

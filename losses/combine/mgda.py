"""The shortest mean of the gradients: a direction that no loss objects to (MGDA)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from losses.combine.momentary import GradientWeights
from losses.combine.simplex import smallest_norm

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Mgda(GradientWeights):
    """Weights of the shortest vector in the convex hull of the gradients, times their number.

    A step along it lowers every loss as fast, to first order, or is 0 where none can fall without
    another rising. A loss of small gradient gets the largest weight.

    Quirk: fixed; the published weights sum to 1, here to the number of losses, so that learning
    rate and clipping mean what they mean under the plain sum.

    Source: arXiv:1810.04650.

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

    def weigh(self, gram: Tensor, losses: Tensor) -> Tensor:  # noqa: ARG002 - the values say nothing
        """Weights ``(losses,)`` from the inner products of the gradients."""
        found = torch.tensor(smallest_norm(gram.tolist()), dtype=torch.float64)
        return len(self.names) * found

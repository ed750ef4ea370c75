"""Random weights: a learned method that does not beat them has learned nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from losses.combine.momentary import Draws, MomentaryWeights

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Rlw(MomentaryWeights):
    """K softmax(z), z drawn from N(0, 1) for every loss and step.

    Quirk: fixed; the published weights sum to 1, here to the number of losses, so that learning
    rate and clipping mean what they mean under the plain sum.

    Source: arXiv:2111.10603.

    Args:
        names: Losses, in the order of the vector that :meth:`forward` gets.
        primary: The one of them that is the task.
        weights: Not used.
    """

    def __init__(
        self,
        *,
        names: Sequence[str],
        primary: str,
        weights: Mapping[str, float] | None = None,  # noqa: ARG002 - all combiners take the same
    ) -> None:
        super().__init__(names, primary)
        self.draws = Draws()

    def prepare(self, losses: Tensor, gram: Tensor | None = None) -> None:  # noqa: ARG002
        """Draw the weights of the coming step."""
        draw = torch.tensor([self.draws.normal(name) for name in self.names], dtype=torch.float64)
        self.weights = (len(self.names) * draw.softmax(0)).to(self.weights)
        self.draws.advance()

"""One learned weight per loss, taught by the primary loss: MELTR without its network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from losses.combine.names import checked, rows, weight_list

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class MetaLinear(nn.Module):
    """Weighted sum whose weights are moved by the meta step.

    Beside MELTR with the same meta step it tells what the network adds to learning. Weights may
    become negative: a loss that works against the primary one is then climbed.

    Quirk: fixed; the published weights start at .1 (``initial=.1``), which under AdamW is the plain
    sum at another clipping; here they start at the study's.

    Source: arXiv:2202.03091, with the meta step of arXiv:2303.13009.

    Args:
        names: Losses, in the order of the vector that :meth:`forward` gets.
        primary: The one of them that is the task.
        weights: Loss name -> first weight, and the weight in the sum that the regulariser of the
            meta step keeps near; 1 where none is given.
        initial: First weight of every loss instead.
    """

    base_weights: Tensor

    def __init__(
        self,
        *,
        names: Sequence[str],
        primary: str,
        weights: Mapping[str, float] | None = None,
        initial: float | None = None,
    ) -> None:
        super().__init__()
        self.names = checked(names, primary)
        self.primary = primary
        self.initial = initial
        vector = torch.tensor(weight_list(self.names, weights), dtype=torch.float64)
        self.register_buffer("base_weights", vector, persistent=False)
        self.weights = nn.Parameter(torch.empty(len(self.names)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """To the study's weights, or all to ``initial``."""
        with torch.no_grad():
            if self.initial is None:
                self.weights.copy_(self.base_weights)
            else:
                self.weights.fill_(self.initial)

    def base(self, losses: Tensor, *, present: Sequence[str] | None = None) -> Tensor:
        """The sum that the regulariser of the meta step keeps the combined loss close to."""
        chosen = rows(self.names, present, len(losses))
        return (self.base_weights.to(losses.dtype)[chosen] * losses).sum()

    def forward(self, losses: Tensor, *, present: Sequence[str] | None = None) -> Tensor:
        """``(losses,)`` -> their weighted sum; ``present`` names them where some are absent."""
        chosen = rows(self.names, present, len(losses))
        return (self.weights.to(losses.dtype)[chosen] * losses).sum()

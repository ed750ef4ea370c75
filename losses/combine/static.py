"""The sum of the losses with one fixed weight each: the fair rival of every learned combiner."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from losses.combine.names import checked, rows, weight_list

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Static(nn.Module):
    """Weighted sum.

    Args:
        names: Losses, in the order of the vector that :meth:`forward` gets.
        primary: The one of them that is the task.
        weights: Loss name -> weight; 1 where none is given.
    """

    def __init__(
        self,
        *,
        names: Sequence[str],
        primary: str,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.names = checked(names, primary)
        self.primary = primary
        # float64 keeps the weights exact for float64 losses; they are cast to the losses' own type
        vector = torch.tensor(weight_list(self.names, weights), dtype=torch.float64)
        self.register_buffer("weights", vector, persistent=False)

    def forward(self, losses: Tensor, *, present: Sequence[str] | None = None) -> Tensor:
        """``(losses,)`` -> their weighted sum; ``present`` names them where some are absent."""
        chosen = rows(self.names, present, len(losses))
        weights = self.get_buffer("weights").to(losses.dtype)
        return (weights[chosen] * losses).sum()

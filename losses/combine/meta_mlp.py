"""The primary loss plus a small learned network of all losses (AuxiLearn)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losses.combine.names import checked, rows
from losses.initialisation import part_seed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class LossRows(nn.Module):
    """Weights from each loss to the hidden units, drawn from the seed and the name of the loss."""

    def __init__(self, names: Sequence[str], hidden: int) -> None:
        super().__init__()
        self.names = tuple(names)
        self.weight = nn.Parameter(torch.empty(len(names), hidden))
        self.bias = nn.Parameter(torch.empty(hidden))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights from U(0, 1), biases 0."""
        seed = int(torch.randint(2**62, ()))
        nn.init.zeros_(self.bias)
        with torch.no_grad():
            for row, name in zip(self.weight, self.names, strict=True):
                generator = torch.Generator().manual_seed(part_seed(seed, name))
                row.copy_(torch.rand(row.shape, generator=generator, dtype=row.dtype))

    def forward(self, losses: Tensor, chosen: Sequence[int]) -> Tensor:
        """``(chosen,)`` -> ``(hidden,)``."""
        return losses @ self.weight[list(chosen)] + self.bias


class MeanOut(nn.Module):
    """Weighted mean of the hidden units: the slopes at the start do not grow with their number."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(hidden))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights from U(0, 1)."""
        nn.init.uniform_(self.weight)

    def forward(self, units: Tensor) -> Tensor:
        """``(hidden,)`` -> scalar."""
        return (self.weight * units).mean()


class MetaMlp(nn.Module):
    """l_primary + network(l), one hidden layer of softplus units.

    ``monotone`` sets negative weights to 0 after every meta step, so that no loss is climbed.

    Quirk: fixed; the mean over units instead of their sum, and Adam and the identity for the
    inverse Hessian as in all meta steps here, where the published code has SGD and three Neumann
    terms (which change the direction by less than one part in 10^6 on a small problem).

    Source: arXiv:2007.02693.

    Args:
        names: Losses, in the order of the vector that :meth:`forward` gets.
        primary: The one of them that is the task.
        weights: Not used: the network would absorb them.
        hidden: Units, at least 1.
        monotone: Whether slopes are kept from being negative.

    Raises:
        ValueError: No unit.
    """

    def __init__(
        self,
        *,
        names: Sequence[str],
        primary: str,
        weights: Mapping[str, float] | None = None,  # noqa: ARG002 - all combiners take the same
        hidden: int = 8,
        monotone: bool = True,
    ) -> None:
        super().__init__()
        if hidden < 1:
            raise ValueError(f"combiner meta_mlp: hidden {hidden} is not at least 1")
        self.names = checked(names, primary)
        self.primary = primary
        self.monotone = monotone
        self.inner = LossRows(self.names, hidden)
        self.outer = MeanOut(hidden)

    def forward(self, losses: Tensor, *, present: Sequence[str] | None = None) -> Tensor:
        """``(losses,)`` -> the combined loss; ``present`` names them where some are absent.

        An absent primary loss counts in the network no more than any other absent one.
        """
        chosen = rows(self.names, present, len(losses))
        unified = self.outer(F.softplus(self.inner(losses, chosen)))
        position = self.names.index(self.primary)
        if position in chosen:
            unified = unified + losses[chosen.index(position)]
        return unified

    @torch.no_grad()
    def project(self) -> None:
        """Back to weights of at least 0, after a meta step."""
        if self.monotone:
            self.inner.weight.clamp_(min=0)
            self.outer.weight.clamp_(min=0)

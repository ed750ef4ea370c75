"""Weights from one learned noise level per loss (homoscedastic uncertainty)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from losses.catalogue import nearest
from losses.combine.names import checked, rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FACTORS = {"regression": 0.5, "classification": 1.0}
INITIAL = -0.5


class Uncertainty(nn.Module):
    """With s the learned log variance of each loss l: the sum of c l exp(-s) + s / 2.

    c is 1/2 for the ``regression`` form (a Gaussian likelihood) and 1 for the ``classification``
    form (a softmax likelihood). s is moved by the optimiser of the model, without weight decay:
    decay would pull the weights towards c. Losses must not be negative, or s runs away.

    Source: arXiv:1705.07115.

    Args:
        names: Losses, in the order of the vector that :meth:`forward` gets.
        primary: The one of them that is the task.
        weights: Not used: s would absorb them.
        form: ``regression`` or ``classification``, the same for all losses.

    Attributes:
        no_weight_decay: Names of the parameters that the optimiser must not decay.
    """

    no_weight_decay = frozenset({"log_variance"})

    def __init__(
        self,
        *,
        names: Sequence[str],
        primary: str,
        weights: Mapping[str, float] | None = None,  # noqa: ARG002 - all combiners take the same
        form: str = "regression",
    ) -> None:
        super().__init__()
        if form not in FACTORS:
            raise ValueError(
                f"combiner uncertainty: unknown form {form!r}{nearest(form, FACTORS)} "
                f"(forms: {', '.join(FACTORS)})"
            )
        self.names = checked(names, primary)
        self.primary = primary
        self.factor = FACTORS[form]
        self.log_variance = nn.Parameter(torch.empty(len(self.names)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """All log variances to -1/2."""
        nn.init.constant_(self.log_variance, INITIAL)

    def forward(self, losses: Tensor, *, present: Sequence[str] | None = None) -> Tensor:
        """``(losses,)`` -> the combined loss; ``present`` names them where some are absent."""
        s = self.log_variance[rows(self.names, present, len(losses))]
        return (self.factor * torch.exp(-s) * losses + s / 2).sum()

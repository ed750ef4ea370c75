"""Losses of like scale, and a direction equally far along every gradient (IMTL)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from losses.combine.momentary import GradientWeights
from losses.combine.names import rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SINGULAR = 1e-9
"""Singular values below this share of the largest count as 0: parallel gradients."""


class Imtl(GradientWeights):
    """Both halves: each loss times a learned factor exp(s), then weights of equal projections.

    s is moved by the optimiser of the model to lower exp(s) l - s, which has its minimum where the
    factor is 1 / l; this does not depend on the weights. Losses must not be negative, or s runs
    away. The weights make the projections of the sum on all unit gradients equal; they may be
    negative.

    Quirk: fixed; the published weights sum to 1, here to the number of losses. Heads descend their
    own loss without the factor, which the optimiser would take out again.

    Source: Liu et al., Towards Impartial Multi-Task Learning (ICLR 2021).

    Args:
        names: Losses, in the order of the vector that :meth:`forward` gets.
        primary: The one of them that is the task.
        weights: Not used.
        level: Where gradients are taken, see ``losses.combine.momentary``.

    Raises:
        ValueError: An unknown level.
    """

    no_weight_decay = frozenset({"log_factor"})

    def __init__(
        self,
        *,
        names: Sequence[str],
        primary: str,
        weights: Mapping[str, float] | None = None,  # noqa: ARG002 - all combiners take the same
        level: str = "representation",
    ) -> None:
        super().__init__(names, primary, level)
        self.log_factor = nn.Parameter(torch.empty(len(self.names)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """All factors to 1."""
        nn.init.zeros_(self.log_factor)

    def forward(self, losses: Tensor, *, present: Sequence[str] | None = None) -> Tensor:
        """``(losses,)`` -> the combined loss; ``present`` names them where some are absent."""
        chosen = rows(self.names, present, len(losses))
        s = self.log_factor.to(losses.dtype)[chosen]
        weights = self.weights.to(losses.dtype)[chosen] * s.detach().exp()
        scale = (s.exp() * losses.detach() - s).sum()
        return (weights * losses).sum() + (scale - scale.detach())

    def weigh(self, gram: Tensor, losses: Tensor) -> Tensor:  # noqa: ARG002 - the values say nothing
        """Weights ``(losses,)`` from the inner products of the gradients."""
        factor = self.log_factor.detach().double().cpu().exp()
        inner = gram * factor * factor[:, None]
        norms = inner.diagonal().clamp(min=0).sqrt()
        along = torch.where(norms > 0, inner / norms, 0)  # g_s . u_t
        first = along[0, 0] - along[0, 1:]
        between = along[0, 0] - along[0, 1:] - along[1:, :1] + along[1:, 1:]
        others = first @ torch.linalg.pinv(between, rtol=SINGULAR)
        return len(self.names) * torch.cat((1 - others.sum().view(1), others))

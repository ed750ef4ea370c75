"""The sum of the losses: the point of reference for every other combiner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from losses.combine.names import checked, rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Equal(nn.Module):
    """Every loss counts once, whatever weights a study names.

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
        super().__init__()
        self.names = checked(names, primary)
        self.primary = primary

    def forward(self, losses: Tensor, *, present: Sequence[str] | None = None) -> Tensor:
        """``(losses,)`` -> their sum; ``present`` names them where some are absent."""
        rows(self.names, present, len(losses))
        return losses.sum()

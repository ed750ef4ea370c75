"""The geometric mean of the losses: no unit of any loss matters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from losses.combine.names import checked, rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Gls(nn.Module):
    """exp(mean log(l + floor)).

    Quirk: fixed; without the floor a loss that starts near 0, as the agreement of two views does in
    an untrained model, takes all the weight. ``floor=0`` is the published form. A loss below
    ``-floor`` makes the result NaN.

    Source: arXiv:1904.08492.

    Args:
        names: Losses, in the order of the vector that :meth:`forward` gets.
        primary: The one of them that is the task.
        weights: Not used: factors of the losses change nothing but the scale.
        floor: At least 0.

    Raises:
        ValueError: A negative floor.
    """

    def __init__(
        self,
        *,
        names: Sequence[str],
        primary: str,
        weights: Mapping[str, float] | None = None,  # noqa: ARG002 - all combiners take the same
        floor: float = 0.01,
    ) -> None:
        super().__init__()
        if not floor >= 0:
            raise ValueError(f"combiner gls: floor {floor} is not at least 0")
        self.names = checked(names, primary)
        self.primary = primary
        self.floor = floor

    def forward(self, losses: Tensor, *, present: Sequence[str] | None = None) -> Tensor:
        """``(losses,)`` -> their mean; ``present`` names them where some are absent."""
        rows(self.names, present, len(losses))
        return (losses + self.floor).log().mean().exp()

"""Weights from the gradients by torchjd, for the methods that this project does not have itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from losses.catalogue import nearest
from losses.combine.momentary import GradientWeights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

METHODS = {
    "upgrad": "UPGradWeighting",
    "dual_proj": "DualProjWeighting",
    "aligned_mtl": "AlignedMTLWeighting",
    "mgda": "MGDAWeighting",
    "imtl_g": "IMTLGWeighting",
}
"""Value of ``method`` -> class of torchjd. Only methods without state or draws, so that a continued
training does what an undisturbed one would have done."""


class TorchJd(GradientWeights):
    """Weights of one of torchjd's methods, times the number of losses.

    ``upgrad`` (arXiv:2406.16232) projects every gradient onto the directions that harm no loss;
    ``dual_proj`` (arXiv:1706.08840) their mean; ``aligned_mtl`` (arXiv:2305.19000) takes the
    gradients' principal directions at one length. ``mgda`` and ``imtl_g`` stand beside the
    combiners ``mgda`` and ``imtl`` for comparison.

    Quirk: fixed; torchjd's weights are those of a mean, here of a sum, so that learning rate and
    clipping mean what they mean under the plain sum.

    Args:
        names: Losses, in the order of the vector that :meth:`forward` gets.
        primary: The one of them that is the task.
        weights: Not used.
        method: One of :data:`METHODS`.
        level: Where gradients are taken, see ``losses.combine.momentary``.

    Raises:
        ValueError: An unknown method or level.
        ImportError: torchjd is not installed.
    """

    def __init__(
        self,
        *,
        names: Sequence[str],
        primary: str,
        weights: Mapping[str, float] | None = None,  # noqa: ARG002 - all combiners take the same
        method: str = "upgrad",
        level: str = "representation",
    ) -> None:
        if method not in METHODS:
            raise ValueError(
                f"combiner torchjd: unknown method {method!r}{nearest(method, METHODS)} "
                f"(methods: {', '.join(METHODS)})"
            )
        super().__init__(names, primary, level)
        self.method = method
        self._weighting = _weighting(METHODS[method])

    def weigh(self, gram: Tensor, losses: Tensor) -> Tensor:  # noqa: ARG002 - the values say nothing
        """Weights ``(losses,)`` from the inner products of the gradients."""
        # its solvers take small gradients for none
        scale = float(gram.diagonal().mean()) or 1.0
        return len(self.names) * self._weighting(gram / scale).to(torch.float64)


def _weighting(name: str) -> Callable[[Tensor], Tensor]:
    try:
        from torchjd import aggregation
    except ImportError as error:
        raise ImportError(
            "combiner torchjd needs the package torchjd: pip install 'auxsweep[gradients]'"
        ) from error
    made: Any = getattr(aggregation, name)()
    return made

"""Prediction of hidden frames in which the badly predicted ones count most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from losses.parts.frame_predictor import FramePredictor
from losses.parts.latents import as_target, distance, mean_where, softmax_weights
from losses.parts.precision import at_least_float32

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


def hard_region_error(
    predicted: Tensor,
    target: Tensor,
    chosen: Tensor,
    *,
    temperature: float = 1.0,
    exponent: float = 1.0,
) -> Tensor:
    """Mean error over the chosen cells, weighted by a softmax of the error of each sample.

    With errors of order .1 to 1 and temperature 1 the weights are close to uniform: a study of
    this loss should hold one of the plain prediction scaled up against it.

    Args:
        predicted: ``(batch, time, *places, dim)``.
        target: The same shape.
        chosen: ``(batch, time, *places)`` bool, the cells to predict.
        temperature: Positive divisor of the errors; small = the worst cell alone.
        exponent: At least 1.
    """
    error = distance(predicted, target, exponent)
    weights = softmax_weights(error, chosen, temperature, start=1)
    return mean_where(error * weights, chosen)


class HardRegion(FramePredictor):
    """A narrow predictor of its own, taught most by what it gets wrong."""

    def __init__(
        self,
        *,
        dims: Mapping[str, int],
        width: int = 64,
        temperature: float = 1.0,
        exponent: float = 1.0,
        normalise: bool = True,
    ) -> None:
        super().__init__(dims=dims, width=width, loss="hard_region")
        self.temperature = temperature
        self.exponent = exponent
        self.normalise = normalise

    def forward(
        self, *, frames_masked: Tensor, frame_mask: Tensor, frames_target: Tensor
    ) -> Tensor:
        """Weighted mean error over hidden frames; 0 if no frame is hidden.

        Args:
            frames_masked: ``(batch, time, dim)`` of the view with hidden frames.
            frame_mask: ``(batch, time)`` bool, True = hidden.
            frames_target: ``(batch, time, dim)`` of the teacher on the whole clip, no gradient.
        """
        predicted = at_least_float32(self.predict(frames_masked, frame_mask))
        target = as_target(frames_target, normalise=self.normalise)
        settings = {"temperature": self.temperature, "exponent": self.exponent}
        return hard_region_error(predicted, target, frame_mask, **settings)

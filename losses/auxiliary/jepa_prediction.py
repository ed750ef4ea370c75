"""A model's own predictor tells what its teacher sees in hidden cells (Video-JEPA)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from losses.parts.latents import as_target, distance, mean_where
from losses.parts.precision import at_least_float32

if TYPE_CHECKING:
    from torch import Tensor


def jepa_prediction(
    *,
    predictions: Tensor,
    prediction_mask: Tensor,
    frames_target: Tensor,
    exponent: float = 1.0,
    normalise: bool = True,
) -> Tensor:
    """Mean of ``|predicted - target|^e / e`` over the cells to predict; 0 if there is none.

    Args:
        predictions: ``(batch, time, *places, dim)`` of the model's predictor; read at the cells to
            predict.
        prediction_mask: ``(batch, time, *places)`` bool, True = to be predicted.
        frames_target: ``(batch, time, *places, dim)`` of the teacher on the whole clip.
        exponent: At least 1; 1 = absolute error.
        normalise: See :func:`losses.parts.latents.as_target`.
    """
    target = as_target(frames_target, normalise=normalise)
    error = distance(at_least_float32(predictions), target, exponent)
    return mean_where(error, prediction_mask)

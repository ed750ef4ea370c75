"""A model's predictor also tells visible cells, most of all those beside hidden ones."""

from __future__ import annotations

import torch
from torch import Tensor

from losses.parts.latents import as_target, distance, mean_where
from losses.parts.precision import at_least_float32


def jepa_context(
    *,
    predictions: Tensor,
    frame_mask: Tensor,
    prediction_mask: Tensor,
    frames_target: Tensor,
    exponent: float = 1.0,
    weighted: bool = True,
    normalise: bool = True,
) -> Tensor:
    """Mean error over visible cells, over the root of their distance to the nearest hidden one.

    Args:
        predictions: ``(batch, time, *places, dim)`` of the model's predictor; read at the visible
            cells.
        frame_mask: ``(batch, time, *places)`` bool, False = visible to the encoder.
        prediction_mask: ``(batch, time, *places)`` bool, True = to be predicted.
        frames_target: ``(batch, time, *places, dim)`` of the teacher on the whole clip.
        exponent: At least 1; 1 = absolute error.
        weighted: Divide by the root of the distance.
        normalise: See :func:`losses.parts.latents.as_target`.
    """
    target = as_target(frames_target, normalise=normalise)
    error = distance(at_least_float32(predictions), target, exponent)
    if weighted:
        error = error / root_distance(prediction_mask).to(error.dtype)
    return mean_where(error, ~frame_mask)


def root_distance(prediction_mask: Tensor) -> Tensor:
    """Root of the distance of every cell to the nearest cell to predict, in cells, at least 1.

    Args:
        prediction_mask: ``(batch, time, *places)`` bool. Samples without a cell get 1.

    Returns:
        The same shape, float32.
    """
    grid = prediction_mask.shape[1:]
    axes = [torch.arange(n, device=prediction_mask.device) for n in grid]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(grid)).float()
    apart = torch.cdist(places, places, compute_mode="donot_use_mm_for_euclid_dist")
    rows = []
    for mask in prediction_mask.flatten(1):  # one sample at a time: cells squared is large
        nearest = apart.masked_fill(~mask, float("inf")).amin(1)
        rows.append(torch.where(nearest.isfinite(), nearest, 1.0).clamp(min=1).sqrt())
    return torch.stack(rows).view(prediction_mask.shape)


def context_coefficient(
    progress: float, *, start: float = 0.5, end: float = 1.0, final: float = 0.5
) -> float:
    """Published factor of the loss: 0 up to ``start``, then linear up to ``final`` at ``end``.

    Args:
        progress: Step, in the unit of ``start`` and ``end`` (by default a share of all steps; the
            publication counts steps, from 15000 to 30000 of 30000).
        start: Where the ramp begins.
        end: Where it is done, above ``start``.
        final: Factor from there on.
    """
    return final * min(1.0, max(0.0, (progress - start) / (end - start)))

"""Latents vary over time with the frequencies of the teacher's, fast ones above all."""

from __future__ import annotations

import torch
from torch import Tensor

from losses.parts.latents import as_target, mean_where
from losses.parts.precision import at_least_float32

FEWEST_STEPS = 4
SLOWEST, FASTEST = 0.1, 1.0
"""Weights of the first and the last frequency; those between lie on a line."""


def spectrum_error(latents: Tensor, target: Tensor, visible: Tensor | None = None) -> Tensor:
    """Mean modulus of the weighted difference of spectra over time.

    Args:
        latents: ``(batch, time, *places, dim)``.
        target: The same shape.
        visible: ``(batch, time, *places)`` bool: only places visible at every step count; None =
            all do.

    Returns:
        A scalar; 0 for clips of fewer than four steps.
    """
    time = latents.shape[1]
    if time < FEWEST_STEPS:
        return latents.sum() * 0.0
    with torch.autocast(latents.device.type, enabled=False):
        difference = torch.fft.rfft(latents - target, dim=1)
    bins = difference.shape[1]
    weights = torch.linspace(SLOWEST, FASTEST, bins, dtype=latents.dtype, device=latents.device)
    shape = (1, bins, *[1] * (difference.ndim - 2))
    error = (difference.abs() * weights.view(shape)).mean((1, -1))
    if visible is None:
        return error.mean()
    return mean_where(error, visible.all(1))


def spectral(*, frames: Tensor, frames_target: Tensor, normalise: bool = True) -> Tensor:
    """Mean over clips, places, frequencies and channels; 0 for fewer than four frames.

    Of the whole clip: a frame that is hidden would leave no place visible at every step.

    Args:
        frames: ``(batch, time, *places, dim)``.
        frames_target: ``(batch, time, *places, dim)`` of the teacher.
        normalise: See :func:`losses.parts.latents.as_target`.
    """
    return spectrum_error(at_least_float32(frames), as_target(frames_target, normalise=normalise))

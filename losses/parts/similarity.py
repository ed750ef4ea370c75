"""Scores between texts and videos from their features."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losses.parts.precision import at_least_float32


def masked_mean(features: Tensor, mask: Tensor) -> Tensor:
    """Mean over the second axis where ``mask`` is True; 0 where nothing is.

    Args:
        features: ``(batch, steps, dim)``.
        mask: ``(batch, steps)`` bool.
    """
    keep = mask.unsqueeze(-1).to(features.dtype)
    return (features * keep).sum(1) / keep.sum(1).clamp(min=1)


def cosines(rows: Tensor, columns: Tensor, *, floor: float = 1e-8) -> Tensor:
    """``(rows, columns)`` cosines; norms are at least ``floor``.

    Args:
        rows: ``(rows, dim)``.
        columns: ``(columns, dim)``.
        floor: Least norm to divide by.
    """
    rows = F.normalize(at_least_float32(rows), dim=-1, eps=floor)
    columns = F.normalize(at_least_float32(columns), dim=-1, eps=floor)
    return at_least_float32(rows @ columns.T)


def attended_similarity(
    text: Tensor, frames: Tensor, frame_mask: Tensor | None = None, *, temperature: float
) -> Tensor:
    """``(texts, videos)`` cosines of each text and the frames as that text weights them.

    Source: GLSCL (arXiv:2405.12710), global interaction module. It has no parameters.

    Quirk: fixed, without any effect on the score; the published code hides padded frames after the
    softmax, so that they take some of its mass. A video without frames scores 0.

    Args:
        text: ``(texts, dim)``, not normalised.
        frames: ``(videos, frames, dim)``, not normalised.
        frame_mask: ``(videos, frames)`` bool, True at frames.
        temperature: Positive divisor of the inner products.
    """
    with torch.autocast(text.device.type, enabled=False):  # the scale multiplies every error
        text, frames = at_least_float32(text), at_least_float32(frames)
        logits = torch.einsum("ad,bfd->abf", text, frames) / temperature
        if frame_mask is not None:
            logits = logits.masked_fill(~frame_mask, torch.finfo(logits.dtype).min)
        weights = logits.softmax(-1)
        if frame_mask is not None:
            weights = weights * frame_mask
        seen = F.normalize(torch.einsum("abf,bfd->abd", weights, frames), dim=-1)
        return torch.einsum("ad,abd->ab", F.normalize(text, dim=-1), seen)


class LearnedScale(nn.Module):
    """A positive factor, learned through its logarithm, at most ``most``.

    Above the limit the factor stays but the gradient still passes, so that it can come back.

    Args:
        start: First value, positive.
        most: Largest value.

    Raises:
        ValueError: ``start`` is not between 0 and ``most``.
    """

    def __init__(self, start: float = 100.0, *, most: float = 100.0) -> None:
        super().__init__()
        if not 0 < start <= most:
            raise ValueError(f"scale {start} is not above 0 and at most {most}")
        self.start, self.limit = math.log(start), math.log(most)
        self.log_scale = nn.Parameter(torch.tensor(self.start))

    def reset_parameters(self) -> None:
        """Back to the first value; nothing is drawn."""
        nn.init.constant_(self.log_scale, self.start)

    def forward(self) -> Tensor:
        """The factor, a scalar."""
        excess = (self.log_scale.detach() - self.limit).clamp(min=0)
        return (self.log_scale - excess).exp()

"""Scores between texts and videos from their features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from losses.precision import at_least_float32


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
    text, frames = at_least_float32(text), at_least_float32(frames)
    logits = at_least_float32(torch.einsum("ad,bfd->abf", text, frames)) / temperature
    if frame_mask is not None:
        logits = logits.masked_fill(~frame_mask, torch.finfo(logits.dtype).min)
    weights = logits.softmax(-1)
    if frame_mask is not None:
        weights = weights * frame_mask
    seen = torch.einsum("abf,bfd->abd", weights, frames)
    unit = F.normalize(at_least_float32(seen), dim=-1)
    return at_least_float32(torch.einsum("ad,abd->ab", F.normalize(text, dim=-1), unit))

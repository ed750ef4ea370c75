"""Latents are nearer to the teacher's of the same frame than to those of the next."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from losses.parts.latents import as_target, mean_where, visible_pairs
from losses.parts.precision import at_least_float32


def temporal_contrast(
    *,
    frames_masked: Tensor,
    frame_mask: Tensor,
    frames_target: Tensor,
    margin: float = 0.5,
    normalise: bool = True,
) -> Tensor:
    """Mean of ``relu(margin - cos(z_t, h_t) + cos(z_t, h_t+1))`` over visible pairs; else 0.

    Args:
        frames_masked: ``(batch, time, *places, dim)`` of the view with hidden cells, z.
        frame_mask: ``(batch, time, *places)`` bool, True = hidden.
        frames_target: ``(batch, time, *places, dim)`` of the teacher on the whole clip, h.
        margin: By how much the right frame must be nearer.
        normalise: See :func:`losses.parts.latents.as_target`.
    """
    latents = at_least_float32(frames_masked[:, :-1])
    target = as_target(frames_target, normalise=normalise)
    same = F.cosine_similarity(latents, target[:, :-1], dim=-1)
    after = F.cosine_similarity(latents, target[:, 1:], dim=-1)
    return mean_where(F.relu(margin - same + after), visible_pairs(frame_mask))

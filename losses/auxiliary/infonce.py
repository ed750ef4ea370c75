"""Clips and captions find each other within the batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from losses.parts.precision import at_least_float32


def infonce(
    *,
    video_embed: Tensor,
    text_embed: Tensor,
    caption_ids: Tensor,
    temperature: float = 0.1,
) -> Tensor:
    """Mean of the video-to-text and text-to-video cross-entropies, in nats.

    A clip whose caption is the same sentence is not a negative: such off-diagonal pairs are left
    out of both directions.

    Args:
        video_embed: ``(batch, dim)``, L2-normalised; row i belongs to row i of ``text_embed``.
        text_embed: ``(batch, dim)``, L2-normalised.
        caption_ids: ``(batch, words)`` int64.
        temperature: Positive divisor of the cosine similarities.
    """
    logits_BB = at_least_float32(video_embed @ text_embed.T) / temperature
    same_BB = (caption_ids.unsqueeze(0) == caption_ids.unsqueeze(1)).all(-1)
    self_BB = torch.eye(len(caption_ids), dtype=torch.bool, device=caption_ids.device)
    logits_BB = logits_BB.masked_fill(same_BB & ~self_BB, float("-inf"))
    to_text = F.log_softmax(logits_BB, dim=1).diagonal()
    to_video = F.log_softmax(logits_BB, dim=0).diagonal()
    return -(to_text.mean() + to_video.mean()) / 2

"""Clips and captions find each other within the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from losses.parts.pairs import pair_cross_entropy

if TYPE_CHECKING:
    from torch import Tensor


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
    return pair_cross_entropy(video_embed, text_embed, caption_ids, temperature)

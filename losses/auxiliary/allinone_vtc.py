"""Clip and caption find each other, both directions added up (All-in-one)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from losses.parts.pairs import comparable_pairs, row_nce
from losses.parts.similarity import cosines

if TYPE_CHECKING:
    from torch import Tensor


def allinone_vtc(
    *,
    video_embed: Tensor,
    text_embed: Tensor,
    caption_ids: Tensor,
    temperature: float = 0.05,
    dedupe: bool = True,
) -> Tensor:
    """Sum of the text-to-video and video-to-text cross-entropies, in nats.

    Quirk: followed; the directions are added, not averaged. Quirk: fixed; the published loss takes
    another clip with the same sentence for a wrong answer. ``dedupe=False`` does the same.

    Args:
        video_embed: ``(batch, dim)``; normalised here. Row i belongs to row i of ``text_embed``.
        text_embed: ``(batch, dim)``; normalised here.
        caption_ids: ``(batch, words)`` int64.
        temperature: Positive divisor of the cosines.
        dedupe: Leave pairs with equal captions out.
    """
    scores = cosines(text_embed, video_embed) / temperature
    allowed = comparable_pairs(caption_ids, dedupe=dedupe)
    return row_nce(scores, allowed) + row_nce(scores.T, allowed.T)

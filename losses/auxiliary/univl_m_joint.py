"""The right clip leads by a margin while words and frames of both are hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING

from losses.parts.pairs import comparable_pairs, max_margin

if TYPE_CHECKING:
    from torch import Tensor


def univl_m_joint(
    *,
    video_embed_masked: Tensor,
    text_embed_masked: Tensor,
    caption_ids: Tensor,
    margin: float = 0.1,
    dedupe: bool = True,
    block: int = 1,
    hard_rate: float = 0.5,
) -> Tensor:
    """Two-sided hinge over all pairs of the batch, from masked captions and masked clips.

    Quirk: fixed; the published loss takes another clip with the same sentence for a wrong answer.
    ``dedupe=False`` does the same.

    Args:
        video_embed_masked: ``(batch, dim)``, L2-normalised; row i belongs to row i
            of ``text_embed_masked``.
        text_embed_masked: ``(batch, dim)``, L2-normalised.
        caption_ids: ``(batch, words)`` int64, the whole captions.
        margin: By how much the right pair must lead.
        dedupe: Leave pairs with equal captions out.
        block: Neighbouring rows that come from the same video.
        hard_rate: With ``block`` above 1, weight of pairs within a video, in (0, 1].

    Raises:
        ValueError: The batch is not made of whole blocks.
    """
    allowed = comparable_pairs(caption_ids, dedupe=dedupe)
    scores = text_embed_masked @ video_embed_masked.T
    return max_margin(scores, allowed, margin=margin, block=block, hard_rate=hard_rate)

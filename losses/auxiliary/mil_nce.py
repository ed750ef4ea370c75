"""Any caption of the own video is a right answer, in either direction (MIL-NCE)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from losses.parts import pairs
from losses.parts.precision import at_least_float32

if TYPE_CHECKING:
    from torch import Tensor


def mil_nce(
    *,
    video_embed: Tensor,
    text_embed: Tensor,
    caption_ids: Tensor,
    temperature: float = 0.1,
    dedupe: bool = True,
    block: int = 1,
) -> Tensor:
    """Cross-entropy of a video's own captions among its row and column of the batch, in nats.

    Quirk: fixed; the published loss takes inner products of features that are not normalised, and
    another clip with the same sentence for a wrong answer. Features here are normalised, hence
    the temperature. ``dedupe=False`` with ``temperature=1`` is the published loss.

    Args:
        video_embed: ``(batch, dim)``, L2-normalised; row i belongs to row i of ``text_embed``.
        text_embed: ``(batch, dim)``, L2-normalised.
        caption_ids: ``(batch, words)`` int64.
        temperature: Positive divisor of the scores.
        dedupe: Leave pairs with equal captions out.
        block: Neighbouring rows that come from the same video: its bag of captions.

    Raises:
        ValueError: The batch is not made of whole blocks.
    """
    allowed = pairs.comparable_pairs(caption_ids, dedupe=dedupe)
    scores = at_least_float32(text_embed @ video_embed.T) / temperature
    return pairs.mil_nce(scores, allowed, block=block)

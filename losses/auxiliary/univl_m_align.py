"""As univl_align, while frames and words are hidden from the network (UniVL)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from losses.parts.fusion import PairScore
from losses.parts.pairs import comparable_pairs, row_nce

if TYPE_CHECKING:
    from collections.abc import Mapping


class UnivlMAlign(nn.Module):
    """Cross-entropy over the clips of the batch for every caption.

    Quirk: followed; only captions look for clips, never the reverse. Quirk: fixed; the published
    loss takes another clip with the same sentence for a wrong answer (``dedupe=False`` does the
    same). The published network has two layers of its model; here the loss brings a smaller one.
    """

    def __init__(self, *, dims: Mapping[str, int], width: int = 32, dedupe: bool = True) -> None:
        super().__init__()
        self.dedupe = dedupe
        self.score = PairScore(dims, width, loss="univl_m_align")

    def forward(
        self,
        *,
        frames_masked: Tensor,
        text_tokens_masked: Tensor,
        caption_ids: Tensor,
        caption_mask: Tensor,
    ) -> Tensor:
        """Mean over captions, in nats; 0 if there is none.

        Args:
            frames_masked: ``(batch, frames, dim)`` of the view with hidden frames.
            text_tokens_masked: ``(batch, words, dim)`` of the caption with words hidden.
            caption_ids: ``(batch, words)`` int64, the whole captions.
            caption_mask: ``(batch, words)`` bool, True at words.
        """
        captioned = caption_mask.any(1)
        allowed = comparable_pairs(caption_ids, dedupe=self.dedupe, captioned=captioned)
        return row_nce(
            self.score(text_tokens_masked, caption_mask, frames_masked), allowed, captioned
        )

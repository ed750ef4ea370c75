"""A small network that reads clip and caption together picks the right caption (VIOLET)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from losses.parts.fusion import PairScore
from losses.parts.pairs import comparable_pairs, row_nce

if TYPE_CHECKING:
    from collections.abc import Mapping


class VioletVtm(nn.Module):
    """Cross-entropy over the captions of the batch for every clip, at a low temperature.

    Quirk: followed; only clips look for captions, never the reverse. Quirk: fixed; the published
    code hides parts of the clip in place, so that this loss trains on damaged clips. Quirk: fixed;
    another clip with the same sentence is no wrong answer (``dedupe=False`` for the published
    form). The published head also drops a tenth of its input; losses here draw no random number.
    """

    def __init__(
        self,
        *,
        dims: Mapping[str, int],
        width: int = 32,
        temperature: float = 0.05,
        dedupe: bool = True,
    ) -> None:
        super().__init__()
        self.temperature, self.dedupe = temperature, dedupe
        self.score = PairScore(dims, width, loss="violet_vtm", hidden=True)

    def forward(
        self, *, frames: Tensor, text_tokens: Tensor, caption_ids: Tensor, caption_mask: Tensor
    ) -> Tensor:
        """Mean over clips with a caption, in nats; 0 if there is none.

        Args:
            frames: ``(batch, frames, dim)``.
            text_tokens: ``(batch, words, dim)``.
            caption_ids: ``(batch, words)`` int64.
            caption_mask: ``(batch, words)`` bool, True at words.
        """
        captioned = caption_mask.any(1)
        allowed = comparable_pairs(caption_ids, dedupe=self.dedupe, captioned=captioned)
        scores = self.score(text_tokens, caption_mask, frames).T / self.temperature
        return row_nce(scores, allowed, captioned)

"""True and false pairs of clip and caption are told apart (All-in-one)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from losses.parts.fusion import PairScore
from losses.parts.pairs import comparable_pairs, mean_over

if TYPE_CHECKING:
    from collections.abc import Mapping


class AllinoneVtm(nn.Module):
    """Two-way cross-entropy, half for the true pairs, half for the false ones.

    Quirk: fixed; the published loss gives half of the captions one random false clip. Here every
    false pair of the batch counts, which is the expected value of that draw: losses draw no
    random number, and the small network makes all pairs cheap. Pairs with equal captions are
    neither true nor false (``dedupe=False``: false).
    """

    def __init__(self, *, dims: Mapping[str, int], width: int = 32, dedupe: bool = True) -> None:
        super().__init__()
        self.dedupe = dedupe
        self.score = PairScore(dims, width, loss="allinone_vtm", hidden=True)

    def forward(
        self, *, frames: Tensor, text_tokens: Tensor, caption_ids: Tensor, caption_mask: Tensor
    ) -> Tensor:
        """Mean of both halves, in nats; 0 if there is no caption.

        Args:
            frames: ``(batch, frames, dim)``.
            text_tokens: ``(batch, words, dim)``.
            caption_ids: ``(batch, words)`` int64.
            caption_mask: ``(batch, words)`` bool, True at words.
        """
        captioned = caption_mask.any(1)
        scores = self.score(text_tokens, caption_mask, frames)
        false = comparable_pairs(caption_ids, dedupe=self.dedupe, captioned=captioned)
        false = false.fill_diagonal_(False)
        true = mean_over(F.softplus(-scores.diagonal()), captioned)
        return (true + mean_over(F.softplus(scores), false)) / 2

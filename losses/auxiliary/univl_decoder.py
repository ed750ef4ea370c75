"""The caption is said word by word by a transformer that reads the frames (UniVL)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from losses.parts.decoder import WordDecoder

if TYPE_CHECKING:
    from collections.abc import Mapping


class UnivlDecoder(nn.Module):
    """Cross-entropy of every word given the true words before it.

    Quirk: fixed; the published retrieval setting lets the decoder read the very caption that it is
    to say. Here it reads frames alone. Quirk: fixed; published padding is a word like others, to be
    said; ``count_padding=True`` does the same.
    """

    def __init__(
        self,
        *,
        dims: Mapping[str, int],
        width: int = 64,
        layers: int = 1,
        count_padding: bool = False,
    ) -> None:
        super().__init__()
        self.count_padding = count_padding
        self.decoder = WordDecoder(dims, width, layers, loss="univl_decoder")

    def forward(self, *, frames: Tensor, caption_ids: Tensor, caption_mask: Tensor) -> Tensor:
        """Mean over words, in nats; 0 if there is none.

        Args:
            frames: ``(batch, frames, dim)``.
            caption_ids: ``(batch, words)`` int64.
            caption_mask: ``(batch, words)`` bool, True at words.
        """
        counted = torch.ones_like(caption_mask) if self.count_padding else caption_mask
        return self.decoder(frames, caption_ids, counted)

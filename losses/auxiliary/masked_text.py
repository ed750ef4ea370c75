"""Hidden words of the caption are guessed from the others and the clip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from losses.parts.precision import at_least_float32
from losses.parts.sizes import size

if TYPE_CHECKING:
    from collections.abc import Mapping


class MaskedText(nn.Module):
    """Each word feature, with the clip feature added, names the word at its place."""

    def __init__(self, *, dims: Mapping[str, int]) -> None:
        super().__init__()
        word = size(dims, "word", loss="masked_text")
        self.word = nn.Linear(word, word)
        self.video = nn.Linear(size(dims, "video", loss="masked_text"), word, bias=False)
        self.predict = nn.Linear(word, size(dims, "vocabulary", loss="masked_text"))

    def forward(
        self, *, text_tokens_masked: Tensor, video: Tensor, caption_targets: Tensor
    ) -> Tensor:
        """Mean cross-entropy over the hidden words, in nats; 0 if there is none.

        Args:
            text_tokens_masked: ``(batch, words, dim)`` of the caption with words hidden.
            video: ``(batch, dim)`` clip features.
            caption_targets: ``(batch, words)`` int64, the true word where hidden, else -1.
        """
        mixed = F.gelu(self.word(text_tokens_masked) + self.video(video).unsqueeze(1))
        log_p = F.log_softmax(at_least_float32(self.predict(mixed)), dim=-1)
        hidden = caption_targets >= 0
        true = log_p.gather(-1, caption_targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
        return -(true * hidden).sum() / hidden.sum().clamp(min=1)

"""Hidden words are guessed from the other words and the whole clip (All-in-one)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from losses.parts.fusion import HiddenWords

if TYPE_CHECKING:
    from collections.abc import Mapping


class AllinoneMlm(nn.Module):
    """Masked language model; unlike in UniVL and VIOLET nothing of the clip is hidden."""

    def __init__(self, *, dims: Mapping[str, int], width: int = 64) -> None:
        super().__init__()
        self.guess = HiddenWords(dims, width, loss="allinone_mlm")

    def forward(
        self,
        *,
        text_tokens_masked: Tensor,
        frames: Tensor,
        caption_mask: Tensor,
        caption_targets: Tensor,
    ) -> Tensor:
        """Mean cross-entropy over the hidden words, in nats; 0 if there is none.

        Args:
            text_tokens_masked: ``(batch, words, dim)`` of the caption with words hidden.
            frames: ``(batch, frames, dim)``.
            caption_mask: ``(batch, words)`` bool, True at words.
            caption_targets: ``(batch, words)`` int64, the true word where hidden, else -1.
        """
        return self.guess(text_tokens_masked, caption_mask, frames, caption_targets)

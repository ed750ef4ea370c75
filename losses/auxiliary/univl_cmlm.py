"""Hidden words are guessed from the other words and a clip with hidden frames (UniVL)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from losses.parts.fusion import HiddenWords

if TYPE_CHECKING:
    from collections.abc import Mapping


class UnivlCmlm(nn.Module):
    """Conditioned masked language model.

    The published word classifier shares the word vectors of its text encoder, which a loss does not
    see; this one has weights of its own. Which words are hidden is the matter of the batch.
    """

    def __init__(self, *, dims: Mapping[str, int], width: int = 64) -> None:
        super().__init__()
        self.guess = HiddenWords(dims, width, loss="univl_cmlm")

    def forward(
        self,
        *,
        text_tokens_masked: Tensor,
        frames_masked: Tensor,
        caption_mask: Tensor,
        caption_targets: Tensor,
    ) -> Tensor:
        """Mean cross-entropy over the hidden words, in nats; 0 if there is none.

        Args:
            text_tokens_masked: ``(batch, words, dim)`` of the caption with words hidden.
            frames_masked: ``(batch, frames, dim)`` of the view with hidden frames.
            caption_mask: ``(batch, words)`` bool, True at words.
            caption_targets: ``(batch, words)`` int64, the true word where hidden, else -1.
        """
        return self.guess(text_tokens_masked, caption_mask, frames_masked, caption_targets)

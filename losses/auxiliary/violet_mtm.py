"""Hidden words are guessed from the other words and a clip with hidden parts (VIOLET)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from losses.parts.fusion import HiddenWords

if TYPE_CHECKING:
    from collections.abc import Mapping


class VioletMtm(nn.Module):
    """Masked text model.

    It asks what UniVL's conditioned masked language model asks; the publications differ in what is
    hidden: here every chosen word becomes the mask, there one in five stays or is replaced.
    Hiding is the matter of the batch, whose way is the one of this publication.
    """

    def __init__(self, *, dims: Mapping[str, int], width: int = 64) -> None:
        super().__init__()
        self.guess = HiddenWords(dims, width, loss="violet_mtm")

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

"""Hidden cells of the clip are named by their discrete code (VIOLET)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from losses.parts.fusion import Fusion, token_cross_entropy

if TYPE_CHECKING:
    from collections.abc import Mapping


class VioletMvm(nn.Module):
    """Masked visual token model over space-time tokens, with the help of the caption.

    The published codes come from a public discrete autoencoder of 8192 codes, one per cell of 32
    pixels. The published head also drops a tenth of its input; losses here draw no random number.
    """

    def __init__(self, *, dims: Mapping[str, int], width: int = 64, codes: int = 8192) -> None:
        super().__init__()
        self.fusion = Fusion(dims, width, loss="violet_mvm", steps="token")
        self.hidden = nn.Linear(width, 2 * width)
        self.predict = nn.Linear(2 * width, codes)

    def forward(
        self,
        *,
        tokens_masked: Tensor,
        text_tokens_masked: Tensor,
        caption_mask: Tensor,
        visual_codes: Tensor,
    ) -> Tensor:
        """Mean cross-entropy over the hidden cells, in nats; 0 if there is none.

        Args:
            tokens_masked: ``(batch, tokens, dim)`` of the view with hidden cells.
            text_tokens_masked: ``(batch, words, dim)`` of the caption with words hidden.
            caption_mask: ``(batch, words)`` bool, True at words.
            visual_codes: ``(batch, tokens)`` int64, the code where hidden, else -1.
        """
        _, states = self.fusion(text_tokens_masked, caption_mask, tokens_masked)
        return token_cross_entropy(self.predict(F.relu(self.hidden(states))), visual_codes)

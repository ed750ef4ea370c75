"""A hidden frame is recognised with the help of the caption (UniVL)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from losses.parts.fusion import Fusion
from losses.parts.masked_frames import frame_nce
from losses.parts.precision import at_least_float32
from losses.parts.sizes import size

if TYPE_CHECKING:
    from collections.abc import Mapping


class UnivlCmfm(nn.Module):
    """Conditioned masked frame model: find the frame among all frames of the batch.

    Quirk: followed; scores are plain inner products with layer-normalised frames (see
    ``masked_frame`` for cosines at a temperature, without the caption).
    """

    def __init__(self, *, dims: Mapping[str, int], width: int = 64) -> None:
        super().__init__()
        self.fusion = Fusion(dims, width, loss="univl_cmfm")
        self.predict = nn.Linear(width, size(dims, "frames", loss="univl_cmfm"))

    def forward(
        self,
        *,
        frames_masked: Tensor,
        frame_mask: Tensor,
        frames: Tensor,
        text_tokens_masked: Tensor,
        caption_mask: Tensor,
    ) -> Tensor:
        """Mean over hidden frames, in nats; 0 if there is none.

        Args:
            frames_masked: ``(batch, frames, dim)`` of the view with hidden frames.
            frame_mask: ``(batch, frames)`` bool, True = hidden.
            frames: ``(batch, frames, dim)`` of the whole clip; the targets, no gradient.
            text_tokens_masked: ``(batch, words, dim)`` of the caption with words hidden.
            caption_mask: ``(batch, words)`` bool, True at words.
        """
        _, states = self.fusion(text_tokens_masked, caption_mask, frames_masked)
        whole = at_least_float32(frames.detach())
        return frame_nce(self.predict(states), F.layer_norm(whole, whole.shape[-1:]), frame_mask)

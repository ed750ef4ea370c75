"""A narrow network that predicts what hidden frames hold from the visible ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losses.parts.sizes import size

if TYPE_CHECKING:
    from collections.abc import Mapping


class FrameMarks(nn.Module):
    """One learned vector per frame of the clip, and one that marks hidden frames."""

    def __init__(self, time: int, width: int) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.empty(time, width))
        self.hidden = nn.Parameter(torch.empty(width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw from a normal distribution of standard deviation .02."""
        nn.init.normal_(self.position, std=0.02)
        nn.init.normal_(self.hidden, std=0.02)

    def forward(self, frame_mask: Tensor) -> Tensor:
        """``(batch, time)`` bool -> ``(batch, time, width)``."""
        return self.position + frame_mask.unsqueeze(-1) * self.hidden


class FramePredictor(nn.Module):
    """One attention over the frames, one two-layer network per frame.

    Attention is written out, because fused kernels lack forward-mode derivatives.
    """

    def __init__(self, *, dims: Mapping[str, int], width: int, loss: str) -> None:
        super().__init__()
        dim = size(dims, "frames", loss=loss)
        self.narrow = nn.Linear(dim, width)
        self.marks = FrameMarks(size(dims, "time", loss=loss), width)
        self.attend_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attended = nn.Linear(width, width)
        self.mix_norm = nn.LayerNorm(width)
        self.mix_in = nn.Linear(width, 2 * width)
        self.mix_out = nn.Linear(2 * width, width)
        self.last_norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, dim)

    def predict(self, frames_masked: Tensor, frame_mask: Tensor) -> Tensor:
        """``(batch, time, dim)`` and ``(batch, time)`` -> ``(batch, time, dim)``."""
        x = self.narrow(frames_masked) + self.marks(frame_mask)
        query, key, value = self.query_key_value(self.attend_norm(x)).chunk(3, dim=-1)
        scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])
        x = x + self.attended(scores.softmax(-1) @ value)
        x = x + self.mix_out(F.gelu(self.mix_in(self.mix_norm(x))))
        return self.widen(self.last_norm(x))

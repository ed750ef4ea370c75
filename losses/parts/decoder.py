"""Say a caption word by word from frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from losses.parts.attention import DecoderLayer, sinusoid
from losses.parts.fusion import HEADS, token_cross_entropy
from losses.parts.sizes import size

if TYPE_CHECKING:
    from collections.abc import Mapping


class WordDecoder(nn.Module):
    """Transformer decoder over the words said so far, reading the frames."""

    def __init__(self, dims: Mapping[str, int], width: int, layers: int, *, loss: str) -> None:
        super().__init__()
        vocabulary = size(dims, "vocabulary", loss=loss)
        self.words = nn.Embedding(vocabulary + 1, width)  # the last one stands before the caption
        self.frames = nn.Linear(size(dims, "frames", loss=loss), width)
        self.layers = nn.ModuleList([DecoderLayer(width, HEADS, 2 * width) for _ in range(layers)])
        self.predict = nn.Linear(width, vocabulary)

    def forward(self, frames: Tensor, ids: Tensor, counted: Tensor) -> Tensor:
        """Mean cross-entropy of the words that count, given the true words before each, in nats.

        Args:
            frames: ``(batch, frames, dim)``.
            ids: ``(batch, words)`` int64.
            counted: ``(batch, words)`` bool. 0 if none counts.
        """
        first = torch.full_like(ids[:, :1], self.words.num_embeddings - 1)
        x = self.words(torch.cat((first, ids[:, :-1]), dim=1))
        x = x + sinusoid(x.shape[1], x)
        memory = self.frames(frames)
        memory = memory + sinusoid(memory.shape[1], memory)
        steps = ids.shape[1]
        before = torch.ones(steps, steps, dtype=torch.bool, device=ids.device).tril()
        for layer in self.layers:
            x = layer(x, memory, keep=before.unsqueeze(0))
        return token_cross_entropy(self.predict(x), ids.masked_fill(~counted, -1))

"""The caption is said word by word from the clip feature."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losses.parts.precision import at_least_float32
from losses.parts.sizes import size

if TYPE_CHECKING:
    from collections.abc import Mapping


class Caption(nn.Module):
    """A recurrent decoder of one layer that starts from the clip feature.

    The recurrence is written out, because fused kernels lack forward-mode derivatives.

    Quirk: fixed; the published decoder also learns to say padding. Here padding counts for
    nothing.
    """

    def __init__(self, *, dims: Mapping[str, int], width: int = 64) -> None:
        super().__init__()
        vocabulary = size(dims, "vocabulary", loss="caption")
        self.start = nn.Linear(size(dims, "video", loss="caption"), width)
        self.words = nn.Embedding(vocabulary + 1, width)  # the last one stands before the caption
        self.from_word = nn.Linear(width, 3 * width)
        self.from_state = nn.Linear(width, 3 * width)
        self.predict = nn.Linear(width, vocabulary)

    def forward(self, *, video: Tensor, caption_ids: Tensor, caption_mask: Tensor) -> Tensor:
        """Mean cross-entropy over the words, in nats, given the true words before each.

        0 if there is no word.

        Args:
            video: ``(batch, dim)`` clip features.
            caption_ids: ``(batch, words)`` int64.
            caption_mask: ``(batch, words)`` bool, True at words.
        """
        first = torch.full_like(caption_ids[:, :1], self.words.num_embeddings - 1)
        previous = torch.cat((first, caption_ids[:, :-1]), dim=1)
        from_word = self.from_word(self.words(previous))
        state = torch.tanh(self.start(video))
        states = []
        for step in from_word.unbind(1):
            state = self._step(step, state)
            states.append(state)
        log_p = F.log_softmax(at_least_float32(self.predict(torch.stack(states, 1))), dim=-1)
        true = log_p.gather(-1, caption_ids.unsqueeze(-1)).squeeze(-1)
        return -(true * caption_mask).sum() / caption_mask.sum().clamp(min=1)

    def _step(self, from_word: Tensor, state: Tensor) -> Tensor:
        """The gated recurrent unit of ``nn.GRUCell``."""
        word_reset, word_update, word_new = from_word.chunk(3, dim=-1)
        reset, update, new = self.from_state(state).chunk(3, dim=-1)
        update = torch.sigmoid(word_update + update)
        proposal = torch.tanh(word_new + torch.sigmoid(word_reset + reset) * new)
        return proposal + update * (state - proposal)

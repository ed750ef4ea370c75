"""Small networks over a caption and a clip, owned by the losses that need both at once.

Published models pass both through a deep cross-encoder of their own. Here a loss brings one layer,
so that any model that gives word and frame features can be trained with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losses.parts.attention import DecoderLayer, sinusoid
from losses.parts.pairs import mean_over
from losses.parts.precision import at_least_float32
from losses.parts.similarity import masked_mean
from losses.parts.sizes import size

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADS = 4


class Fusion(nn.Module):
    """Words and clip steps read each other in one encoder layer."""

    def __init__(
        self, dims: Mapping[str, int], width: int, *, loss: str, steps: str = "frames"
    ) -> None:
        super().__init__()
        self.words = nn.Linear(size(dims, "word", loss=loss), width)
        self.steps = nn.Linear(size(dims, steps, loss=loss), width)
        self.layer = DecoderLayer(width, HEADS, 2 * width, cross=False)

    def forward(self, words: Tensor, word_mask: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        """States of the words and of the clip steps.

        Args:
            words: ``(batch, words, dim)``.
            word_mask: ``(batch, words)`` bool, True at words.
            steps: ``(batch, steps, dim)`` of the clip, in order.

        Returns:
            ``(batch, words, width)`` and ``(batch, steps, width)``.
        """
        text, clip = self.words(words), self.steps(steps)
        text = text + sinusoid(text.shape[1], text)
        clip = clip + sinusoid(clip.shape[1], clip)
        present = torch.ones(clip.shape[:2], dtype=torch.bool, device=clip.device)
        keep = torch.cat((word_mask, present), dim=1).unsqueeze(1)
        states = self.layer(torch.cat((text, clip), dim=1), keep=keep)
        return states[:, : words.shape[1]], states[:, words.shape[1] :]


class HiddenWords(nn.Module):
    """Hidden words are guessed from the other words and the clip."""

    def __init__(self, dims: Mapping[str, int], width: int, *, loss: str) -> None:
        super().__init__()
        self.fusion = Fusion(dims, width, loss=loss)
        self.mix = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.predict = nn.Linear(width, size(dims, "vocabulary", loss=loss))

    def forward(self, words: Tensor, word_mask: Tensor, frames: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy over the hidden words, in nats; 0 if there is none.

        Args:
            words: ``(batch, words, dim)`` of the caption with words hidden.
            word_mask: ``(batch, words)`` bool, True at words.
            frames: ``(batch, frames, dim)``.
            targets: ``(batch, words)`` int64, the true word where hidden, else -1.
        """
        states, _ = self.fusion(words, word_mask, frames)
        return token_cross_entropy(self.predict(self.norm(F.gelu(self.mix(states)))), targets)


class PairScore(nn.Module):
    """A score for every caption with every clip of the batch.

    Words read the frames of the clip (one head); what they read is added to them, averaged, and
    judged. Keys and values are made once per clip, so the cost of a pair stays small.

    Args:
        dims: Sizes of the model's features.
        width: Of words and frames inside.
        loss: For messages.
        hidden: Judge by two layers with a ReLU between instead of one linear map.
    """

    def __init__(
        self, dims: Mapping[str, int], width: int, *, loss: str, hidden: bool = False
    ) -> None:
        super().__init__()
        self.words = nn.Linear(size(dims, "word", loss=loss), width)
        self.query = nn.Linear(width, width)
        frames = size(dims, "frames", loss=loss)
        self.key = nn.Linear(frames, width)
        self.value = nn.Linear(frames, width)
        self.norm = nn.LayerNorm(width)
        self.hidden = nn.Linear(width, 2 * width) if hidden else None
        self.judge = nn.Linear(2 * width if hidden else width, 1)

    def forward(self, words: Tensor, word_mask: Tensor, frames: Tensor) -> Tensor:
        """``(captions, clips)`` scores, at least float32.

        Args:
            words: ``(captions, words, dim)``.
            word_mask: ``(captions, words)`` bool, True at words.
            frames: ``(clips, frames, dim)``.
        """
        text = self.words(words)
        text = text + sinusoid(text.shape[1], text)
        key, value = self.key(frames), self.value(frames)
        key = key + sinusoid(key.shape[1], key)
        scores = torch.einsum("ald,bfd->ablf", self.query(text), key)
        weights = (at_least_float32(scores) / key.shape[-1] ** 0.5).softmax(-1)
        # the mean over words of what they read is what their mean weights read
        share = word_mask / word_mask.sum(1, keepdim=True).clamp(min=1)
        weights = torch.einsum("ablf,al->abf", weights, share.to(weights.dtype))
        read = torch.einsum("abf,bfd->abd", weights.to(value.dtype), value)
        state = self.norm(masked_mean(text, word_mask).unsqueeze(1) + read)
        if self.hidden is not None:
            state = F.relu(self.hidden(state))
        return at_least_float32(self.judge(state)).squeeze(-1)


def token_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy where ``targets`` is at least 0, in nats; 0 if it is nowhere.

    Args:
        logits: ``(..., classes)``.
        targets: ``(...)`` int64, negative = not asked.
    """
    log_p = F.log_softmax(at_least_float32(logits), dim=-1)
    true = log_p.gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return -mean_over(true, targets >= 0)

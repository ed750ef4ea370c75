"""Every pair of the batch is judged on its own: same or not (SigLIP)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losses.parts.pairs import comparable_pairs
from losses.parts.precision import at_least_float32
from losses.parts.sizes import size

if TYPE_CHECKING:
    from collections.abc import Mapping


class Siglip(nn.Module):
    """Pairwise logistic loss with a learned scale (through its logarithm) and a learned bias.

    Args:
        dims: Sizes of the features; `embed` is needed.
        scale: Start of the factor of the cosines.
        bias: Start of the bias. The published -10 is about the logarithm of one matching pair among
            the 32,000 of a row. With a batch of B, log(1 / (B - 1)) is as apt: -2.7 for 16, -4.1
            for 64. From -10 small batches begin with a loss near 10 that outweighs all others.
        dedupe: Leave out pairs of equal captions.
    """

    def __init__(
        self,
        *,
        dims: Mapping[str, int],
        scale: float = 10.0,
        bias: float = -10.0,
        dedupe: bool = True,
    ) -> None:
        super().__init__()
        size(dims, "embed", loss="siglip")
        self.start = (math.log(scale), bias)
        self.dedupe = dedupe
        self.log_scale = nn.Parameter(torch.tensor(self.start[0]))
        self.bias = nn.Parameter(torch.tensor(self.start[1]))

    def reset_parameters(self) -> None:
        """Scale and bias as given; nothing is drawn."""
        nn.init.constant_(self.log_scale, self.start[0])
        nn.init.constant_(self.bias, self.start[1])

    def forward(self, *, video_embed: Tensor, text_embed: Tensor, caption_ids: Tensor) -> Tensor:
        """Sum over a row of -log sigmoid of the signed scores, mean over rows, in nats.

        Args:
            video_embed: ``(batch, dim)``, L2-normalised; row i belongs to row i of ``text_embed``.
            text_embed: ``(batch, dim)``, L2-normalised.
            caption_ids: ``(batch, words)`` int64; pairs with equal captions are left out where
                ``dedupe`` says so.
        """
        scores = at_least_float32(text_embed @ video_embed.T)
        logits = self.log_scale.exp() * scores + self.bias
        sign = 2 * torch.eye(len(scores), dtype=logits.dtype, device=logits.device) - 1
        allowed = comparable_pairs(caption_ids, dedupe=self.dedupe)
        return (F.softplus(-sign * logits) * allowed).sum() / len(scores)

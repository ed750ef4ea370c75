"""Transformer layers, written out.

Fused attention kernels have neither forward-mode nor second derivatives, and the meta step needs
both. Weights and initial values are those of ``nn.Linear``.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losses.parts.precision import at_least_float32


class Attention(nn.Module):
    """Attention of several heads, from ``x`` to a memory.

    Raises:
        ValueError: The width is not a multiple of the heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"attention of width {width} cannot have {heads} heads")
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor, keep: Tensor | None = None) -> Tensor:
        """Read ``memory`` for every step of ``x``; the shape of ``x``.

        Args:
            x: ``(batch, steps, width)``.
            memory: ``(batch, entries, width)``.
            keep: bool, broadcastable to ``(batch, steps, entries)``, True at what may be read.
                Where nothing may be, all is, evenly.
        """
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query(x), self.key(memory), self.value(memory))
        )
        scores = at_least_float32(query @ key.transpose(-1, -2)) / math.sqrt(query.shape[-1])
        if keep is not None:
            scores = scores.masked_fill(~keep.unsqueeze(1), torch.finfo(scores.dtype).min)
        read = scores.softmax(-1).to(value.dtype) @ value
        return self.out(read.transpose(1, 2).flatten(2))


class DecoderLayer(nn.Module):
    """Self-attention, attention to a memory, feed-forward; a norm after each sum; no dropout.

    Without a memory of its own kind (``cross=False``) it is an encoder layer.
    """

    def __init__(self, width: int, heads: int, feedforward: int, *, cross: bool = True) -> None:
        super().__init__()
        self.self_attention = Attention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attention = Attention(width, heads) if cross else None
        self.norm2 = nn.LayerNorm(width) if cross else None
        self.linear1 = nn.Linear(width, feedforward)
        self.linear2 = nn.Linear(feedforward, width)
        self.norm3 = nn.LayerNorm(width)

    def forward(
        self,
        x: Tensor,
        memory: Tensor | None = None,
        *,
        keep: Tensor | None = None,
        keep_memory: Tensor | None = None,
    ) -> Tensor:
        """Transform ``x``.

        Args:
            x: ``(batch, steps, width)``.
            memory: ``(batch, entries, width)``.
            keep: As in :meth:`Attention.forward`, for the self-attention.
            keep_memory: The same for the memory.
        """
        x = self.norm1(x + self.self_attention(x, x, keep))
        if self.cross_attention is not None and self.norm2 is not None:
            assert memory is not None
            x = self.norm2(x + self.cross_attention(x, memory, keep_memory))
        return self.norm3(x + self.linear2(F.relu(self.linear1(x))))


def sinusoid(steps: int, like: Tensor) -> Tensor:
    """``(steps, width)`` sines and cosines of the position; width and precision of ``like``."""
    width = like.shape[-1]
    position = torch.arange(steps, device=like.device, dtype=torch.float32).unsqueeze(1)
    rate = torch.arange(0, width, 2, device=like.device, dtype=torch.float32) / width
    angle = position / 10_000**rate
    both = torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1)
    return both[:, :width].to(like.dtype)

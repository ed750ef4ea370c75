"""The order of three parts of a clip is told from their features."""

from __future__ import annotations

from itertools import combinations, permutations
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losses.parts.precision import at_least_float32
from losses.parts.sizes import size

if TYPE_CHECKING:
    from collections.abc import Mapping

PARTS = 3
ORDERS = tuple(permutations(range(PARTS)))
PAIRS = tuple(combinations(range(PARTS), 2))


class FrameOrder(nn.Module):
    """Features of every two parts are compared, the comparisons tell which order it is.

    All six orders of every clip are asked instead of one drawn at random, which costs little: the
    parts are encoded once, in their true order.

    Raises:
        ValueError: Clips of fewer than three frames.
    """

    def __init__(self, *, dims: Mapping[str, int], hidden: int = 64) -> None:
        super().__init__()
        if size(dims, "time", loss="frame_order") < PARTS:
            raise ValueError(f"loss frame_order needs 3 frames per clip, not {dims['time']}")
        self.compare = nn.Linear(2 * size(dims, "frames", loss="frame_order"), hidden)
        self.tell = nn.Linear(len(PAIRS) * hidden, len(ORDERS))

    def forward(self, *, frames: Tensor) -> Tensor:
        """Mean cross-entropy over clips and orders, in nats (log 6 = 1.79 at chance).

        Args:
            frames: ``(batch, time, dim)``, at least three frames.
        """
        parts = torch.stack([part.mean(1) for part in frames.tensor_split(PARTS, dim=1)], 1)
        shuffled = parts[:, torch.tensor(ORDERS, device=frames.device)]  # (batch, 6, 3, dim)
        both = [torch.cat((shuffled[:, :, a], shuffled[:, :, b]), -1) for a, b in PAIRS]
        compared = F.relu(self.compare(torch.stack(both, 2))).flatten(2)
        logits = at_least_float32(self.tell(compared)).flatten(0, 1)
        order = torch.arange(len(ORDERS), device=frames.device).repeat(len(frames))
        return F.cross_entropy(logits, order)

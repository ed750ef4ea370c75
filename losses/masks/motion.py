"""Where to hide blocks of a video: more often where it moves.

Masking policies of Video-JEPA studies change what is predicted, not how errors are measured, so
they are functions for whoever draws masks, not losses. Source: arXiv:2605.17165, by its released
training code.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

FLOOR = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskPolicy:
    """How blocks are placed and what is predicted.

    Attributes:
        strength: Power of the motion score; 0 = blocks are placed uniformly.
        random_rate: Share of blocks that are placed uniformly all the same.
        future: Only the first half of the clip may be seen, and everything else is predicted.
    """

    strength: float = 0.0
    random_rate: float = 0.0
    future: bool = False


POLICIES: Mapping[str, MaskPolicy] = MappingProxyType(
    {
        "uniform": MaskPolicy(),
        "motion_guided": MaskPolicy(strength=2.0, random_rate=0.1),
        "aggressive": MaskPolicy(strength=5.0),
        "future": MaskPolicy(future=True),
        "motion_future": MaskPolicy(strength=2.0, random_rate=0.1, future=True),
    }
)


def motion_map(video: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """Mean absolute frame difference per cell, at most 1 in every sample.

    Quirk: fixed; the published code mixes up samples and time when it divides by the maxima, and
    runs only where the batch is as large as the grid is long. Here each sample has its own.

    Args:
        video: ``(batch, 3, frames, height, width)``, at least one frame.
        grid: Steps, rows and columns of cells.

    Returns:
        ``(batch, *grid)``.
    """
    if video.shape[2] < 2:
        return video.new_zeros(len(video), *grid)
    change = (video[:, :, 1:] - video[:, :, :-1]).abs().mean(1, keepdim=True)
    change = torch.cat((change[:, :, :1], change), dim=2)
    cells = F.interpolate(change, size=grid, mode="trilinear", align_corners=False).squeeze(1)
    return cells / cells.amax((1, 2, 3), keepdim=True).clamp(min=FLOOR)


def origins(grid: tuple[int, int, int], block: tuple[int, int, int]) -> Tensor:
    """First cells ``(count, 3)`` of all blocks that fit, the last axis fastest.

    Raises:
        ValueError: A block larger than the grid.
    """
    if any(b > g or b < 1 for g, b in zip(grid, block, strict=True)):
        raise ValueError(f"a block of {block} cells does not fit into a grid of {grid}")
    axes = [torch.arange(g - b + 1) for g, b in zip(grid, block, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)


def origin_probabilities(motion: Tensor, block: tuple[int, int, int], policy: MaskPolicy) -> Tensor:
    """How likely a block starts at each of :func:`origins`.

    Args:
        motion: ``(batch, *grid)`` of :func:`motion_map`.
        block: Cells of the block along each axis.
        policy: Strength and random rate.

    Returns:
        ``(batch, count)``, rows sum to 1.
    """
    inside = F.avg_pool3d(motion.unsqueeze(1), block, stride=1).flatten(1)
    weights = inside.clamp(min=FLOOR).double() ** policy.strength
    guided = weights / weights.sum(1, keepdim=True)
    return (1 - policy.random_rate) * guided + policy.random_rate / guided.shape[1]


def hide_blocks(
    motion: Tensor,
    block: tuple[int, int, int],
    count: int,
    policy: MaskPolicy,
    rng: torch.Generator,
) -> Tensor:
    """Hidden cells of every sample: blocks drawn by the policy, and the future if it says so.

    Args:
        motion: ``(batch, *grid)`` of :func:`motion_map`; on the CPU.
        block: Cells of a block along each axis.
        count: Blocks per sample.
        policy: Where they go.
        rng: Draws the places, on the CPU.

    Returns:
        ``(batch, *grid)`` bool, True = hidden. If all would be hidden, one cell that the policy
        does not forbid is freed.
    """
    grid = (motion.shape[1], motion.shape[2], motion.shape[3])
    places = origins(grid, block)
    share = origin_probabilities(motion, block, policy)
    chosen = torch.multinomial(share, count, replacement=True, generator=rng)
    hidden = torch.zeros(motion.shape, dtype=torch.bool)
    for sample, indices in enumerate(chosen):
        for t, i, j in places[indices].tolist():
            hidden[sample, t : t + block[0], i : i + block[1], j : j + block[2]] = True
    seen = max(1, grid[0] // 2) if policy.future else grid[0]
    hidden[:, seen:] = True
    for sample in hidden.flatten(1):
        if sample.all():
            sample[torch.randint(seen * grid[1] * grid[2], (1,), generator=rng)] = False
    return hidden

"""Multi-block masks over the cells of a video: what a predictor sees and what it must predict.

Source: V-JEPA (arXiv:2404.08471) section 3.2, by its released code; the future-predictive variant
is that of arXiv:2605.17165. Like ``motion_masks`` these are functions for whoever draws masks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

Grid = tuple[int, int, int]
#: Redraws of a sample in which nothing is left to see, before one cell is freed.
MOST_REDRAWS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockMasks:
    """How many blocks of which size are to be predicted.

    Attributes:
        blocks: Number of blocks per sample; they may overlap.
        spatial: Smallest and largest share of a frame's cells in a block.
        temporal: Smallest and largest share of the steps in a block.
        aspect: Smallest and largest height / width of a block.
        max_temporal_keep: Share of the steps that may be seen, the first ones; later ones are
            predicted whole.
        max_keep: Most cells to be seen; None = no limit.
        full_complement: Predict every cell that is not seen. Without, samples of a batch are cut
            to the shortest list and some cells are neither seen nor predicted.
    """

    blocks: int
    spatial: tuple[float, float]
    temporal: tuple[float, float] = (1.0, 1.0)
    aspect: tuple[float, float] = (0.75, 1.5)
    max_temporal_keep: float = 1.0
    max_keep: int | None = None
    full_complement: bool = False


#: The published pair, drawn side by side for every batch, and its future-predictive form.
PAIRS: Mapping[str, tuple[BlockMasks, BlockMasks]] = MappingProxyType(
    {
        "standard": (
            BlockMasks(blocks=8, spatial=(0.15, 0.15)),
            BlockMasks(blocks=2, spatial=(0.7, 0.7)),
        ),
        "future": (
            BlockMasks(blocks=4, spatial=(0.15, 0.15), max_temporal_keep=0.5, full_complement=True),
            BlockMasks(blocks=1, spatial=(0.7, 0.7), max_temporal_keep=0.5, full_complement=True),
        ),
    }
)


def block_size(grid: Grid, settings: BlockMasks, step: int) -> Grid:
    """Steps, rows and columns of the blocks of a batch: one size, decided by the step alone.

    Args:
        grid: Steps, rows and columns of cells.
        settings: Ranges.
        step: Number of the batch, from 0; the same for all mask types and data workers.
    """
    time, height, width = grid
    rng = torch.Generator().manual_seed(step)
    drawn = [torch.rand(1, generator=rng).item() for _ in range(3)]
    share_t, share, aspect = (
        low + u * (high - low)
        for u, (low, high) in zip(
            drawn, (settings.temporal, settings.spatial, settings.aspect), strict=True
        )
    )
    cells = int(height * width * share)
    rows = min(height, max(1, round(math.sqrt(cells * aspect))))
    columns = min(width, max(1, round(math.sqrt(cells / aspect))))
    return max(1, int(time * share_t)), rows, columns


def draw_block_masks(
    grid: Grid, batch: int, settings: BlockMasks, step: int, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Cells to see and cells to predict of every sample.

    Quirk: kept; lists are cut to the shortest of the batch from their end, so that late steps lose
    more cells than early ones.

    Args:
        grid: Steps, rows and columns of cells.
        batch: Number of samples.
        settings: Blocks.
        step: Number of the batch; see :func:`block_size`.
        rng: Draws the places, on the CPU.

    Returns:
        Two int64 tensors ``(batch, seen)`` and ``(batch, predicted)`` of cell numbers, ascending,
        the last axis of the grid fastest; without common cells.
    """
    size = block_size(grid, settings, step)
    hidden = torch.stack([_hidden(grid, size, settings, rng) for _ in range(batch)])
    seen = [(~sample).nonzero().squeeze(1) for sample in hidden]
    predicted = [sample.nonzero().squeeze(1) for sample in hidden]
    most = min(map(len, seen))
    if settings.max_keep is not None:
        most = min(most, settings.max_keep)
    context = torch.stack([cells[:most] for cells in seen])
    if settings.full_complement:
        rest = torch.ones_like(hidden).scatter_(1, context, value=False)
        return context, rest.nonzero()[:, 1].view(batch, -1)
    fewest = min(map(len, predicted))
    return context, torch.stack([cells[:fewest] for cells in predicted])


def _hidden(grid: Grid, size: Grid, settings: BlockMasks, rng: torch.Generator) -> Tensor:
    """Flat bool of one sample, True = not to be seen; at least one cell can be seen."""
    first_unseen = max(1, int(grid[0] * settings.max_temporal_keep))
    for _ in range(MOST_REDRAWS):
        hidden = torch.zeros(grid, dtype=torch.bool)
        for _ in range(settings.blocks):
            # the order of these draws is that of the published code: rows, columns, steps
            top, left, start = (
                int(torch.randint(grid[axis] - size[axis] + 1, (1,), generator=rng))
                for axis in (1, 2, 0)
            )
            hidden[start : start + size[0], top : top + size[1], left : left + size[2]] = True
        hidden[first_unseen:] = True
        if not hidden.all():
            return hidden.flatten()
    free = int(torch.randint(first_unseen * grid[1] * grid[2], (1,), generator=rng))
    hidden = hidden.flatten()
    hidden[free] = False
    return hidden

"""Parts of the picture that are hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from perturb.levels import fresh

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perturb.draws import Draws

_CELLS = 8


def occlusion(clip: Tensor, draws: Sequence[Draws], *, share: float) -> Tensor:
    """Black out cells of an 8 x 8 grid, the same ones in all frames of a clip.

    Args:
        clip: (B, T, C, H, W) uint8.
        draws: One per clip.
        share: Share of the cells that is hidden, rounded to whole cells.
    """
    height, width = clip.shape[-2:]
    rows = np.arange(height) * _CELLS // height
    columns = np.arange(width) * _CELLS // width
    hidden = round(share * _CELLS**2)
    out = fresh(clip)
    for index, draw in enumerate(draws):
        kept = np.full(_CELLS**2, 255, np.uint8)
        kept[torch.randperm(_CELLS**2, generator=draw.numbers())[:hidden].numpy()] = 0
        kept_HW = torch.from_numpy(kept.reshape(_CELLS, _CELLS)[:, columns][rows])
        # the bits of a value are kept or cleared: faster than filling
        torch.bitwise_and(clip[index], kept_HW.to(clip.device), out=out[index])
    return out

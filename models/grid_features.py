"""Features of clips from what the last layer of a network puts out on its grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

#: Steps in time, rows and columns of tokens.
Grid = tuple[int, int, int]


def of_map(maps: Tensor, frames: int) -> dict[str, Tensor]:
    """Tokens and frame features of a map ``(batch, width, steps, rows, columns)``.

    Args:
        maps: The map.
        frames: Frames of the clip; each gets the vector of the step that it lies in.
    """
    return of_tokens(maps.flatten(2).transpose(1, 2), _grid(maps), frames)


def of_tokens(tokens: Tensor, grid: Grid, frames: int) -> dict[str, Tensor]:
    """Tokens and frame features of tokens ``(batch, steps * rows * columns, width)``.

    Returns:
        ``tokens`` as given; ``frames`` (batch, frames, width), the mean over a step's tokens.
    """
    steps = tokens.unflatten(1, (grid[0], -1)).mean(2)
    return {"tokens": tokens, "frames": over_frames(steps, frames)}


def over_frames(steps: Tensor, frames: int) -> Tensor:
    """``(batch, steps, width)`` -> ``(batch, frames, width)``: of the step of every frame."""
    count = steps.shape[1]
    if count == frames:
        return steps
    return steps[:, torch.arange(frames, device=steps.device) * count // frames]


def halved(size: int, times: int) -> int:
    """A side after ``times`` layers of stride 2 that pad half their kernel: rounded up."""
    return -(-size // 2**times)


def _grid(maps: Tensor) -> Grid:
    steps, rows, columns = maps.shape[2:]
    return steps, rows, columns

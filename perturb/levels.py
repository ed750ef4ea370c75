"""Memory for results, and from float values to whole grey levels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable


def fresh(like: Tensor) -> Tensor:
    """Return contiguous memory of the shape and device of the uint8 `like`, not yet written.

    On a CPU numpy finds it: memory that it used before or huge pages. torch gets new small pages
    each time, and having these made costs up to five times as much as copying a clip into them.
    """
    if like.device.type != "cpu":
        return torch.empty_like(like, memory_format=torch.contiguous_format)
    return torch.from_numpy(np.empty(tuple(like.shape), np.uint8))


def black(like: Tensor) -> Tensor:
    """Return what `fresh` does, filled with 0."""
    if like.device.type != "cpu":
        return torch.zeros_like(like, memory_format=torch.contiguous_format)
    return torch.from_numpy(np.zeros(tuple(like.shape), np.uint8))


def whole(values: Tensor, out: Tensor | None = None) -> Tensor:
    """Cut float values from 0 to below 256 to whole grey levels (truncated), uint8.

    On a CPU numpy converts, several times as fast as torch; the bytes are the same.

    Args:
        values: Any shape and memory layout.
        out: Where to write; without it the result is new and contiguous.
    """
    if values.device.type != "cpu":
        made = values.to(torch.uint8).contiguous()
        return made if out is None else out.copy_(made)
    if out is None:
        out = torch.from_numpy(np.empty(values.shape, np.uint8))
    np.copyto(out.numpy(), values.numpy(), casting="unsafe")
    return out


def frame_by_frame(out: Tensor, change: Callable[[slice], Tensor]) -> None:
    """Compute values for some frames at a time and cut them to whole grey levels.

    On a CPU it is one frame, so that what lies between the first step and the last stays in the
    cache: twice as fast as clip by clip. On a GPU it is all of them.

    Args:
        out: Where to write, (T, C, H, W) uint8.
        change: Returns float values from 0 to below 256 for these frames, (some, C, H, W).
    """
    some = 1 if out.device.type == "cpu" else max(1, len(out))
    for start in range(0, len(out), some):
        part = slice(start, start + some)
        whole(change(part), out[part])

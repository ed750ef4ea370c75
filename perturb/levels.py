"""Memory for results, and from float values to whole grey levels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def fresh(like: Tensor) -> Tensor:
    """Return contiguous memory of the shape and device of the uint8 `like`, not yet written.

    On a CPU numpy finds it: memory that it used before or huge pages. torch gets new small pages
    each time, and having these made costs up to five times as much as copying a clip into them.
    """
    if like.device.type != "cpu":
        return torch.empty_like(like, memory_format=torch.contiguous_format)
    return torch.from_numpy(np.empty(tuple(like.shape), np.uint8))


def whole(values: Tensor) -> Tensor:
    """Cut float values from 0 to below 256 to whole grey levels (truncated), uint8.

    On a CPU numpy converts, several times as fast as torch; the bytes are the same.

    Args:
        values: Any shape and memory layout; the result is contiguous.
    """
    if values.device.type != "cpu":
        return values.to(torch.uint8).contiguous()
    out = np.empty(values.shape, np.uint8)
    np.copyto(out, values.numpy(), casting="unsafe")
    return torch.from_numpy(out)

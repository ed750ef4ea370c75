"""From float values to whole grey levels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


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

"""The precision that losses are computed in."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """``x`` in float32, or in float64 if it is that already.

    Features arrive in bfloat16 under autocast; exponentials, logarithms and differences of near
    values are not to be taken there.
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))

"""How strongly each loss is weighted at a point, for every combiner alike."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def slopes(combiner: nn.Module, losses: Tensor) -> Tensor:
    """Derivatives dM/dl of the combined loss; may be negative for a learned combiner.

    Works inside ``torch.no_grad()`` too and leaves no gradient behind.

    Args:
        combiner: ``(losses,)`` -> scalar.
        losses: ``(losses,)``.

    Returns:
        ``(losses,)``, detached.
    """
    with torch.enable_grad():
        point = losses.detach().requires_grad_()
        return torch.autograd.grad(combiner(point), point)[0]

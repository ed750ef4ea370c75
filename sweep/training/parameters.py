"""What is trained, how fast, with which decay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from losses.combine.meta import MetaOptimizer
    from sweep.settings.train import TrainSettings


def build_optimizer(
    parameters: Mapping[str, nn.Parameter],
    combiner: nn.Module,
    meta: MetaOptimizer | None,
    settings: TrainSettings,
) -> torch.optim.AdamW:
    """AdamW; a combiner that is learned by plain descent (uncertainty) joins without decay."""
    groups = [{"params": list(parameters.values()), "weight_decay": settings.weight_decay}]
    own = [] if meta is not None else list(combiner.parameters())
    if own:
        groups.append({"params": own, "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=settings.lr)

"""Two augmented views of a clip are of the same class."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from losses.parts.precision import at_least_float32


def consistency(*, logits: Tensor, logits_b: Tensor) -> Tensor:
    """Mean over clips of KL(softmax(logits) to softmax(logits_b)), in nats.

    Args:
        logits: ``(batch, classes)`` of view A; the target, no gradient.
        logits_b: ``(batch, classes)`` of view B.
    """
    log_a = F.log_softmax(at_least_float32(logits.detach()), dim=-1)
    log_b = F.log_softmax(at_least_float32(logits_b), dim=-1)
    return (log_a.exp() * (log_a - log_b)).sum(-1).mean()

"""The primary loss: class labels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from losses.parts.precision import at_least_float32


def classification(*, logits: Tensor, labels: Tensor, label_smoothing: float = 0.05) -> Tensor:
    """Mean cross-entropy over the labelled clips, in nats; 0 if there is none.

    Args:
        logits: ``(batch, classes)``.
        labels: ``(batch,)`` int64, -1 = not labelled.
        label_smoothing: Share of the target that is spread over all classes, in [0, 1].
    """
    log_p = F.log_softmax(at_least_float32(logits), dim=-1)
    labelled = labels >= 0
    true = log_p.gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    per_clip = -(1 - label_smoothing) * true - label_smoothing * log_p.mean(-1)
    return (per_clip * labelled).sum() / labelled.sum().clamp(min=1)

"""Hidden frames are recognised among all frames of the batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from losses.parts.pairs import mean_over
from losses.parts.precision import at_least_float32


def frame_nce(
    predicted: Tensor, frames: Tensor, hidden: Tensor, present: Tensor | None = None
) -> Tensor:
    """Mean over hidden frames of -log softmax over all frames of the batch, in nats.

    Scores are plain inner products. 0 if no frame is hidden.

    Args:
        predicted: ``(batch, frames, dim)``.
        frames: ``(batch, frames, dim)``, what is to be recognised.
        hidden: ``(batch, frames)`` bool.
        present: ``(batch, frames)`` bool, False at padding, which nobody takes for an answer.
    """
    predicted, frames = at_least_float32(predicted), at_least_float32(frames)
    logits = at_least_float32(predicted.flatten(0, 1) @ frames.flatten(0, 1).T)
    if present is not None:
        inside = present.flatten()
        itself = torch.eye(len(inside), dtype=torch.bool, device=inside.device)
        logits = logits.masked_fill(~(inside & inside.unsqueeze(1)) & ~itself, float("-inf"))
    return -mean_over(F.log_softmax(logits, dim=-1).diagonal(), hidden.flatten())

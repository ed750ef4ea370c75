"""A hidden frame is recognised among all frames of the batch."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from losses.parts.precision import at_least_float32


def masked_frame(
    *,
    frames_masked: Tensor,
    frame_mask: Tensor,
    frames: Tensor,
    temperature: float = 0.1,
) -> Tensor:
    """Mean over hidden frames of the cross-entropy of finding the frame itself, in nats.

    Candidates are the frames of all clips of the batch. 0 if no frame is hidden.

    Quirk: fixed; the published loss compares raw inner products, whose scale grows with training;
    cosines over a temperature keep the loss comparable between models.

    Args:
        frames_masked: ``(batch, time, dim)`` of the view with hidden frames.
        frame_mask: ``(batch, time)`` bool, True = hidden.
        frames: ``(batch, time, dim)`` of the whole clip; the targets, no gradient.
        temperature: Positive divisor of the cosine similarities.
    """
    seen = F.normalize(at_least_float32(frames_masked).flatten(0, 1), dim=-1)
    whole = F.normalize(at_least_float32(frames.detach()).flatten(0, 1), dim=-1)
    logits = at_least_float32(seen @ whole.T) / temperature
    found = F.log_softmax(logits, dim=-1).diagonal()
    hidden = frame_mask.flatten()
    return -(found * hidden).sum() / hidden.sum().clamp(min=1)

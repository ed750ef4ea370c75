"""What a slow teacher sees in hidden frames is predicted from the visible ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

from losses.parts.frame_predictor import FramePredictor
from losses.parts.precision import at_least_float32

if TYPE_CHECKING:
    from collections.abc import Mapping


class LatentPrediction(FramePredictor):
    """A narrow predictor of the teacher's frame features."""

    def __init__(self, *, dims: Mapping[str, int], width: int = 64) -> None:
        super().__init__(dims=dims, width=width, loss="latent_prediction")

    def forward(
        self, *, frames_masked: Tensor, frame_mask: Tensor, frames_target: Tensor
    ) -> Tensor:
        """Mean absolute error over hidden frames and channels; 0 if no frame is hidden.

        Args:
            frames_masked: ``(batch, time, dim)`` of the view with hidden frames.
            frame_mask: ``(batch, time)`` bool, True = hidden.
            frames_target: ``(batch, time, dim)`` of the teacher on the whole clip, no gradient;
                normalised over channels here, so that its scale does not matter.
        """
        teacher = at_least_float32(frames_target.detach())
        target = F.layer_norm(teacher, teacher.shape[-1:])
        predicted = at_least_float32(self.predict(frames_masked, frame_mask))
        error = (predicted - target).abs().mean(-1)
        return (error * frame_mask).sum() / frame_mask.sum().clamp(min=1)

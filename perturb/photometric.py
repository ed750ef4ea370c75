"""Changes of light and colour, the same for all frames."""

from __future__ import annotations

import torch
from torch import Tensor


def brightness(clip: Tensor, *, gain: float) -> Tensor:
    """Raise the value of every pixel in HSV; hue and saturation stay (arXiv:2110.06513).

    Args:
        clip: (B, T, C, H, W) uint8.
        gain: Added to the value (largest channel); full scale = 1.
    """
    frames = clip.float()
    value = frames.amax(dim=2, keepdim=True)
    raised = (value + 255 * gain).clamp_(max=255)
    # at constant hue and saturation all channels scale with the value; black becomes grey
    scaled = torch.where(value > 0, frames * (raised / value.clamp(min=1)), raised)
    return _whole(scaled)


def contrast(clip: Tensor, *, factor: float) -> Tensor:
    """Pull every channel of every frame towards its mean (arXiv:2110.06513).

    Args:
        clip: (B, T, C, H, W) uint8.
        factor: What remains of the distance to the mean.
    """
    frames = clip.float()
    # float64 and per frame: the mean must not depend on how a batch is summed
    mean = clip.double().mean(dim=(-2, -1), keepdim=True).float()
    return _whole((frames - mean) * factor + mean)


def _whole(frames: Tensor) -> Tensor:
    # the margin keeps rounding errors from turning a grey v into v - 1
    return frames.add_(1e-3).clamp_(0, 255).to(torch.uint8)

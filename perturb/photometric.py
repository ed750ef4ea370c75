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


def saturate(clip: Tensor, *, factor: float, offset: float) -> Tensor:
    """Change the saturation of HSV to `factor * saturation + offset` (arXiv:2110.06513).

    Grey has the hue of red, as usual, and an offset shows it.

    Args:
        clip: (B, T, C, H, W) uint8.
        factor: Below 1 pales, above 1 saturates.
        offset: Added afterwards; full saturation = 1.
    """
    frames = clip.float()
    value = frames.amax(dim=2, keepdim=True)
    below = value - frames  # distance of each channel to the largest one
    spread = below.amax(dim=2, keepdim=True)
    saturation = spread / value.clamp(min=1)
    changed = (saturation * factor + offset).clamp_(0, 1)
    red = torch.tensor([0.0, 1.0, 1.0], device=clip.device).view(1, 1, 3, 1, 1)
    share = torch.where(spread > 0, below / spread.clamp(min=1), red)
    return _whole(value * (1 - changed * share))


def _whole(frames: Tensor) -> Tensor:
    # the margin keeps rounding errors from turning a grey v into v - 1
    return frames.add_(1e-3).clamp_(0, 255).to(torch.uint8)

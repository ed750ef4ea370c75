"""Changes of light and colour, the same for all frames."""

from __future__ import annotations

import torch
from torch import Tensor

from perturb.levels import whole

_MARGIN = 1e-3  # keeps rounding errors from turning a grey v into v - 1


def brightness(clip: Tensor, *, gain: float) -> Tensor:
    """Raise the value of every pixel in HSV; hue and saturation stay (arXiv:2110.06513).

    Args:
        clip: (B, T, C, H, W) uint8.
        gain: Added to the value (largest channel); full scale = 1.
    """
    value = _largest(clip).float()
    raised = (value + 255 * gain).clamp_(max=255)
    # at constant hue and saturation all channels scale with the value; black becomes grey
    ratio = raised / value.clamp(min=1)
    return whole(clip.float().mul_(ratio).add_((value == 0) * raised + _MARGIN))


def contrast(clip: Tensor, *, factor: float) -> Tensor:
    """Pull every channel of every frame towards its mean (arXiv:2110.06513).

    Args:
        clip: (B, T, C, H, W) uint8.
        factor: What remains of the distance to the mean, 0 to 1.
    """
    frames = clip.float()
    # sums of rows are whole numbers below 2^24, so that the mean does not depend on their order
    rows = frames.sum(-1).double()
    mean = rows.sum(-1) / (clip.shape[-2] * clip.shape[-1])
    pulled = (mean * (1 - factor) + _MARGIN).float()[..., None, None]
    return whole(frames.mul_(factor).add_(pulled))


def saturate(clip: Tensor, *, factor: float, offset: float) -> Tensor:
    """Change the saturation of HSV to `factor * saturation + offset` (arXiv:2110.06513).

    Grey has the hue of red, as usual, and an offset shows it.

    Args:
        clip: (B, T, C, H, W) uint8.
        factor: Below 1 pales, above 1 saturates.
        offset: Added afterwards; full saturation = 1.
    """
    largest, smallest = _largest(clip), _smallest(clip)
    value, spread = largest.float(), (largest - smallest).float()
    changed = (spread / value.clamp(min=1)).mul_(factor).add_(offset).clamp_(0, 1)
    # the distance of a channel to the largest one grows with the saturation
    growth = changed.mul_(value).div_(spread.clamp(min=1))
    frames = clip.float()
    if offset:
        # red: of a grey pixel, the other channels get the distance 1 that its spread was set to
        frames[:, :, 1:].sub_((spread == 0).float())
    return whole(torch.lerp(value, frames, growth, out=frames).add_(_MARGIN))


def _largest(clip: Tensor) -> Tensor:
    """The largest channel, (B, T, 1, H, W)."""
    red, green, blue = clip.split(1, dim=2)
    return torch.maximum(torch.maximum(red, green), blue)


def _smallest(clip: Tensor) -> Tensor:
    """The smallest channel, (B, T, 1, H, W)."""
    red, green, blue = clip.split(1, dim=2)
    return torch.minimum(torch.minimum(red, green), blue)

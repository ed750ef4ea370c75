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
        factor: What remains of the distance to the mean.
    """
    frames = clip.float()
    # float64 and per frame: the mean must not depend on how a batch is summed
    mean = clip.double().mean(dim=(-2, -1), keepdim=True).float()
    return _whole(frames.sub_(mean).mul_(factor).add_(mean))


def saturate(clip: Tensor, *, factor: float, offset: float) -> Tensor:
    """Change the saturation of HSV to `factor * saturation + offset` (arXiv:2110.06513).

    Grey has the hue of red, as usual, and an offset shows it.

    Args:
        clip: (B, T, C, H, W) uint8.
        factor: Below 1 pales, above 1 saturates.
        offset: Added afterwards; full saturation = 1.
    """
    value = _largest(clip).float()
    share = value - clip  # distance of each channel to the largest one
    spread = value - clip.amin(dim=2, keepdim=True)
    saturation = spread / value.clamp(min=1)
    changed = (saturation * factor + offset).clamp_(0, 1)
    share.div_(spread.clamp(min=1))
    share[:, :, 1:].add_(spread == 0)  # red
    return _whole(share.mul_(changed).neg_().add_(1).mul_(value))


def _largest(clip: Tensor) -> Tensor:
    """The largest channel, (B, T, 1, H, W)."""
    red, green, blue = clip.split(1, dim=2)
    return torch.maximum(torch.maximum(red, green), blue)


def _whole(frames: Tensor) -> Tensor:
    return whole(frames.add_(_MARGIN).clamp_(0, 255))

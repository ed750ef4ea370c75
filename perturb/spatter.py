"""Drops of water or mud on the lens, after arXiv:1903.12261."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from perturb.levels import frame_by_frame, fresh

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perturb.draws import Draws

_WATER, _MUD = (175.0, 238.0, 238.0), (63.0, 42.0, 20.0)
_DEEPEST = 20  # px from the edge beyond which water is of equal depth
_LIGHT = ((-2.0, -1.0, 0.0), (-1.0, 1.0, 1.0), (0.0, 1.0, 2.0))  # shining from the top left


def spatter(
    clip: Tensor,
    draws: Sequence[Draws],
    *,
    mean: float,
    std: float,
    smoothness: float,
    least: float,
    strength: float,
    is_mud: float,
) -> Tensor:
    """Splash water or mud on the lens, the same for all frames of a clip.

    The published code finds the edge of a drop with OpenCV's Canny filter; here it is the outermost
    pixels of the drop. The layers of water are alike, not equal: from the same noise (224 px, one
    draw per severity) they correlate by 0.92 to 0.95, and ours is 2 to 10 % brighter.

    Args:
        clip: (B, T, C, H, W) uint8.
        draws: One per clip.
        mean: Mean of the noise that drops are cut from; full scale = 1.
        std: Its standard deviation.
        smoothness: Sigma that smooths the noise, px.
        least: Noise below this is no drop.
        strength: Brightness of water, or sigma that smooths the edge of mud, px.
        is_mud: Whether it is mud, else water.
    """
    height, width = clip.shape[-2:]
    out = fresh(clip)
    for index, draw in enumerate(draws):
        noise = torch.empty(height, width).normal_(mean, std, generator=draw.numbers())
        liquid = _smoothed(noise, smoothness)
        liquid = liquid.masked_fill(liquid < least, 0)
        if is_mud:
            cover = _smoothed((liquid > least).float(), strength)
            cover = cover.masked_fill(cover < 0.8, 0)
        else:
            cover = _glitter(liquid) * strength
        colour = torch.tensor(_MUD if is_mud else _WATER).view(3, 1, 1)
        layer = (cover * colour).to(clip.device)
        kept = 1 - cover.to(clip.device) if is_mud else 1
        _cover(clip[index], layer + 1e-3, kept, out[index])
    return out


def _cover(frames: Tensor, layer: Tensor, kept: Tensor | int, out: Tensor) -> None:
    """Write `kept` of every pixel behind a layer."""
    frame_by_frame(out, lambda part: (frames[part] * kept + layer).clamp_(0, 255))


def _glitter(liquid: Tensor) -> Tensor:
    """Brightness of drops (H, W), at most 1: light falls on their slopes."""
    drop = (liquid.numpy().clip(0, 1) * 255).astype(np.uint8)
    depth = _box(np.minimum(_distance(_rim(drop > 0)), _DEEPEST)).astype(np.uint8)
    lit = _filtered(_equalised(depth).astype(np.float32), np.array(_LIGHT, np.float32))
    shine = drop * _box(lit.clip(0, 255))
    return torch.from_numpy(shine / max(shine.max(), 1e-6))


def _rim(inside: np.ndarray) -> np.ndarray:
    """The pixels of drops that touch what is outside."""
    padded = np.pad(inside, 1, mode="edge")
    around = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inside & ~around


def _distance(at: np.ndarray) -> np.ndarray:
    """Distance to the nearest marked pixel, px, exact up to the deepest water."""
    far = float(2 * _DEEPEST**2)
    squared = np.where(at, 0.0, far).astype(np.float32)
    for axis in (0, 1):
        nearest = squared.copy()
        for shift in range(1, min(_DEEPEST + 1, at.shape[axis])):
            one, other = [slice(None)] * 2, [slice(None)] * 2
            one[axis], other[axis] = slice(shift, None), slice(None, -shift)
            for here, there in ((tuple(one), tuple(other)), (tuple(other), tuple(one))):
                np.minimum(nearest[here], squared[there] + shift**2, out=nearest[here])
        squared = nearest
    return np.sqrt(squared)


def _equalised(grey: np.ndarray) -> np.ndarray:
    """Spread grey levels so that all are about equally frequent."""
    count = np.bincount(grey.ravel(), minlength=256)
    lowest = int(count.nonzero()[0][0])
    rest = grey.size - count[lowest]
    if rest == 0:
        return grey
    table = np.round((np.cumsum(count) - count[lowest]) * (255 / rest)).clip(0, 255)
    return table.astype(np.uint8)[grey]


def _box(grey: np.ndarray) -> np.ndarray:
    """Mean of 3 x 3 pixels, rounded."""
    return np.floor(_filtered(grey.astype(np.float32), np.full((3, 3), 1 / 9, np.float32)) + 0.5)


def _filtered(grey: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Correlate (H, W) with 3 x 3 weights; the border is reflected."""
    padded = np.pad(grey, 1, mode="reflect")
    rows, columns = grey.shape
    parts = (
        kernel[y, x] * padded[y : y + rows, x : x + columns] for y in range(3) for x in range(3)
    )
    return np.asarray(sum(parts), np.float32)


def _smoothed(plane: Tensor, sigma: float) -> Tensor:
    """Gaussian filter of (H, W), cut at four sigma, border replicated."""
    reach = int(4 * sigma + 0.5)
    taps = torch.exp(-(torch.arange(-reach, reach + 1).double() ** 2) / (2 * sigma**2))
    weights = (taps / taps.sum()).float()
    padded = F.pad(plane[None, None], (reach,) * 4, mode="replicate")
    rows = F.conv2d(padded, weights.view(1, 1, -1, 1))
    return F.conv2d(rows, weights.view(1, 1, 1, -1))[0, 0]

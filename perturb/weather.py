"""Fog and rain, after arXiv:2110.06513; fog and snow, after arXiv:1903.12261."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from perturb.blur import magnified, motion_blur_at
from perturb.levels import frame_by_frame, fresh
from perturb.opencv import cv2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perturb.draws import Draws

_DROP_GREY = 220
_LUMA = (0.299, 0.587, 0.114)
_MOST_SLANTED_DEGREES = 45.0


def fog(clip: Tensor, draws: Sequence[Draws], *, thickness: float, decay: float) -> Tensor:
    """Lay a cloud over the clip, the same for all frames, and keep the brightest value.

    Args:
        clip: (B, T, C, H, W) uint8.
        draws: One per clip.
        thickness: Brightness added where the cloud is densest; full scale = 1.
        decay: How fast the cloud's detail fades with its size; smaller is more ragged.
    """
    height, width = clip.shape[-2:]
    out = fresh(clip)
    for index, draw in enumerate(draws):
        cloud = plasma(max(height, width), decay, draw.numbers())[:height, :width]
        veiled(clip[index], cloud, thickness, out[index])
    return out


def veiled(frames: Tensor, cloud: Tensor, thickness: float, out: Tensor) -> None:
    """Write frames (T, C, H, W) uint8 behind a cloud 0..1, (H, W) or one per frame (T, 1, H, W)."""
    cloud = (255 * thickness * cloud).to(frames.device).expand(len(frames), 1, *frames.shape[-2:])

    brightest = frames.amax(dim=(-3, -2, -1), keepdim=True).float()
    share = brightest / (brightest + 255 * thickness)

    def veil(part: slice) -> Tensor:
        return frames[part].float().mul_(share[part]).add_(cloud[part] * share[part] + 1e-3)

    frame_by_frame(out, veil)


def plasma(least: int, decay: float, generator: torch.Generator) -> Tensor:
    """Return a random cloud by diamond-square on a torus, (N, N) float32 from 0 to 1.

    Args:
        least: Smallest acceptable N, which is a power of two (at least 256, as published).
        decay: Divisor of the random part from level to level.
        generator: Source of the random part.
    """
    size = max(256, 1 << (least - 1).bit_length())
    cloud = torch.zeros(size, size, dtype=torch.float64)
    step, wobble = size, 100.0

    def mean_of_four(total: Tensor) -> Tensor:
        unit = torch.rand(total.shape, generator=generator, dtype=torch.float64)
        return total / 4 + wobble * wobble * (2 * unit - 1)

    while step >= 2:
        half = step // 2
        corner = cloud[::step, ::step]
        along = corner + corner.roll(-1, 0)
        centre = mean_of_four(along + along.roll(-1, 1))
        cloud[half::step, half::step] = centre
        beside = corner + corner.roll(-1, 1) + centre + centre.roll(1, 0)
        cloud[::step, half::step] = mean_of_four(beside)
        below = corner + corner.roll(-1, 0) + centre + centre.roll(1, 1)
        cloud[half::step, ::step] = mean_of_four(below)
        step, wobble = half, wobble / decay
    cloud -= cloud.min()
    return (cloud / cloud.max()).float()


def rain(
    clip: Tensor, draws: Sequence[Draws], *, area_per_drop: float, length: float, darken: float
) -> Tensor:
    """Draw slanted streaks over a softened, darkened picture, anew in every frame.

    Args:
        clip: (B, T, C, H, W) uint8.
        draws: One per clip.
        area_per_drop: Pixels per streak.
        length: Length of a streak, px.
        darken: What remains of the distance to the mean of each channel.
    """
    height, width = clip.shape[-2:]
    count = max(1, int(height * width / area_per_drop))
    streak = max(1, int(length + 0.5))
    out = fresh(clip)
    for index, draw in enumerate(draws):
        generator = draw.numbers()
        shape = (clip.shape[1], count)
        top = torch.randint(-streak + 1, height, shape, generator=generator)
        left = torch.randint(0, width, shape, generator=generator)
        wet(clip[index], top, left, streak, darken, out[index])
    return out


def wet(frames: Tensor, top: Tensor, left: Tensor, streak: int, darken: float, out: Tensor) -> None:
    """Write frames with streaks of rain, softened and darkened.

    Args:
        frames: (T, C, H, W) uint8.
        top: (T, streaks) row where each begins; may lie outside.
        left: (T, streaks) column where each begins.
        streak: Their length, px.
        darken: What remains of the distance to the mean of each channel.
        out: Where to write, as `frames`.
    """
    height, width = frames.shape[-2:]
    steps = torch.arange(streak)
    lean = (steps * 2 > streak).long()  # one pixel to the left half-way down
    down, right = top[..., None] + steps, left[..., None] - lean
    seen = (down >= 0) & (down < height) & (right >= 0)
    drops = down.mul_(width).add_(right).to(frames.device)
    seen = seen.to(frames.device)

    def soaked(part: slice) -> Tensor:
        soft = _mean_of_nine(frames[part])
        for frame, drop, is_seen in zip(soft.flatten(-2), drops[part], seen[part], strict=True):
            frame.index_fill_(-1, drop[is_seen], _DROP_GREY)
        mean = soft.mean(dim=(-2, -1), keepdim=True, dtype=torch.float64)
        return soft.mul_(darken).add_((mean * (1 - darken) + 1e-3).float())

    frame_by_frame(out, soaked)


def _mean_of_nine(frames: Tensor) -> Tensor:
    """Mean of 3 x 3 pixels, float32; reflects the border. Sums of whole numbers are exact."""
    if frames.device.type == "cpu" and cv2 is not None:
        soft = np.empty(frames.shape, np.float32)
        planes = (x.reshape(-1, *frames.shape[-2:]) for x in (frames.numpy(), soft))
        for plane, made in zip(*planes, strict=True):
            cv2.boxFilter(plane, cv2.CV_32F, (3, 3), made, borderType=cv2.BORDER_REFLECT_101)
        return torch.from_numpy(soft)
    padded = F.pad(frames.float(), (1, 1, 1, 1), mode="reflect")
    rows = padded[..., :-2, :] + padded[..., 1:-1, :] + padded[..., 2:, :]
    return (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]).div_(9)


def snow(
    clip: Tensor,
    draws: Sequence[Draws],
    *,
    mean: float,
    std: float,
    zoom: float,
    least: float,
    radius: float,
    sigma: float,
    clear: float,
) -> Tensor:
    """Pale the picture and lay falling flakes over it, the same for all frames of a clip.

    Args:
        clip: (B, T, C, H, W) uint8.
        draws: One per clip.
        mean: Mean brightness of the noise that flakes are cut from; full scale = 1.
        std: Its standard deviation.
        zoom: Size of a flake, px.
        least: Noise below this is no flake.
        radius: Length of the trail of a flake, px.
        sigma: Decay of the trail, px.
        clear: Share of the picture that is not paled.
    """
    height, width = clip.shape[-2:]
    out = fresh(clip)
    for index, draw in enumerate(draws):
        generator = draw.numbers()
        noise = torch.empty(height, width).normal_(mean, std, generator=generator)
        layer, _ = flakes(noise, generator, zoom=zoom, least=least, radius=radius, sigma=sigma)
        snowed(clip[index], layer, clear, out[index])
    return out


def flakes(
    noise: Tensor,
    generator: torch.Generator,
    *,
    zoom: float,
    least: float,
    radius: float,
    sigma: float,
) -> tuple[Tensor, float]:
    """Flakes with trails, cut from noise (H, W): grey levels (1, H, W), and their slant in degrees.

    See :func:`snow` for the parameters.
    """
    found = magnified(noise[None, None], zoom)
    found = (found.masked_fill(found < least, 0).clamp_(0, 1) * 255).to(torch.uint8)
    slant = 2 * torch.rand(1, generator=generator, dtype=torch.float64) - 1
    slant = slant * _MOST_SLANTED_DEGREES
    # trails run up: turn the layer so that they run to the right, and back
    turned = found.flip(-2).transpose(-1, -2).contiguous()
    turned = motion_blur_at(turned, slant, radius=radius, sigma=sigma)
    fallen = turned.transpose(-1, -2).flip(-2)[0].float()
    return fallen + fallen.flip(-1, -2), slant.item()


def snowed(frames: Tensor, layer: Tensor, clear: float, out: Tensor) -> None:
    """Write paled frames (T, C, H, W) uint8 behind flakes, (1, H, W) or one layer per frame."""
    layer = (layer + 1e-3).to(frames.device).expand(len(frames), *layer.shape[-3:])

    def pale(part: slice) -> Tensor:
        values = frames[part].float()
        red, green, blue = values.unbind(1)
        grey = (red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2]).mul_(1.5).add_(127.5)
        white = torch.maximum(values, grey[:, None]).mul_(1 - clear)
        return white.add_(values, alpha=clear).add_(layer[part]).clamp_(0, 255)

    frame_by_frame(out, pale)

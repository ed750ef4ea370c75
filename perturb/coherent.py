"""Perturbations that move smoothly from frame to frame, as in the world.

Noise that is drawn anew in every frame averages out over time, and no camera jumps from frame to
frame. After the idea of arXiv:2603.10652 (weather, lighting, occlusion and camera that are coherent
in time); kinds and levels are ours, the latter mostly those of the perturbations that jump.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from perturb.camera import shift
from perturb.levels import fresh, whole
from perturb.noise import normal_numbers
from perturb.weather import flakes, plasma, snowed, veiled, wet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perturb.draws import Draws

_MARGIN = 1e-3  # keeps rounding errors from turning a grey v into v - 1
_WAVES = 3


def path(length: int, count: int, turns: float, generator: torch.Generator) -> Tensor:
    """Draw smooth courses between -1 and 1, (count, length) float64.

    Sums of three sines of random phase, the slowest of `turns` periods per clip, each of the others
    one period faster and weaker. A single frame is at a random place of its course.

    Args:
        length: Number of frames.
        count: Number of courses.
        turns: Periods of the slowest wave per clip.
        generator: Source of the phases.
    """
    phase = torch.rand(count, _WAVES, 1, generator=generator, dtype=torch.float64)
    time = torch.arange(length, dtype=torch.float64) / max(1, length - 1)
    number = torch.arange(_WAVES, dtype=torch.float64)[:, None]
    share = 1 / (number + 1)
    waves = torch.sin(2 * math.pi * (phase + (turns + number) * time)) * share
    return waves.sum(1) / share.sum()


def drifting_noise(clip: Tensor, draws: Sequence[Draws], *, std: float, speed: float) -> Tensor:
    """Add one field of normal noise that wanders over the picture, as dirt before the lens does.

    Args:
        clip: (B, T, C, H, W) uint8.
        draws: One per clip.
        std: Standard deviation; full scale = 1.
        speed: px per frame; the field comes in again on the other side.
    """
    _, length, channels, height, width = clip.shape
    out = fresh(clip)
    for index, draw in enumerate(draws):
        field = normal_numbers(draw, channels * height * width).view(channels, height, width)
        field = (field * (255 * std)).to(clip.device)
        generator = draw.numbers()
        angle = 2 * math.pi * torch.rand(1, generator=generator, dtype=torch.float64).item()
        for time in range(length):
            moved = (round(speed * time * math.sin(angle)), round(speed * time * math.cos(angle)))
            noisy = field.roll(moved, (-2, -1)) + clip[index, time]
            out[index, time] = whole(noisy.clamp_(0, 255))
    return out


def camera_drift(clip: Tensor, draws: Sequence[Draws], *, reach: float, turns: float) -> Tensor:
    """Let the camera sway: the window moves along a smooth path, black outside.

    Args:
        clip: (B, T, C, H, W) uint8.
        draws: One per clip.
        reach: Largest offset per axis, px.
        turns: Periods of the slowest sway per clip.
    """
    out = fresh(clip)
    for index, draw in enumerate(draws):
        offset = reach * path(clip.shape[1], 2, turns, draw.numbers()).T
        out[index] = shift(clip[index], offset)
    return out


def lighting_drift(clip: Tensor, draws: Sequence[Draws], *, gain: float, turns: float) -> Tensor:
    """Let the light swell and fade: all values of a frame are multiplied alike.

    Args:
        clip: (B, T, C, H, W) uint8.
        draws: One per clip.
        gain: Values are multiplied by between 1 - gain and 1 + gain.
        turns: Periods of the slowest change per clip.
    """
    out = fresh(clip)
    for index, draw in enumerate(draws):
        factor = 1 + gain * path(clip.shape[1], 1, turns, draw.numbers())[0]
        for time, value in enumerate(factor.tolist()):
            lit = clip[index, time].float().mul_(value)
            out[index, time] = whole(lit.add_(_MARGIN).clamp_(0, 255))
    return out


def moving_occlusion(clip: Tensor, draws: Sequence[Draws], *, share: float, turns: float) -> Tensor:
    """Let a black square wander over the picture.

    Args:
        clip: (B, T, C, H, W) uint8.
        draws: One per clip.
        share: Share of the picture that it hides; it never leaves the picture.
        turns: Periods of the slowest wave of its path per clip.
    """
    _, length, _, height, width = clip.shape
    side = math.sqrt(share)
    rows, columns = max(1, round(side * height)), max(1, round(side * width))
    out = fresh(clip)
    for index, draw in enumerate(draws):
        out[index] = clip[index]
        places = (path(length, 2, turns, draw.numbers()) + 1) / 2
        for time, (down, right) in enumerate(places.T.tolist()):
            top, left = round(down * (height - rows)), round(right * (width - columns))
            out[index, time, :, top : top + rows, left : left + columns] = 0
    return out


def falling_rain(
    clip: Tensor,
    draws: Sequence[Draws],
    *,
    area_per_drop: float,
    length: float,
    darken: float,
    speed: float,
) -> Tensor:
    """Draw slanted streaks that fall through the picture, over a softened, darkened one.

    Args:
        clip: (B, T, C, H, W) uint8.
        draws: One per clip.
        area_per_drop: Pixels per streak.
        length: Length of a streak, px.
        darken: What remains of the distance to the mean of each channel.
        speed: px per frame; what leaves below comes in above.
    """
    height, width = clip.shape[-2:]
    streak = max(1, int(length + 0.5))
    out = fresh(clip)
    for index, draw in enumerate(draws):
        generator = draw.numbers()
        count = max(1, int(height * width / area_per_drop))
        start = torch.randint(0, height + streak, (count,), generator=generator)
        left = torch.randint(0, width, (count,), generator=generator)
        fallen = (torch.arange(clip.shape[1])[:, None] * speed).round().long()
        top = (start + fallen) % (height + streak) - streak + 1
        wet(clip[index], top, left.expand_as(top), streak, darken, out[index])
    return out


def falling_snow(
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
    speed: float,
) -> Tensor:
    """Pale the picture and let flakes fall over it, along their trails.

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
        speed: px of fall per frame; what leaves below comes in above.
    """
    _, length, _, height, width = clip.shape
    out = fresh(clip)
    for index, draw in enumerate(draws):
        generator = draw.numbers()
        noise = torch.empty(height, width).normal_(mean, std, generator=generator)
        layer, slant = flakes(noise, generator, zoom=zoom, least=least, radius=radius, sigma=sigma)
        aside = math.tan(math.radians(slant))
        seen = []
        for time in range(length):
            way = speed * time
            seen.append(layer.roll((round(way), round(aside * way)), (-2, -1)))
        snowed(clip[index], torch.stack(seen), clear, out[index])
    return out


def drifting_fog(
    clip: Tensor, draws: Sequence[Draws], *, thickness: float, decay: float, speed: float
) -> Tensor:
    """Lay a cloud over the clip that drifts in one direction, and keep the brightest value.

    Args:
        clip: (B, T, C, H, W) uint8.
        draws: One per clip.
        thickness: Brightness added where the cloud is densest; full scale = 1.
        decay: How fast the cloud's detail fades with its size; smaller is more ragged.
        speed: px per frame; the cloud comes in again on the other side.
    """
    _, length, _, height, width = clip.shape
    out = fresh(clip)
    for index, draw in enumerate(draws):
        generator = draw.numbers()
        cloud = plasma(max(height, width), decay, generator)  # on a torus: it has no seam
        angle = 2 * math.pi * torch.rand(1, generator=generator, dtype=torch.float64).item()
        seen = []
        for time in range(length):
            moved = (round(speed * time * math.sin(angle)), round(speed * time * math.cos(angle)))
            seen.append(cloud.roll(moved, (-2, -1))[:height, :width])
        veiled(clip[index], torch.stack(seen)[:, None], thickness, out[index])
    return out

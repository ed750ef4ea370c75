"""Blur of single frames.

Results are cut to whole grey levels (truncated), as in the published code.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from perturb.bands import Band, band, weighted
from perturb.levels import fresh, whole
from perturb.lookup import looked_up
from perturb.opencv import cv2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perturb.draws import Draws

MOTION_LIMIT_DEGREES = 45.0
_MARGIN = 1e-3  # keeps rounding errors from turning a flat grey v into v - 1


# --------------------------------------------------------------------------------------- motion
def motion_blur(clip: Tensor, draws: Sequence[Draws], *, radius: float, sigma: float) -> Tensor:
    """Smear every frame along a direction within +-45 degrees, drawn per frame.

    Args:
        clip: (B, T, C, H, W) uint8.
        draws: One per clip.
        radius: Length of the trail, px; `2 ceil(radius) + 1` pixels are averaged.
        sigma: Decay of the weights, px.
    """
    angles = [motion_angles(draw, clip.shape[1]) for draw in draws]
    frames = clip.flatten(0, 1)
    out = motion_blur_at(frames, torch.cat(angles), radius=radius, sigma=sigma)
    return out.view(clip.shape)


def motion_angles(draw: Draws, count: int) -> Tensor:
    """Draw directions within +-45 degrees, (count,) float64."""
    unit = torch.rand(count, generator=draw.numbers(), dtype=torch.float64)
    return (2 * unit - 1) * MOTION_LIMIT_DEGREES


def motion_blur_at(frames: Tensor, degrees: Tensor, *, radius: float, sigma: float) -> Tensor:
    """Smear frames along given directions; replicates the border.

    The trail is one-sided (it also shifts the picture): weights exp(-i^2 / 2 sigma^2) at distance
    i from the pixel, on the nearest pixels of a line. This is what ImageMagick does, which the
    published code calls.

    Args:
        frames: (N, C, H, W) uint8.
        degrees: (N,) float64, within +-45.
        radius: Length of the trail, px.
        sigma: Decay of the weights, px.
    """
    width = 2 * math.ceil(radius) + 1
    distance = np.arange(width)
    weights = np.exp(-(distance**2) / (2 * sigma**2))
    weights /= weights.sum()
    radians = np.deg2rad(degrees.numpy())[:, None]
    right_NK = np.ceil(distance * np.cos(radians) - 0.5).astype(int)
    down_NK = np.ceil(distance * np.sin(radians) - 0.5).astype(int)
    if frames.is_cuda:
        return _trail_gathered(frames, right_NK, down_NK, weights)
    return _trail_sliced(frames, right_NK, down_NK, weights)


def _padded(frames: Tensor, right: np.ndarray, down: np.ndarray) -> tuple[Tensor, int]:
    """Frames with a border wide enough for the offsets, and the rows added on top."""
    top, bottom = max(0, -int(down.min())), max(0, int(down.max()))
    return F.pad(frames.float(), (0, int(right.max()), top, bottom), mode="replicate"), top


def _floor(total: Tensor) -> Tensor:
    return whole(total.add_(_MARGIN))


def _trail_sliced(
    frames: Tensor, right: np.ndarray, down: np.ndarray, weights: np.ndarray
) -> Tensor:
    """Per frame, add one shifted slice per distinct offset."""
    height, width = frames.shape[-2:]
    out = fresh(frames)
    for n in range(len(frames)):
        merged: dict[tuple[int, int], float] = {}
        for offset, weight in zip(
            zip(down[n].tolist(), right[n].tolist(), strict=True), weights.tolist(), strict=True
        ):
            merged[offset] = merged.get(offset, 0.0) + weight
        source, top = _padded(frames[n], right[n], down[n])
        total = torch.zeros(frames.shape[1:])
        for (dy, dx), weight in merged.items():
            rows = source[:, top + dy : top + dy + height, dx : dx + width]
            total.add_(rows, alpha=weight)
        out[n] = _floor(total)
    return out


def _trail_gathered(
    frames: Tensor, right: np.ndarray, down: np.ndarray, weights: np.ndarray
) -> Tensor:
    """All frames at once, one gather per tap: few kernels on a GPU."""
    height, width = frames.shape[-2:]
    source, top = _padded(frames, right, down)
    stride = source.shape[-1]
    flat = source.flatten(-2)
    device = frames.device
    pixel = torch.arange(height, device=device)[:, None] * stride + torch.arange(
        width, device=device
    )
    offset_NK = torch.from_numpy((down + top) * stride + right).to(device)
    total = torch.zeros(frames.shape, device=device).flatten(-2)
    for k, weight in enumerate(weights.tolist()):
        index_NHW = offset_NK[:, k, None] + pixel.flatten()
        index = index_NHW[:, None].expand(-1, frames.shape[1], -1)
        total.add_(flat.gather(-1, index), alpha=weight)
    return _floor(total).view(frames.shape)


# ----------------------------------------------------------------------------------------- zoom
def zoom_blur(clip: Tensor, *, stop: float, step: float) -> Tensor:
    """Average the frame with magnified copies of itself.

    Quirk: followed. Factor 1 is in the list, so the frame itself counts twice.
    Quirk: fixed. The released evaluation crops both axes by the height, and fails on frames that
    are not square; here each axis has its own crop, as in the script that wrote the data sets.

    Args:
        clip: (B, T, C, H, W) uint8.
        stop: Upper end of the factors (not reached, but for rounding).
        step: Distance of the factors.
    """
    # the last bits of the factors decide the size of some crops, hence arange as published
    factors = np.arange(1, stop, step).tolist()
    share = 1 / (len(factors) + 1)
    if clip.device.type == "cpu":
        terms = [_magnifying(*clip.shape[-2:], factor, share) for factor in factors[1:]]
        # a margin as small as the rounding errors
        return weighted(clip, terms, own=2 * share, margin=1e-4)
    frames = clip.flatten(0, 1).float()
    total = frames.clone()
    for factor in factors:
        total += magnified(frames, factor)
    return whole(total.mul_(share).add_(1e-4).clamp_(0, 255)).view(clip.shape)


def magnified(frames: Tensor, factor: float) -> Tensor:
    """The centre of the frames, enlarged by `factor` (bilinear, corners aligned) and trimmed."""
    height, width = frames.shape[-2:]
    rows, columns = math.ceil(height / factor), math.ceil(width / factor)
    top, left = (height - rows) // 2, (width - columns) // 2
    crop = frames[..., top : top + rows, left : left + columns]
    size = (round(rows * factor), round(columns * factor))
    if size != (rows, columns):
        crop = F.interpolate(crop, size=size, mode="bilinear", align_corners=True)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return crop[..., top : top + height, left : left + width]


@lru_cache(maxsize=128)
def _magnifying(height: int, width: int, factor: float, share: float) -> tuple[Band, Band]:
    """`share` of `magnified`, for the rows and for the columns of a frame."""
    # a pixel per channel and row shows its weights
    rows, columns = (
        magnified(torch.eye(side).view(1, side, side, 1), factor)[0, :, :, 0].T
        for side in (height, width)
    )
    return band(rows * share), band(columns)


# -------------------------------------------------------------------------------------- defocus
def defocus_blur(clip: Tensor, *, radius: float, alias_sigma: float) -> Tensor:
    """Average over a disk, as a lens out of focus does; reflects the border.

    Args:
        clip: (B, T, C, H, W) uint8.
        radius: Radius of the disk, px.
        alias_sigma: Standard deviation that smooths the edge of the disk, px.

    Raises:
        ValueError: If the frame is too small for its border to be reflected.
    """
    kernel = disk(radius, alias_sigma)
    reach = _reach(kernel)
    if min(clip.shape[-2:]) <= reach:
        raise ValueError(
            f"defocus_blur of radius {radius:g} reflects {reach} px at the border, so it needs "
            f"frames of at least {reach + 1} px; got {clip.shape[-1]} x {clip.shape[-2]}"
        )
    centre = kernel.shape[0] // 2
    kernel = kernel[centre - reach : centre + reach + 1, centre - reach : centre + reach + 1]
    out = fresh(clip)
    for index in range(len(clip)):  # one by one: the result must not depend on the batch
        out[index] = _correlate(clip[index], kernel)
    return out


@lru_cache(maxsize=32)
def disk(radius: float, alias_sigma: float) -> Tensor:
    """Return the smoothed disk kernel, (K, K) float32 of sum about 1 (17 px, wider beyond 8).

    Args:
        radius: Radius, px.
        alias_sigma: Sigma of the 3 x 3 (beyond radius 8: 5 x 5) Gaussian that smooths it, px.
    """
    half, smooth = (8, 1) if radius <= 8 else (math.ceil(radius), 2)
    axis = torch.arange(-half, half + 1, dtype=torch.float64)
    inside = (axis[:, None] ** 2 + axis[None, :] ** 2 <= radius**2).float()
    inside /= inside.sum()
    taps = torch.arange(-smooth, smooth + 1, dtype=torch.float64)
    gauss = torch.exp(-(taps**2) / (2 * alias_sigma**2))
    gauss /= gauss.sum()
    padded = F.pad(inside[None, None].double(), (smooth,) * 4, mode="reflect")
    rows = F.conv2d(padded, gauss.view(1, 1, 1, -1))
    return F.conv2d(rows, gauss.view(1, 1, -1, 1))[0, 0].float()


def _reach(kernel: Tensor) -> int:
    """Distance from the centre to the outermost tap that is not zero."""
    rows = kernel.any(dim=1).nonzero()
    return int((rows - kernel.shape[0] // 2).abs().max())


def _correlate(frames: Tensor, kernel: Tensor) -> Tensor:
    """Correlate (T, C, H, W) uint8 with a symmetric kernel, reflecting the border, by FFT."""
    height, width = frames.shape[-2:]
    size = kernel.shape[0]
    padded = F.pad(frames.float(), (size // 2,) * 4, mode="reflect")
    shape = _fast_shape(height + size - 1, width + size - 1)
    spectrum = torch.fft.rfft2(padded, s=shape)
    spectrum *= _spectrum(kernel, shape, frames.device)
    total = torch.fft.irfft2(spectrum, s=shape)
    total = total[..., size - 1 : size - 1 + height, size - 1 : size - 1 + width]
    # Exact grey levels are common (a plain disk has equal weights), and whether truncation keeps
    # them depends on the last bit of the kernel's sum: settle it as double precision would.
    tie = math.copysign(1e-4, kernel.double().sum().item() - 1)
    return whole(total.add(tie).clamp_(0, 255))


def _spectrum(kernel: Tensor, shape: tuple[int, int], device: torch.device) -> Tensor:
    # disks are symmetric, so that correlation and convolution are the same
    return torch.fft.rfft2(kernel.to(device), s=shape)


@lru_cache(maxsize=64)
def _fast_shape(height: int, width: int) -> tuple[int, int]:
    """Smallest sizes at least as large whose only prime factors are 2, 3 and 5."""

    def is_smooth(value: int) -> bool:
        for prime in (2, 3, 5):
            while value % prime == 0:
                value //= prime
        return value == 1

    def at_least(value: int) -> int:
        while not is_smooth(value):
            value += 1
        return value

    return at_least(height), at_least(width)


# ------------------------------------------------------------------------------------- gaussian
def gaussian_blur(clip: Tensor, *, sigma: float) -> Tensor:
    """Average with a Gaussian cut at four standard deviations; replicates the border.

    Args:
        clip: (B, T, C, H, W) uint8.
        sigma: Standard deviation, px.
    """
    if clip.device.type == "cpu" and cv2 is not None:
        return _gaussian_by_opencv(clip, sigma)
    height, width = clip.shape[-2:]
    weights = _gaussian_taps(sigma).tolist()
    reach = len(weights) // 2
    source = F.pad(clip.flatten(0, 1).float(), (reach,) * 4, mode="replicate")
    rows = torch.zeros((*source.shape[:2], height, source.shape[-1]), device=clip.device)
    for k, weight in enumerate(weights):
        rows.add_(source[..., k : k + height, :], alpha=weight)
    total = torch.zeros((*source.shape[:2], height, width), device=clip.device)
    for k, weight in enumerate(weights):
        total.add_(rows[..., k : k + width], alpha=weight)
    return _floor(total.clamp_(0, 255)).view(clip.shape)


def _gaussian_taps(sigma: float) -> Tensor:
    """Weights at whole distances up to four standard deviations, float64."""
    reach = int(4 * sigma + 0.5)
    distance = torch.arange(-reach, reach + 1, dtype=torch.float64)
    taps = torch.exp(-(distance**2) / (2 * sigma**2))
    return taps / taps.sum()


def _gaussian_by_opencv(clip: Tensor, sigma: float) -> Tensor:
    """The same on a CPU: rows and columns in one pass, several times as fast."""
    taps = _gaussian_taps(sigma).numpy()
    out = fresh(clip)
    planes, made = (x.reshape(-1, *clip.shape[-2:]).numpy() for x in (clip, out))
    soft = np.empty(clip.shape[-2:], np.float32)
    for plane, cut in zip(planes, made, strict=True):
        cv2.sepFilter2D(
            plane, cv2.CV_32F, taps, taps, soft, delta=_MARGIN, borderType=cv2.BORDER_REPLICATE
        )
        np.copyto(cut, soft, casting="unsafe")
    return out


# ---------------------------------------------------------------------------------------- glass
def glass_blur(
    clip: Tensor, draws: Sequence[Draws], *, sigma: float, reach: float, rounds: float
) -> Tensor:
    """Look through frosted glass: blur, move single pixels to near places, blur again.

    The glass is the same for all frames of a clip. arXiv:1903.12261.
    Quirk: followed. The published code means to exchange two pixels, but the first is overwritten
    before the second reads it: a pixel is copied, and its own value is lost.

    Args:
        clip: (B, T, C, H, W) uint8.
        draws: One per clip.
        sigma: Standard deviation of both blurs, px.
        reach: Pixels come from -reach to reach - 1 away, per axis.
        rounds: How often every pixel is replaced.
    """
    height, width = clip.shape[-2:]
    distance = max(1, round(reach))
    soft = gaussian_blur(clip, sigma=sigma)
    for index, draw in enumerate(draws):
        source = _glass(height, width, distance, int(rounds), draw).int().to(clip.device)
        soft[index] = looked_up(soft[index], [source])
    return gaussian_blur(soft, sigma=sigma)


def _glass(height: int, width: int, reach: int, rounds: int, draw: Draws) -> Tensor:
    """Where every pixel comes from, (H * W,) flat indices."""
    rows = np.arange(height - reach, reach, -1)
    columns = np.arange(width - reach, reach, -1)
    place = (rows[:, None] * width + columns).ravel()
    shape = (max(1, rounds), 2, place.size)
    moves = torch.randint(-reach, reach, shape, generator=draw.numbers()).numpy()
    source = list(range(height * width))
    for right, down in moves:
        # one after the other: what is copied may have been copied before
        for here, there in zip(
            place.tolist(), (place + down * width + right).tolist(), strict=True
        ):
            source[here] = source[there]
    return torch.tensor(source)


# ----------------------------------------------------------------------------------------- time
def temporal_blur(clip: Tensor, *, window: float) -> Tensor:
    """Average frames over time, as a long exposure does (arXiv:2110.06513, "motion blur").

    Quirk: fixed. The published clip loses its first and last frames; here the average is over the
    frames that exist, so that the length is kept.

    Args:
        clip: (B, T, C, H, W) uint8.
        window: Frames averaged; half of them before the current one, which opens the other half.
    """
    length, half = clip.shape[1], max(1, int(window) // 2)
    if clip.device.type == "cpu":
        return torch.from_numpy(_exposed(clip.numpy(), half))
    # sums of whole numbers: the same on every device
    total = F.pad(clip.to(torch.int32).cumsum(1, dtype=torch.int32), (0, 0) * 3 + (1, 0))
    time = torch.arange(length, device=clip.device)
    first, end = (time - half).clamp(min=0), (time + half).clamp(max=length)
    count = (end - first).view(1, -1, 1, 1, 1)
    return ((total[:, end] - total[:, first]) // count).to(torch.uint8)


def _exposed(clips: np.ndarray, half: int) -> np.ndarray:
    """The same on a CPU, by sums that slide along the clip."""
    out = np.empty(clips.shape, np.uint8)
    sums = np.uint16 if 2 * half * 255 < 2**16 else np.uint32
    for clip, made in zip(clips, out, strict=True):
        length = len(clip)
        total = clip[:half].sum(axis=0, dtype=sums)
        mean = np.empty_like(total)
        for time in range(length):
            first, end = max(0, time - half), min(length, time + half)
            if time and end == time + half:
                total += clip[end - 1]
            if time > half:
                total -= clip[first - 1]
            np.floor_divide(total, sums(end - first), out=mean)
            np.copyto(made[time], mean, casting="unsafe")
    return out

"""Rotation and translation of the camera, black outside the frame, and elastic lenses."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from perturb.levels import black, fresh, whole
from perturb.lookup import looked_up
from perturb.opencv import cv2
from perturb.planes import interleaved, separate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perturb.draws import Draws

_FIXED_POINT = 65536
_MARGIN = 1e-3  # keeps rounding errors from turning a flat grey v into v - 1


# ------------------------------------------------------------------------------------- rotation
def static_rotation(clip: Tensor, *, degrees: float) -> Tensor:
    """Rotate all frames alike, counter-clockwise about the centre; the frame size stays.

    Quirk: followed. A quarter turn of a frame that is not square cuts it and leaves black bars.

    Args:
        clip: (B, T, C, H, W) uint8.
        degrees: Angle.
    """
    frames = clip.flatten(0, 1)
    return rotate(frames, torch.full((1,), degrees, dtype=torch.float64)).view(clip.shape)


def random_rotation(clip: Tensor, draws: Sequence[Draws], *, limit: float) -> Tensor:
    """Rotate every frame by its own whole angle, drawn uniformly.

    Args:
        clip: (B, T, C, H, W) uint8.
        draws: One per clip.
        limit: Largest angle, degrees (inclusive).
    """
    degrees = torch.cat([angles(draw, clip.shape[1], limit) for draw in draws])
    return rotate(clip.flatten(0, 1), degrees).view(clip.shape)


def angles(draw: Draws, count: int, limit: float) -> Tensor:
    """Draw whole angles in [-limit, limit], (count,) float64, degrees."""
    bound = int(limit)
    drawn = torch.randint(-bound, bound + 1, (count,), generator=draw.numbers())
    return drawn.double()


def rotate(frames: Tensor, degrees: Tensor) -> Tensor:
    """Rotate frames counter-clockwise about their centre by nearest neighbour.

    Integer arithmetic with 16 fractional bits, the same as Pillow's: equal bit by bit.

    Args:
        frames: (N, C, H, W) uint8.
        degrees: (N,) float64, or (1,) for one angle for all.
    """
    height, width = frames.shape[-2:]
    maps = [_rotation_map(angle, height, width, frames.device) for angle in degrees.tolist()]
    return looked_up(frames, maps)


@lru_cache(maxsize=64)  # whole angles recur: there are at most 63 of them
def _rotation_map(degrees: float, height: int, width: int, device: torch.device) -> Tensor:
    """Where every output pixel is read: flat index (H * W,) int32, H * W where that is outside."""
    x0, xx, xy, y0, yx, yy = _affine(degrees, height, width)
    X = torch.arange(width, device=device)
    Y = torch.arange(height, device=device)[:, None]
    column = (x0 + X * xx + Y * xy) >> 16
    row = (y0 + X * yx + Y * yy) >> 16
    outside = (column < 0) | (column >= width) | (row < 0) | (row >= height)
    return (row * width + column).masked_fill_(outside, height * width).flatten().int()


def _affine(degrees: float, height: int, width: int) -> tuple[int, ...]:
    """Fixed-point coefficients of the map from output to source, rounded as Pillow does."""
    radians = -math.radians(degrees % 360.0)
    cos, sin = round(math.cos(radians), 15), round(math.sin(radians), 15)
    cx, cy = width / 2, height / 2
    x0 = cx - (cos * cx + sin * cy) + 0.5 * cos + 0.5 * sin
    y0 = cy - (-sin * cx + cos * cy) - 0.5 * sin + 0.5 * cos
    values = (x0, cos, sin, y0, -sin, cos)
    return tuple(math.floor(value * _FIXED_POINT + 0.5) for value in values)


# ---------------------------------------------------------------------------------- translation
def translation(
    clip: Tensor,
    draws: Sequence[Draws],
    *,
    low: float,
    high: float,
    is_whole: float,
    per_clip: bool = False,
) -> Tensor:
    """Move the window of every frame by its own offset, drawn uniformly per axis.

    The published perturbation moves a 224 px crop inside a frame of 256 px. Applied to the whole
    frame, before the centre crop, this gives the same picture; applied to a frame that is cropped
    already, what lies outside is black.

    Args:
        clip: (B, T, C, H, W) uint8.
        draws: One per clip.
        low: Smallest offset of the window, px; positive is down and right.
        high: Largest offset, px (inclusive).
        is_whole: Whether offsets are whole pixels; otherwise frames are interpolated.
        per_clip: One offset for all frames of a clip, as the released evaluation does; the
            default, one per frame, is what wrote the published data sets.
    """
    count = 1 if per_clip else clip.shape[1]
    drawn = [offsets(draw, count, low, high, is_whole=bool(is_whole)) for draw in draws]
    offset_N2 = torch.cat([one.expand(clip.shape[1], 2) for one in drawn])
    frames = clip.flatten(0, 1)
    return shift(frames, offset_N2).view(clip.shape)


def offsets(draw: Draws, count: int, low: float, high: float, *, is_whole: bool) -> Tensor:
    """Draw offsets of the window (down, right), (count, 2) float64, px."""
    generator = draw.numbers()
    if is_whole:
        # scaled ladders may have fractional ends
        first, last = math.ceil(low), math.floor(high)
        return torch.randint(first, last + 1, (count, 2), generator=generator).double()
    return low + (high - low) * torch.rand(count, 2, generator=generator, dtype=torch.float64)


def window(frame: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    """Cut a window out of (..., H, W); what lies outside the frame is 0."""
    out = frame.new_zeros((*frame.shape[:-2], height, width))
    _cut(frame, top, left, out)
    return out


def _cut(frame: Any, top: int, left: int, out: Any) -> None:
    """Write the window of the size of `out`, which is black already."""
    rows, columns = frame.shape[-2:]
    height, width = out.shape[-2:]
    y0, y1 = max(0, top), min(rows, top + height)
    x0, x1 = max(0, left), min(columns, left + width)
    if y0 < y1 and x0 < x1:
        out[..., y0 - top : y1 - top, x0 - left : x1 - left] = frame[..., y0:y1, x0:x1]


def shift(frames: Tensor, offset: Tensor) -> Tensor:
    """Move the window of every frame; bilinear between pixels, black outside, truncated.

    Args:
        frames: (N, C, H, W) uint8.
        offset: (N, 2) float64 on the CPU, (down, right), px.
    """
    height, width = frames.shape[-2:]
    out = black(frames)
    # numpy cuts a window in a fifth of torch's time
    source, made = (x if x.is_cuda else x.numpy() for x in (frames, out))
    for n, (down, right) in enumerate(offset.tolist()):
        top, left = math.floor(down), math.floor(right)
        below, beside = down - top, right - left
        if not below and not beside:
            _cut(source[n], top, left, made[n])
            continue
        near = window(frames[n], top, left, height + 1, width + 1).float()
        rows = torch.lerp(near[:, :-1], near[:, 1:], below)
        out[n] = whole(torch.lerp(rows[..., :-1], rows[..., 1:], beside).add_(_MARGIN))
    return out


# -------------------------------------------------------------------------------------- elastic
def elastic(
    clip: Tensor, draws: Sequence[Draws], *, strength: float, smoothness: float, tilt: float
) -> Tensor:
    """Bend the picture: a random affine map, then a smooth random field of shifts.

    The lens is the same for all frames of a clip. arXiv:1903.12261. The border is mirrored.

    Args:
        clip: (B, T, C, H, W) uint8.
        draws: One per clip.
        strength: Factor of the smoothed field, px.
        smoothness: Standard deviation that smooths the field, px.
        tilt: Largest shift of the three points that fix the affine map, px per axis.
    """
    height, width = clip.shape[-2:]
    Y, X = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    out = fresh(clip)
    for index, draw in enumerate(draws):
        tilted, right, down = bent(
            height, width, draw.numbers(), strength=strength, smoothness=smoothness, tilt=tilt
        )
        out[index] = _resampled(clip[index], (tilted[0], tilted[1]), (X + right, Y + down))
    return out


def bent(
    height: int,
    width: int,
    generator: torch.Generator,
    *,
    strength: float,
    smoothness: float,
    tilt: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw where the pixels of :func:`elastic` come from, float64.

    Returns:
        Source column and row under the affine map (2, H, W), and the shifts to the right and down
        (H, W) that come after it.
    """
    tilted = _tilted(height, width, tilt, generator)
    noise = 2 * torch.rand(2, height, width, generator=generator, dtype=torch.float64) - 1
    rows, columns = (_smoothing(side, smoothness) for side in (height, width))
    right, down = (rows @ noise @ columns.T) * strength
    return tilted, right, down


def _tilted(height: int, width: int, tilt: float, generator: torch.Generator) -> Tensor:
    """Source column and row of every pixel under the affine map, (2, H, W) float64."""
    cy, cx, side = height // 2, width // 2, min(height, width) // 3
    corner = [[cx + side, cy + side], [cx + side, cy - side], [cx - side, cy - side]]
    before = torch.tensor(corner, dtype=torch.float64)
    shift_32 = 2 * torch.rand(3, 2, generator=generator, dtype=torch.float64) - 1
    after = before + tilt * shift_32
    ones = torch.ones(3, 1, dtype=torch.float64)
    # from a place in the result to the place in the source
    back = torch.linalg.solve(torch.cat([after, ones], 1), before)
    Y = torch.arange(height, dtype=torch.float64)[:, None]
    X = torch.arange(width, dtype=torch.float64)
    return torch.stack([X * back[0, i] + Y * back[1, i] + back[2, i] for i in range(2)])


@lru_cache(maxsize=16)
def _smoothing(side: int, sigma: float) -> Tensor:
    """Gaussian filter as a matrix (side, side) float64, cut at three sigma, border mirrored."""
    reach = int(3 * sigma + 0.5)
    taps = torch.exp(-(torch.arange(-reach, reach + 1).double() ** 2) / (2 * max(sigma, 1e-9) ** 2))
    place = (torch.arange(side)[:, None] + torch.arange(-reach, reach + 1)) % (2 * side)
    folded = torch.where(place < side, place, 2 * side - 1 - place)
    matrix = torch.zeros(side, side, dtype=torch.float64)
    return matrix.scatter_add_(1, folded, (taps / taps.sum()).expand(side, -1))


def _resampled(frames: Tensor, *places: tuple[Tensor, Tensor]) -> Tensor:
    """Frames (T, C, H, W) uint8 seen through lenses, one after the other.

    Args:
        frames: The frames.
        places: Where each lens takes its pixels from, the same for all frames: column and row
            (H, W) each; bilinear, the border is mirrored.
    """
    if frames.device.type == "cpu" and cv2 is not None:
        return _resampled_by_opencv(frames, *places)
    height, width = frames.shape[-2:]
    seen = frames.flatten(0, 1)[None].float()
    for place in places:
        scaled = [
            2 * at / max(1, side - 1) - 1 for at, side in zip(place, (width, height), strict=True)
        ]
        grid = torch.stack(scaled, -1).float().to(frames.device)
        seen = F.grid_sample(
            seen, grid[None], mode="bilinear", padding_mode="reflection", align_corners=True
        )
    return whole(seen.add_(_MARGIN)).view(frames.shape)


def _resampled_by_opencv(frames: Tensor, *places: tuple[Tensor, Tensor]) -> Tensor:
    """The same on a CPU, all colours of a pixel at once."""
    maps = [[at.float().numpy() for at in place] for place in places]
    border = cv2.BORDER_REFLECT_101
    out = fresh(frames)
    for frame, made in zip(frames.numpy(), out.numpy(), strict=True):
        seen: np.ndarray = interleaved(frame).astype(np.float32)
        for column, row in maps:
            seen = cv2.remap(seen, column, row, cv2.INTER_LINEAR, borderMode=border)
        seen += np.float32(_MARGIN)
        separate(seen.astype(np.uint8), made)
    return out

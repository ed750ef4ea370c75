"""Noise per value (pixel and channel), independent from frame to frame.

All follow `uint8(clip(y, 0, 1) * 255)` with truncation. Quirk: followed; truncation darkens the
result by half a grey level on average, and the published numbers contain it.

Everything is computed on the scale 0 to 255 in float32, one clip at a time, so that the result
does not depend on the batch. On a CPU a clip is worked through in parts that stay in the cache, in
memory that is used again; its numbers are the same as if drawn at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from perturb.draws import Draws

_GUIDE_CELLS = 4096
_VALUES_IN_CACHE = 65536  # a multiple of 16: torch draws normal numbers in groups of 16
_DRAW_BITS = 24  # torch.rand draws multiples of 2^-24


def _per_clip(
    clip: Tensor, draws: Sequence[Draws], corrupt: Callable[[Tensor, torch.Generator], Tensor]
) -> Tensor:
    """Apply `corrupt` to each clip (T, C, H, W) with the clip's own generator."""
    out = torch.empty_like(clip)
    for index, draw in enumerate(draws):
        out[index] = corrupt(clip[index], draw.numbers(clip.device))
    return out


def gaussian_noise(clip: Tensor, draws: Sequence[Draws], *, std: float) -> Tensor:
    """Add normal noise.

    Args:
        clip: (B, T, C, H, W) uint8.
        draws: One per clip.
        std: Standard deviation; full scale = 1.
    """
    return _with_normal(clip, draws, 0.0, 255 * std, Tensor.add_)


def speckle_noise(clip: Tensor, draws: Sequence[Draws], *, std: float) -> Tensor:
    """Multiply by 1 + normal noise.

    Args:
        clip: (B, T, C, H, W) uint8.
        draws: One per clip.
        std: Standard deviation of the factor.
    """
    return _with_normal(clip, draws, 1.0, std, Tensor.mul_)


def _with_normal(
    clip: Tensor,
    draws: Sequence[Draws],
    mean: float,
    std: float,
    combine: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Combine normal numbers in place with the values, and cut to grey levels."""
    if clip.device.type != "cpu":

        def corrupt(frames: Tensor, generator: torch.Generator) -> Tensor:
            noise = torch.empty(frames.shape, device=frames.device)
            noise.normal_(mean, std, generator=generator)
            return combine(noise, frames).clamp_(0, 255).to(torch.uint8)

        return _per_clip(clip, draws, corrupt)
    out = torch.empty_like(clip, memory_format=torch.contiguous_format)
    buffer = torch.empty(_VALUES_IN_CACHE + 15)
    for index, draw in enumerate(draws):
        generator = draw.numbers()
        values, made = clip[index].flatten(), out[index].view(-1).numpy()
        for part in _parts(len(values)):
            noise = buffer[: part.stop - part.start]
            noise.normal_(mean, std, generator=generator)
            combine(noise, values[part]).clamp_(0, 255)
            np.copyto(made[part], noise.numpy(), casting="unsafe")
    return out


def _parts(count: int) -> list[slice]:
    """Cut `count` values into parts for the cache; no part but a lone one is below 16 values.

    An incomplete last group of normal numbers is drawn anew with the values before it, so the last
    part has to hold those.
    """
    starts = list(range(0, max(1, count - 15), _VALUES_IN_CACHE))
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], count], strict=True)]


def shot_noise(clip: Tensor, draws: Sequence[Draws], *, photons: float) -> Tensor:
    """Count photons: Poisson with mean `photons` at full scale, scaled back.

    Args:
        clip: (B, T, C, H, W) uint8.
        draws: One per clip.
        photons: Mean count of a value of 255.
    """
    table = _photon_table(photons)
    cdf, guide, grey = (part.to(clip.device) for part in table)
    counts = len(grey)

    def corrupt(frames: Tensor, generator: torch.Generator) -> Tensor:
        chance = torch.rand(frames.shape, generator=generator, device=frames.device).flatten()
        value = frames.flatten().int()
        cell = value * _GUIDE_CELLS + (chance * _GUIDE_CELLS).int()
        noisy = guide.index_select(0, cell)
        open_ = (noisy < 0).nonzero().flatten()  # cells that a boundary between counts cuts
        level = value[open_]
        position = torch.searchsorted(cdf, chance[open_].double() + level, right=True)
        noisy[open_] = grey[position - level * counts]
        return noisy.to(torch.uint8).view(frames.shape)

    return _per_clip(clip, draws, corrupt)


@lru_cache(maxsize=16)
def _photon_table(photons: float) -> tuple[Tensor, Tensor, Tensor]:
    """Tables that turn one uniform number into a Poisson count, exactly.

    The inverse of the distribution function is looked up in a guide of equal cells; a cell that
    holds two counts is marked by -1 and settled by a search. About three times as fast as drawing
    counts one by one.

    Returns:
        The distribution functions of the 256 grey levels one after the other, level v raised by
        v so that all are one sorted array; the guide (256 * cells,) int16 of grey levels; the grey
        level of every count, truncated in double precision.
    """
    saturated = math.ceil(photons)  # this count and all above are white
    count = torch.arange(saturated + 1, dtype=torch.float64)
    grey = ((count / photons).clamp(0, 1) * 255).to(torch.uint8).to(torch.int16)
    mean = torch.arange(256, dtype=torch.float64)[:, None] * (photons / 255)
    log_mass = torch.xlogy(count, mean) - mean - torch.lgamma(count + 1)
    cdf = log_mass.exp().cumsum(dim=1).clamp_(max=1.0)
    cdf[:, -1] = 1.0
    edges = torch.arange(_GUIDE_CELLS + 1, dtype=torch.float64).expand(256, -1) / _GUIDE_CELLS
    first = torch.searchsorted(cdf, edges[:, :-1].contiguous(), right=True)
    last = torch.searchsorted(cdf, edges[:, 1:].contiguous(), right=False)
    guide = torch.where(first == last, grey[first], -1)
    level = torch.arange(256, dtype=torch.float64)[:, None]
    return (cdf + level).flatten(), guide.flatten().to(torch.int16), grey


def impulse_noise(clip: Tensor, draws: Sequence[Draws], *, share: float) -> Tensor:
    """Replace values by 0 or 255, half each; the others pass through unchanged.

    Args:
        clip: (B, T, C, H, W) uint8.
        draws: One per clip.
        share: Probability of being replaced.
    """
    return _replaced(clip, draws, white=share / 2, any_of_both=share)


def salt_noise(clip: Tensor, draws: Sequence[Draws], *, share: float) -> Tensor:
    """Set values to 255.

    Args:
        clip: (B, T, C, H, W) uint8.
        draws: One per clip.
        share: Probability of being replaced.
    """
    return _replaced(clip, draws, white=share, any_of_both=share)


def pepper_noise(clip: Tensor, draws: Sequence[Draws], *, share: float) -> Tensor:
    """Set values to 0.

    Args:
        clip: (B, T, C, H, W) uint8.
        draws: One per clip.
        share: Probability of being replaced.
    """
    return _replaced(clip, draws, white=0.0, any_of_both=share)


def _replaced(clip: Tensor, draws: Sequence[Draws], *, white: float, any_of_both: float) -> Tensor:
    """Set values to 255 with probability `white`, to 0 up to a probability `any_of_both`."""
    if clip.device.type != "cpu":

        def corrupt(frames: Tensor, generator: torch.Generator) -> Tensor:
            chance = torch.rand(frames.shape, generator=generator, device=frames.device)
            return (frames * (chance >= any_of_both)).masked_fill_(chance < white, 255)

        return _per_clip(clip, draws, corrupt)
    # torch.rand would divide by 2^24, and compare in single precision
    below_white, below_both = (
        math.ceil(float(np.float32(share)) * 2**_DRAW_BITS) for share in (white, any_of_both)
    )
    out = torch.empty_like(clip, memory_format=torch.contiguous_format)
    numbers = torch.empty(_VALUES_IN_CACHE + 15, dtype=torch.int32)
    flags = np.empty(len(numbers), bool)
    for index, draw in enumerate(draws):
        generator = draw.numbers()
        values, made = clip[index].flatten().numpy(), out[index].view(-1).numpy()
        for part in _parts(len(values)):
            flag = flags[: part.stop - part.start]
            number = numbers[: len(flag)].random_(generator=generator).numpy()
            np.bitwise_and(number, 2**_DRAW_BITS - 1, out=number)
            np.greater_equal(number, below_both, out=flag)
            np.multiply(values[part], flag.view(np.uint8), out=made[part])
            if below_white:
                np.less(number, below_white, out=flag)
                all_bits = np.negative(flag.view(np.uint8), out=flag.view(np.uint8))
                np.bitwise_or(made[part], all_bits, out=made[part])
    return out

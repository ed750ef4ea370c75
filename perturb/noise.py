"""Noise per value (pixel and channel), independent from frame to frame.

All follow `uint8(clip(y, 0, 1) * 255)` with truncation. Quirk: followed; truncation darkens the
result by half a grey level on average, and the published numbers contain it.

Everything is computed on the scale 0 to 255 in float32, one clip at a time, so that the result
does not depend on the batch. On a CPU a clip is worked through in parts that stay in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from perturb.levels import fresh

if TYPE_CHECKING:
    from perturb.draws import Draws

_GUIDE_BITS = 12
_GUIDE_CELLS = 1 << _GUIDE_BITS
_WORD_BITS = 32
_VALUES_IN_CACHE = 131072


def _per_clip(
    clip: Tensor, draws: Sequence[Draws], corrupt: Callable[[Tensor, torch.Generator], Tensor]
) -> Tensor:
    """Apply `corrupt` to each clip (T, C, H, W) with the clip's own generator."""
    out = fresh(clip)
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
    return _with_normal(clip, draws, 255 * std, lambda values, noise: noise.add_(values))


def speckle_noise(clip: Tensor, draws: Sequence[Draws], *, std: float) -> Tensor:
    """Multiply by 1 + normal noise.

    Args:
        clip: (B, T, C, H, W) uint8.
        draws: One per clip.
        std: Standard deviation of the factor.
    """

    def multiply(values: Tensor, noise: Tensor) -> Tensor:
        values = values.float()
        return torch.addcmul(values, values, noise, out=noise)

    return _with_normal(clip, draws, std, multiply)


def _with_normal(
    clip: Tensor,
    draws: Sequence[Draws],
    std: float,
    combine: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Combine uint8 values with normal numbers, in the memory of these, and cut to grey levels."""
    if clip.device.type != "cpu":

        def corrupt(frames: Tensor, generator: torch.Generator) -> Tensor:
            noise = torch.empty(frames.shape, device=frames.device)
            noise.normal_(0, std, generator=generator)
            return combine(frames, noise).clamp_(0, 255).to(torch.uint8)

        return _per_clip(clip, draws, corrupt)

    def corrupt_part(words: np.ndarray, values: np.ndarray, made: np.ndarray) -> None:
        noise = combine(torch.from_numpy(values), _normal(words, std)[: len(values)])
        np.copyto(made, noise.clamp_(0, 255).numpy(), casting="unsafe")

    return _by_parts(clip, draws, corrupt_part)


def _normal(words: np.ndarray, std: float) -> Tensor:
    """Turn 2n random words of 32 bits into 2n normal numbers (Box & Muller, 1958), in place.

    One word of each pair gives the radius, at most 5.6 standard deviations, the other the angle.
    """
    # 23 bits behind the exponent of 1.0 make a float32 in [1, 2)
    np.right_shift(words, 9, out=words)
    np.bitwise_or(words, np.float32(1).view(np.uint32), out=words)
    normal = torch.from_numpy(words.view(np.float32))
    radius, angle = normal.chunk(2)
    radius.neg_().add_(2).log_().mul_(-2 * std * std).sqrt_()
    angle.mul_(2 * math.pi)
    cosine = angle.cos()
    angle.sin_().mul_(radius)
    radius.mul_(cosine)
    return normal


def normal_numbers(draw: Draws, count: int) -> Tensor:
    """Return the standard normal numbers that the noise of a clip is made of on a CPU.

    Args:
        draw: The random numbers of the clip.
        count: How many, in the order of the values (T, C, H, W).
    """
    drawn = [_normal(words, 1.0)[: part.stop - part.start] for part, words in _parts(draw, count)]
    return torch.cat(drawn)


def _parts(draw: Draws, count: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Cut `count` values into parts for the cache, with a random word of 32 bits per value.

    There is one word more where their number is odd. SFC64 takes half the time of torch's
    generator.
    """
    generator = np.random.SFC64(draw.key)
    for start in range(0, count, _VALUES_IN_CACHE):
        part = slice(start, min(start + _VALUES_IN_CACHE, count))
        pairs = (part.stop - part.start + 1) // 2
        yield part, generator.random_raw(pairs).view(np.uint32)


def _by_parts(
    clip: Tensor,
    draws: Sequence[Draws],
    corrupt: Callable[[np.ndarray, np.ndarray, np.ndarray], None],
) -> Tensor:
    """Call `corrupt(words, values, made)` for the parts of every clip; it writes to `made`."""
    out = fresh(clip)
    for index, draw in enumerate(draws):
        values, made = clip[index].flatten().numpy(), out[index].view(-1).numpy()
        for part, words in _parts(draw, len(values)):
            corrupt(words, values[part], made[part])
    return out


def shot_noise(clip: Tensor, draws: Sequence[Draws], *, photons: float) -> Tensor:
    """Count photons: Poisson with mean `photons` at full scale, scaled back.

    Args:
        clip: (B, T, C, H, W) uint8.
        draws: One per clip.
        photons: Mean count of a value of 255.
    """
    cdf, guide, grey = (part.to(clip.device) for part in _photon_table(photons))
    counts = len(grey)

    def counted(value: Tensor, cell: Tensor, chance: Callable[[Tensor], Tensor]) -> Tensor:
        """Grey levels for int32 values, their guide cells and the numbers that chose these."""
        noisy = guide.index_select(0, value * _GUIDE_CELLS + cell)
        open_ = (noisy < 0).nonzero().flatten()  # cells that a boundary between counts cuts
        level = value[open_]
        position = torch.searchsorted(cdf, chance(open_).double() + level, right=True)
        noisy[open_] = grey[position - level * counts]
        return noisy

    if clip.device.type != "cpu":

        def corrupt(frames: Tensor, generator: torch.Generator) -> Tensor:
            chance = torch.rand(frames.shape, generator=generator, device=frames.device).flatten()
            cell = (chance * _GUIDE_CELLS).int()
            noisy = counted(frames.flatten().int(), cell, lambda open_: chance[open_])
            return noisy.to(torch.uint8).view(frames.shape)

        return _per_clip(clip, draws, corrupt)

    def corrupt_part(words: np.ndarray, values: np.ndarray, made: np.ndarray) -> None:
        drawn = words[: len(values)]
        cell = torch.from_numpy((drawn >> (_WORD_BITS - _GUIDE_BITS)).view(np.int32))
        noisy = counted(
            torch.from_numpy(values).int(),
            cell,
            lambda open_: torch.from_numpy(drawn[open_.numpy()] * 2.0**-_WORD_BITS),
        )
        np.copyto(made, noisy.numpy(), casting="unsafe")

    return _by_parts(clip, draws, corrupt_part)


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
    below_white, below_both = (
        np.uint32(round(share * (2**_WORD_BITS - 1))) for share in (white, any_of_both)
    )
    flags = np.empty(_VALUES_IN_CACHE, bool)

    def corrupt_part(words: np.ndarray, values: np.ndarray, made: np.ndarray) -> None:
        flag, drawn = flags[: len(values)], words[: len(values)]
        np.greater_equal(drawn, below_both, out=flag)
        np.multiply(values, flag.view(np.uint8), out=made)
        if below_white:
            np.less(drawn, below_white, out=flag)
            all_bits = np.negative(flag.view(np.uint8), out=flag.view(np.uint8))
            np.bitwise_or(made, all_bits, out=made)

    return _by_parts(clip, draws, corrupt_part)

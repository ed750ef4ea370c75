"""Noise per value (pixel and channel), independent from frame to frame.

All follow `uint8(clip(y, 0, 1) * 255)` with truncation. Quirk: followed; truncation darkens the
result by half a grey level on average, and the published numbers contain it.

Everything is computed on the scale 0 to 255 in float32, one clip at a time, so that the result
does not depend on the batch. On a CPU a clip is worked through in parts that stay in the cache.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from perturb.levels import fresh

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from perturb.draws import Draws

_GUIDE_BITS = 12
_GUIDE_CELLS = 1 << _GUIDE_BITS
_WORD_BITS = 32
_BYTES_PER_WORD = 4
_BYTES_PER_NORMAL = 3  # six for two
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
    return _with_normal(clip, draws, 255 * std, torch.add)


def speckle_noise(clip: Tensor, draws: Sequence[Draws], *, std: float) -> Tensor:
    """Multiply by 1 + normal noise.

    Args:
        clip: (B, T, C, H, W) uint8.
        draws: One per clip.
        std: Standard deviation of the factor.
    """

    def multiply(values: Tensor, noise: Tensor, *, out: Tensor) -> Tensor:
        return torch.addcmul(values, values, noise, out=out)

    return _with_normal(clip, draws, std, multiply)


def _with_normal(
    clip: Tensor, draws: Sequence[Draws], std: float, combine: Callable[..., Tensor]
) -> Tensor:
    """Combine values with normal numbers, in the memory of these, and cut to grey levels."""
    if clip.device.type != "cpu":

        def corrupt(frames: Tensor, generator: torch.Generator) -> Tensor:
            noise = torch.empty(frames.shape, device=frames.device)
            noise.normal_(0, std, generator=generator)
            return combine(frames.float(), noise, out=noise).clamp_(0, 255).to(torch.uint8)

        return _per_clip(clip, draws, corrupt)

    def corrupt_part(drawn: np.ndarray, values: np.ndarray, made: np.ndarray) -> None:
        noise = torch.from_numpy(_normal(drawn, std)[: len(values)])
        combine(torch.from_numpy(values).float(), noise, out=noise)
        np.copyto(made, noise.clamp_(0, 255).numpy(), casting="unsafe")

    return _by_parts(clip, draws, _BYTES_PER_NORMAL, corrupt_part)


def _normal(drawn: np.ndarray, std: float) -> np.ndarray:
    """Turn 6n random bytes into 2n normal numbers, float32 (Box & Muller, 1958).

    Four bytes of each pair give the radius, at most 6.6 standard deviations, and two one of 65,536
    angles. numpy's functions take a third of the time of torch's, measured on a processor by AMD.
    """
    pairs = len(drawn) // (2 * _BYTES_PER_NORMAL)
    normal = np.empty(2 * pairs, np.float32)
    cosine, sine = normal[:pairs], normal[pairs:]
    radius = np.abs((drawn[: 4 * pairs].view(np.int32) | 1).astype(np.float32))
    radius *= np.float32(2.0**-31)  # in (0, 1]
    np.log(radius, out=radius)
    radius *= np.float32(-2 * std * std)
    np.sqrt(radius, out=radius)
    angle = drawn[4 * pairs : 6 * pairs].view(np.int16).astype(np.float32)
    angle += np.float32(0.5)
    angle *= np.float32(math.pi / 2**15)
    np.cos(angle, out=cosine)
    np.sin(angle, out=sine)
    cosine *= radius
    sine *= radius
    return normal


def normal_numbers(draw: Draws, count: int) -> Tensor:
    """Return the standard normal numbers that the noise of a clip is made of on a CPU.

    Args:
        draw: The random numbers of the clip.
        count: How many, in the order of the values (T, C, H, W).
    """
    parts = _parts(draw, count, _BYTES_PER_NORMAL)
    normal = [_normal(drawn, 1.0)[: part.stop - part.start] for part, drawn in parts]
    return torch.from_numpy(np.concatenate(normal))


def _parts(draw: Draws, count: int, bytes_each: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Cut `count` values into parts for the cache, with random bytes for each value.

    There are bytes for one value more where their number is odd. SFC64 takes half the time of
    torch's generator.
    """
    generator = np.random.SFC64(draw.key)
    for start in range(0, count, _VALUES_IN_CACHE):
        part = slice(start, min(start + _VALUES_IN_CACHE, count))
        size = (part.stop - part.start + 1) // 2 * 2 * bytes_each
        yield part, generator.random_raw(-(-size // 8)).view(np.uint8)[:size]


def _by_parts(
    clip: Tensor,
    draws: Sequence[Draws],
    bytes_each: int,
    corrupt: Callable[[np.ndarray, np.ndarray, np.ndarray], None],
) -> Tensor:
    """Call `corrupt(drawn, values, made)` for the parts of every clip; it writes to `made`.

    `drawn` are random bytes, `bytes_each` per value.
    """
    out = fresh(clip)
    for index, draw in enumerate(draws):
        values, made = clip[index].flatten().numpy(), out[index].view(-1).numpy()
        for part, drawn in _parts(draw, len(values), bytes_each):
            corrupt(drawn, values[part], made[part])
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
        drawn = words.view(np.uint32)[: len(values)]
        cell = torch.from_numpy((drawn >> (_WORD_BITS - _GUIDE_BITS)).view(np.int32))
        noisy = counted(
            torch.from_numpy(values).int(),
            cell,
            lambda open_: torch.from_numpy(drawn[open_.numpy()] * 2.0**-_WORD_BITS),
        )
        np.copyto(made, noisy.numpy(), casting="unsafe")

    return _by_parts(clip, draws, _BYTES_PER_WORD, corrupt_part)


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
        flag, drawn = flags[: len(values)], words.view(np.uint32)[: len(values)]
        np.greater_equal(drawn, below_both, out=flag)
        np.multiply(values, flag.view(np.uint8), out=made)
        if below_white:
            np.less(drawn, below_white, out=flag)
            all_bits = np.negative(flag.view(np.uint8), out=flag.view(np.uint8))
            np.bitwise_or(made, all_bits, out=made)

    return _by_parts(clip, draws, _BYTES_PER_WORD, corrupt_part)

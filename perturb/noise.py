"""Noise per value (pixel and channel), independent from frame to frame.

All follow `uint8(clip(y, 0, 1) * 255)` with truncation. Quirk: followed; truncation darkens the
result by half a grey level on average, and the published numbers contain it.

Everything is computed on the scale 0 to 255 in float32, one clip at a time, so that the result
does not depend on the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from perturb.draws import Draws

_GUIDE_CELLS = 4096


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

    def corrupt(frames: Tensor, generator: torch.Generator) -> Tensor:
        noisy = torch.empty(frames.shape, device=frames.device)
        noisy.normal_(0.0, 255 * std, generator=generator)
        return noisy.add_(frames).clamp_(0, 255).to(torch.uint8)

    return _per_clip(clip, draws, corrupt)


def speckle_noise(clip: Tensor, draws: Sequence[Draws], *, std: float) -> Tensor:
    """Multiply by 1 + normal noise.

    Args:
        clip: (B, T, C, H, W) uint8.
        draws: One per clip.
        std: Standard deviation of the factor.
    """

    def corrupt(frames: Tensor, generator: torch.Generator) -> Tensor:
        noisy = torch.empty(frames.shape, device=frames.device)
        noisy.normal_(1.0, std, generator=generator)
        return noisy.mul_(frames).clamp_(0, 255).to(torch.uint8)

    return _per_clip(clip, draws, corrupt)


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

    def corrupt(frames: Tensor, generator: torch.Generator) -> Tensor:
        chance = torch.rand(frames.shape, generator=generator, device=frames.device)
        return _whitened(frames * (chance >= share), chance < share / 2)

    return _per_clip(clip, draws, corrupt)


def salt_noise(clip: Tensor, draws: Sequence[Draws], *, share: float) -> Tensor:
    """Set values to 255.

    Args:
        clip: (B, T, C, H, W) uint8.
        draws: One per clip.
        share: Probability of being replaced.
    """

    def corrupt(frames: Tensor, generator: torch.Generator) -> Tensor:
        chance = torch.rand(frames.shape, generator=generator, device=frames.device)
        return _whitened(frames.clone(), chance < share)

    return _per_clip(clip, draws, corrupt)


def pepper_noise(clip: Tensor, draws: Sequence[Draws], *, share: float) -> Tensor:
    """Set values to 0.

    Args:
        clip: (B, T, C, H, W) uint8.
        draws: One per clip.
        share: Probability of being replaced.
    """

    def corrupt(frames: Tensor, generator: torch.Generator) -> Tensor:
        chance = torch.rand(frames.shape, generator=generator, device=frames.device)
        return frames * (chance >= share)

    return _per_clip(clip, draws, corrupt)


def _whitened(frames: Tensor, where: Tensor) -> Tensor:
    """Set values of (T, C, H, W) uint8 to 255 in place; arithmetic is faster than filling."""
    return frames.bitwise_or_(where.to(torch.uint8).neg_())  # minus one is all bits

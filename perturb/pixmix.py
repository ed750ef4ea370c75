"""PixMix (Hendrycks et al., arXiv:2112.05135), frame by frame: for training, not for tests.

A frame, or an altered copy of it, is mixed up to four times with another altered copy or with a
fractal picture, by addition or by multiplication in random proportions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torchvision.transforms.functional as pictorial
from torch import Tensor

from perturb.fractals import pictures
from perturb.levels import whole

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from perturb.draws import Draws

_MOST_ROUNDS = 4
_BETA = 3.0  # shape of the proportions; the published default
_STRONGEST = 10  # severity at which alterations reach their ends
_ALTERATIONS = (
    "autocontrast", "equalize", "posterize", "rotate", "solarize",
    "shear_x", "shear_y", "translate_x", "translate_y",
)  # fmt: skip


def pixmix(clip: Tensor, draws: Sequence[Draws], *, severity: int) -> Tensor:
    """Mix every frame anew.

    Args:
        clip: (B, T, C, H, W) uint8.
        draws: One per clip.
        severity: Of the alterations, 1 to 10.
    """
    around = pictures(*clip.shape[-2:]).to(clip.device)
    out = torch.empty_like(clip, memory_format=torch.contiguous_format)
    for frames, made, draw in zip(clip, out, draws, strict=True):
        rng = draw.order()
        for frame, mixed in zip(frames, made, strict=True):
            mixed.copy_(_mixed(frame, around, rng, severity))
    return out


def _mixed(frame: Tensor, around: Tensor, rng: random.Random, severity: int) -> Tensor:
    start = altered(frame, rng, severity) if rng.random() < 0.5 else frame
    mixed = start.float() / 255
    for _ in range(rng.randint(0, _MOST_ROUNDS)):
        if rng.random() < 0.5:
            other = altered(frame, rng, severity)
        else:
            other = _window(around, rng, frame.shape[-2:])
        blend = rng.choice((add, multiply))
        mixed = blend(mixed, other.float() / 255, *_proportions(rng)).clamp_(0, 1)
    return whole(mixed.mul_(255).add_(1e-3).clamp_(0, 255))


def add(one: Tensor, two: Tensor, a: float, b: float) -> Tensor:
    """Weighted sum of pictures around mid-grey; range 0 to 1 before, unbounded after."""
    return (a * (2 * one - 1) + b * (2 * two - 1) + 1) / 2


def multiply(one: Tensor, two: Tensor, a: float, b: float) -> Tensor:
    """Weighted geometric mean, where mid-grey is neutral; range 0 to 1 before, from 0 after."""
    return (2 * one) ** a * (2 * two).clamp(min=1e-37) ** b / 2


def _proportions(rng: random.Random) -> tuple[float, float]:
    """Weights of the two pictures: a mixture, or the first one away from the second."""
    if rng.random() < 0.5:
        return rng.betavariate(_BETA, 1), rng.betavariate(1, _BETA)
    return 1 + rng.betavariate(1, _BETA), -rng.betavariate(1, _BETA)


def _window(around: Tensor, rng: random.Random, size: Sequence[int]) -> Tensor:
    """A random window of a random picture."""
    picture = around[rng.randrange(len(around))]
    top, left = (
        rng.randint(0, have - want) for have, want in zip(picture.shape[1:], size, strict=True)
    )
    return picture[:, top : top + size[0], left : left + size[1]]


def altered(frame: Tensor, rng: random.Random, severity: int) -> Tensor:
    """One of nine alterations of AugMix (arXiv:1912.02781), none of which is a test corruption.

    Args:
        frame: (C, H, W) uint8.
        rng: Draws the alteration, its strength and its direction.
        severity: Upper end of the drawn strength, 1 to 10.
    """
    kind = rng.choice(_ALTERATIONS)
    strength = rng.uniform(0.1, severity) / _STRONGEST
    sign = rng.choice((-1, 1))
    if kind == "autocontrast":
        return pictorial.autocontrast(frame)
    if kind == "equalize":
        return pictorial.equalize(frame)
    if kind == "posterize":
        return pictorial.posterize(frame, 4 - int(4 * strength))
    if kind == "solarize":
        return pictorial.solarize(frame, 255.0 - int(256 * strength))
    if kind == "rotate":
        return pictorial.rotate(frame, sign * int(30 * strength))
    height, width = frame.shape[-2:]
    along, amount = kind[-1], sign * strength
    move, lean = [0, 0], [0.0, 0.0]
    axis = 0 if along == "x" else 1
    if kind.startswith("translate"):
        move[axis] = int(amount * (width if along == "x" else height) / 3)
    else:
        lean[axis] = float(torch.atan(torch.tensor(0.3 * amount)).rad2deg())
    return pictorial.affine(frame, angle=0, translate=move, scale=1.0, shear=lean)

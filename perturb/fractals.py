"""Fractal pictures to mix frames with: structure without things, made from a fixed seed."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from perturb.weather import plasma

COUNT = 24
#: Pictures are a little larger than frames, so that each use can cut another window.
MARGIN = 1.125
_SEED = 2112_05135
_SIDE = 256
_POINTS, _ROUNDS, _SETTLING = 8_000, 35, 10


@lru_cache(maxsize=4)
def pictures(height: int, width: int) -> Tensor:
    """Return the set for frames of a size: uint8 (`COUNT`, 3, h, w), `MARGIN` times as large.

    Args:
        height: Of the frames, px.
        width: Of the frames, px.
    """
    size = (int(np.ceil(MARGIN * height)), int(np.ceil(MARGIN * width)))
    made = torch.stack([_picture(number) for number in range(COUNT)])
    return F.interpolate(made, size=size, mode="area").round().to(torch.uint8)


@lru_cache(maxsize=COUNT)
def _picture(number: int) -> Tensor:
    """One picture, float (3, 256, 256), 0 to 255: an attractor before a cloud."""
    rng = np.random.default_rng((_SEED, number))
    light, colour = _attractor(rng)
    clouds = torch.Generator().manual_seed(int(rng.integers(2**31)))
    cloud = plasma(_SIDE, float(rng.uniform(1.5, 2.5)), clouds).numpy()
    low, high = rng.uniform(0, 255, (2, 3, 1, 1))
    ground = low + (high - low) * cloud
    return torch.from_numpy(ground * (1 - light) + colour * light).float()


def _attractor(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Density (256, 256) up to 1 and colour (3, 256, 256) up to 255 of a random system of maps.

    An iterated function system: points jump by affine maps, drawn anew in every round, and are
    drawn where they land; each map pulls the colour of a point towards its own.
    """
    count = int(rng.integers(2, 5))
    turns = rng.uniform(0, 2 * np.pi, (2, count))
    shrink = rng.uniform(0.35, 0.85, (count, 2))
    maps = _turn(turns[0]) @ (shrink[:, :, None] * _turn(turns[1]))
    moves, colours = rng.uniform(-1, 1, (count, 2)), rng.uniform(0, 255, (count, 3))
    points, shades = rng.uniform(-1, 1, (_POINTS, 2)), np.full((_POINTS, 3), 127.5)
    places, paints = [], []
    for step in range(_ROUNDS):
        which = rng.integers(count, size=_POINTS)
        map_, (x, y) = maps[which], points.T
        points = map_[:, :, 0] * x[:, None] + map_[:, :, 1] * y[:, None] + moves[which]
        shades = (shades + colours[which]) / 2
        if step >= _SETTLING:
            places.append(points)
            paints.append(shades)
    place, paint = np.concatenate(places), np.concatenate(paints)
    low, high = np.quantile(place, (0.01, 0.99), axis=0)
    cell = ((place - low) / np.maximum(high - low, 1e-9) * (_SIDE - 1)).astype(np.int64)
    inside = ((cell >= 0) & (cell < _SIDE)).all(1)
    index = cell[inside, 0] * _SIDE + cell[inside, 1]
    hits = np.bincount(index, minlength=_SIDE**2)
    sums = [np.bincount(index, paint[inside, c], _SIDE**2) for c in range(3)]
    colour = np.stack(sums) / np.maximum(hits, 1)
    light = np.log1p(hits) / np.log1p(np.quantile(hits[hits > 0], 0.95))
    shape = (_SIDE, _SIDE)
    return light.clip(0, 1).reshape(shape), colour.reshape(3, *shape)


def _turn(angle: np.ndarray) -> np.ndarray:
    """Rotation matrices (N, 2, 2)."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)

"""Weighted sums over neighbouring pixels on a CPU: one matrix per axis, block by block.

A blur that works on rows and columns separately is a product of every frame with two matrices that
are zero away from their diagonal. Cut into blocks of a few output rows, only the part of the input
that these need takes part, and a matrix product is several times as fast as adding shifted frames.
What a border adds (replicated, mirrored) is folded into the matrices, so that frames need no
padding. The products are numpy's: its OpenBLAS keeps its speed for narrow matrices on processors of
every make, torch's MKL does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from perturb.levels import fresh

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ROWS = 16  # outputs per block: fewer cost calls, more cost products with zeros
_FRAMES_IN_CACHE = 4

#: (outputs, the inputs that they need, their weights) of every block.
Band = tuple[tuple[slice, slice, np.ndarray], ...]


def band(matrix: Tensor, height: int = _ROWS) -> Band:
    """Cut a matrix (outputs, inputs) into blocks of some outputs, without the zeros beside them."""
    blocks = []
    for start in range(0, len(matrix), height):
        rows = matrix[start : start + height]
        used = rows.any(dim=0).nonzero().flatten().tolist() or [0]
        inputs = slice(used[0], used[-1] + 1)
        weights = rows[:, inputs].contiguous().numpy()
        blocks.append((slice(start, start + len(rows)), inputs, weights))
    return tuple(blocks)


def weighted(
    clip: Tensor, terms: Sequence[tuple[Band, Band]], *, own: float, margin: float
) -> Tensor:
    """Add the products of every frame with pairs of matrices to it, and cut to whole grey levels.

    Args:
        clip: (B, T, C, H, W) uint8 on the CPU.
        terms: One for the rows (H, H) and one for the columns (W, W) each.
        own: Weight of the frame itself; with those of all terms it sums to at most 1 per pixel.
        margin: Added before the cut, so that rounding errors do not turn a flat grey v into v - 1.

    Returns:
        Clip of the same shape.
    """

    def cut(total: np.ndarray, made: np.ndarray) -> None:
        total += np.float32(margin)
        np.copyto(made, total, casting="unsafe")

    return _by_frames(clip, terms, cut, own)


def averaged(clip: Tensor, rows: int, columns: int) -> Tensor:
    """Reduce every frame to `rows` x `columns` averages, rounded, and enlarge it by repetition.

    The areas are those of adaptive average pooling, the enlargement that of `nearest-exact`.

    Args:
        clip: (B, T, C, H, W) uint8 on the CPU.
        rows: Height of the reduced frame.
        columns: Width of the reduced frame.
    """
    height, width = clip.shape[-2:]
    below, beside = _areas(height, rows), _areas(width, columns)
    pixels = (below.sum(1)[:, None, None] * beside.sum(1)).numpy()
    row, column = (
        ((np.arange(side) + 0.5) * (count / side)).astype(int)
        for side, count in ((height, rows), (width, columns))
    )

    def enlarge(total: np.ndarray, made: np.ndarray) -> None:
        # sums of whole numbers are exact, and so are quotients that end in one half
        total /= pixels
        total += 0.5
        wide = total.astype(np.uint8).take(column, axis=2)
        np.copyto(made, wide.take(row, axis=0))

    bands = [(band(below, _ROWS // 2), band(beside, _ROWS // 2))]  # many inputs per output
    return _by_frames(clip, bands, enlarge)


def _areas(side: int, count: int) -> Tensor:
    """Which pixels belong to which area, (count, side) of 0 and 1; borders belong to both."""
    area, pixel = torch.arange(count)[:, None], torch.arange(side)
    first, end = area * side // count, -(-(area + 1) * side // count)
    return ((pixel >= first) & (pixel < end)).float()


def _by_frames(
    clip: Tensor,
    terms: Sequence[tuple[Band, Band]],
    finish: Callable[[np.ndarray, np.ndarray], None],
    own: float = 0.0,
) -> Tensor:
    """Sum the products and let `finish` write them, a few frames at a time whatever the batch.

    Both arguments of `finish` are planes (rows, N, columns): rows lie in front, so that both
    products run over contiguous memory.
    """
    height, width = clip.shape[-2:]
    out = fresh(clip)
    frames, made = (x.reshape(-1, clip.shape[2], height, width).numpy() for x in (clip, out))
    memory: tuple[np.ndarray, ...] = ()
    for start in range(0, len(frames), _FRAMES_IN_CACHE):
        few = slice(start, start + _FRAMES_IN_CACHE)
        planes = frames[few].reshape(-1, height, width).transpose(1, 0, 2)
        if not memory or memory[0].shape != planes.shape:
            memory = _memory(planes.shape, terms[0])
        source, beside, below, total = memory
        np.copyto(source, planes)
        np.multiply(source, np.float32(own), out=total) if own else total.fill(0)
        for term in terms:
            _product(source, term, beside, below)
            total += below
        finish(total, made[few].reshape(-1, height, width).transpose(1, 0, 2))
    return out


def _memory(shape: tuple[int, ...], term: tuple[Band, Band]) -> tuple[np.ndarray, ...]:
    """Planes for the source, its product with the columns, with the rows too, and the sum."""
    height, count, width = shape
    rows, columns = (axis[-1][0].stop for axis in term)
    sizes = (height, width), (height, columns), (rows, columns), (rows, columns)
    return tuple(np.empty((down, count, across), np.float32) for down, across in sizes)


def _product(
    source: np.ndarray, term: tuple[Band, Band], beside: np.ndarray, made: np.ndarray
) -> None:
    """Write the product of planes (H, N, W) float32 with the two matrices of a term."""
    rows, columns = term
    lines, sums = (planes.reshape(-1, planes.shape[-1]) for planes in (source, beside))
    for outputs, inputs, weights in columns:
        np.matmul(lines[:, inputs], weights.T, out=sums[:, outputs])
    stacked, result = (planes.reshape(len(planes), -1) for planes in (beside, made))
    for outputs, inputs, weights in rows:
        np.matmul(weights, stacked[inputs], out=result[outputs])

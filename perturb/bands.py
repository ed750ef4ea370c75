"""Weighted sums over neighbouring pixels on a CPU: one matrix per axis, block by block.

A blur that works on rows and columns separately is a product of every frame with two matrices that
are zero away from their diagonal. Cut into blocks of a few output rows, only the part of the input
that these need takes part, and the matrix product of the processor's library is several times as
fast as adding shifted frames. What a border adds (replicated, mirrored) is folded into the
matrices, so that frames need no padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from perturb.levels import fresh

_ROWS = 32  # outputs per block: fewer cost calls, more cost products with zeros
_FRAMES_IN_CACHE = 2

#: (outputs, the inputs that they need, their weights) of every block.
Band = tuple[tuple[slice, slice, Tensor], ...]


def band(matrix: Tensor) -> Band:
    """Cut a matrix (outputs, inputs) into blocks without the zeros beside them."""
    blocks = []
    for start in range(0, len(matrix), _ROWS):
        rows = matrix[start : start + _ROWS]
        used = rows.any(dim=0).nonzero().flatten().tolist() or [0]
        inputs = slice(used[0], used[-1] + 1)
        blocks.append((slice(start, start + len(rows)), inputs, rows[:, inputs].contiguous()))
    return tuple(blocks)


def weighted(clip: Tensor, terms: Sequence[tuple[Band, Band]], *, margin: float) -> Tensor:
    """Sum the products of every frame with pairs of matrices, and cut to whole grey levels.

    Args:
        clip: (B, T, C, H, W) uint8 on the CPU.
        terms: One for the rows (H, H) and one for the columns (W, W) each; the weights of all
            terms together sum to at most 1 per pixel.
        margin: Added before the cut, so that rounding errors do not turn a flat grey v into v - 1.

    Returns:
        Clip of the same shape.
    """

    def cut(total: np.ndarray, made: np.ndarray) -> None:
        total += margin
        np.copyto(made, total, casting="unsafe")

    return _by_frames(clip, terms, cut)


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

    return _by_frames(clip, [(band(below), band(beside))], enlarge)


def _areas(side: int, count: int) -> Tensor:
    """Which pixels belong to which area, (count, side) of 0 and 1; borders belong to both."""
    area, pixel = torch.arange(count)[:, None], torch.arange(side)
    first, end = area * side // count, -(-(area + 1) * side // count)
    return ((pixel >= first) & (pixel < end)).float()


def _by_frames(
    clip: Tensor,
    terms: Sequence[tuple[Band, Band]],
    finish: Callable[[np.ndarray, np.ndarray], None],
) -> Tensor:
    """Sum the products and let `finish` write them, a few frames at a time whatever the batch.

    Both arguments of `finish` are planes (rows, N, columns): rows lie in front, so that both
    products run over contiguous memory.
    """
    height, width = clip.shape[-2:]
    out = fresh(clip)
    frames, made = (x.reshape(-1, clip.shape[2], height, width).numpy() for x in (clip, out))
    memory = [torch.empty(0)] * 3
    with _full_precision():
        for start in range(0, len(frames), _FRAMES_IN_CACHE):
            few = slice(start, start + _FRAMES_IN_CACHE)
            planes = frames[few].reshape(-1, height, width).transpose(1, 0, 2)
            source, beside, total = memory = _memory(memory, planes.shape, terms[0])
            np.copyto(source.numpy(), planes)
            _sum(source, terms, beside, total)
            finish(total.numpy(), made[few].reshape(-1, height, width).transpose(1, 0, 2))
    return out


def _memory(memory: list[Tensor], shape: tuple[int, ...], term: tuple[Band, Band]) -> list[Tensor]:
    """Planes for the source, its product with the columns and the sum; kept where they fit."""
    if memory[0].shape == shape:
        return memory
    rows, columns = (axis[-1][0].stop for axis in term)
    height, count, width = shape
    return [
        torch.empty(height, count, width),
        torch.empty(height, count, columns),
        torch.empty(rows, count, columns),
    ]


def _sum(source: Tensor, terms: Sequence[tuple[Band, Band]], beside: Tensor, total: Tensor) -> None:
    """Write the sum of the products of planes (H, N, W) float32."""
    lines, sums = source.view(-1, source.shape[-1]), beside.view(-1, beside.shape[-1])
    stacked, result = beside.view(len(beside), -1), total.view(len(total), -1)
    for number, (rows, columns) in enumerate(terms):
        for outputs, inputs, weights in columns:
            torch.mm(lines[:, inputs], weights.T, out=sums[:, outputs])
        for outputs, inputs, weights in rows:
            # beta 0: what the memory held does not count
            result[outputs].addmm_(weights, stacked[inputs], beta=1 if number else 0)


@contextmanager
def _full_precision() -> Iterator[None]:
    """Keep a training that allows coarser products (bfloat16) from changing pixels."""
    allowed = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(allowed)

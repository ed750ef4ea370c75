"""Soft-DTW of smoothed costs between dummy rows and columns, without building that matrix.

Half of the rows of such a matrix are dummies of one cost. In ``Z = exp(-R / gamma)`` the way
through a dummy row is a fixed linear map, so that the recursion takes one step per *real* row: a
cumulative sum and a product with a small matrix. Smoothing is a sum of three neighbours there.
The result is that of ``soft_dtw(surround(smooth(costs)))``; all in float64, whose range has to
hold the exponents (:func:`fits_float64`).

Source: arXiv:2203.16784 for the components, arXiv:1703.01541 for the recursion.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from losses.parts.soft_dtw import LARGEST_EXPONENT


def fits_float64(costs: Tensor, gamma: float, threshold: float, *, smoothing: bool) -> bool:
    """Whether no exponent of :func:`scan` can leave the range of float64; False for NaN.

    A path meets at most N + M - 1 real cells and 2 (N + M) + 1 dummies, each with three ways in;
    within the scan its value is multiplied by the product of one row.

    Args:
        costs: ``(pairs, N, M)``.
        gamma: Positive smoothing.
        threshold: Cost of a dummy.
        smoothing: Whether costs get the soft minimum of their neighbours added.
    """
    n, m = costs.shape[1:]
    low, high = (float(x) for x in costs.detach().aminmax())
    if smoothing:  # of up to three neighbours
        low, high = 2 * min(low, 0.0) - gamma * math.log(3), 2 * max(high, 0.0)
    exponents = []
    for real, dummy in ((-low, -threshold), (high, threshold)):  # growing, shrinking
        path = (n + m - 1) * max(real, 0.0) + (2 * (n + m) + 1) * max(dummy, 0.0)
        row = m * max(real, 0.0) + (m + 1) * max(dummy, 0.0)
        exponents.append((path, row))
    (up, row_up), (down, row_down) = exponents
    largest = (max(up, down) + max(row_up, row_down)) / gamma + 2 * (n + m + 1) * math.log(3)
    return not math.isnan(low + high) and largest < LARGEST_EXPONENT


def scan(
    costs: Tensor, columns: Tensor, *, gamma: float, threshold: float, smoothing: bool
) -> tuple[Tensor, Tensor]:
    """Values and their derivatives with respect to all costs.

    Args:
        costs: ``(pairs, N, M)``.
        columns: ``(pairs,)`` int64 in 1..M: how many columns of each pair count.
        gamma: Positive smoothing.
        threshold: Cost of a dummy.
        smoothing: Add the soft minimum of the neighbouring costs.

    Returns:
        ``(pairs,)`` and ``(pairs, N, M)``, float64.
    """
    pairs, n, m = costs.shape
    weights = costs.new_empty(n, pairs, m, dtype=torch.float64)  # (rows, pairs, columns), as all
    weights.copy_(costs.transpose(0, 1)).mul_(-1 / gamma).exp_()
    neighbours = None
    if smoothing:
        neighbours = _sum_of_neighbours(weights)
        neighbours[0, :, 0] = 3  # of the first cell: three zero costs
    dummy = math.exp(-threshold / gamma)
    first, through, to_end = _dummy_row(2 * m + 1, dummy, like=weights)

    # P, the running product of the factors of a row, and 1 / (P of the cell before)
    shrink = weights.new_full((n, pairs, 2 * m + 1), dummy)
    shrink[:, :, 1::2] = weights if neighbours is None else weights * neighbours
    shrink = shrink.cumprod(2)
    grow = torch.ones_like(shrink)
    torch.reciprocal(shrink[:, :, :-1], out=grow[:, :, 1:])

    # Z of a row is P times the running sum of what enters its cells over the P of the cell before
    sums = torch.empty_like(shrink)
    entering = first.expand(pairs, -1)
    for into, before, after in zip(sums, grow, shrink, strict=True):
        torch.cumsum(entering * before, 1, out=into)
        entering = (into * after) @ through
    ends = 2 * columns
    last = ((sums[-1] * shrink[-1]) @ to_end).gather(1, ends.unsqueeze(1))
    value = last.log().mul_(-gamma).squeeze(1)

    # The adjoint is the same scan from the end with the factors exchanged. In reverse order the
    # way back through a dummy row is the same matrix, because it is Toeplitz.
    totals = torch.empty_like(shrink)
    entering = (to_end.T[ends] / last).flip(1)
    for into, before, after in zip(totals, shrink.flip(0, 2), grow.flip(0, 2), strict=True):
        torch.cumsum(entering * before, 1, out=into)
        entering = (into * after) @ through
    # how much of all paths goes through each real cell
    share = totals[:, :, 1::2].flip(0, 2).mul_(sums[:, :, 1::2])
    if neighbours is not None:
        smoothed = share / neighbours
        smoothed[0, :, 0] = 0  # its neighbours are constants
        share += weights * _sum_of_neighbours(smoothed.flip(0, 2)).flip(0, 2)
    return value, share.transpose(0, 1)


def _sum_of_neighbours(cells: Tensor) -> Tensor:
    """Left, upper and upper-left of each cell added up; ``(rows, pairs, columns)``."""
    found = torch.zeros_like(cells)
    found[1:] = cells[:-1]
    found[1:, :, 1:] += cells[:-1, :, :-1]
    found[:, :, 1:] += cells[:, :, :-1]
    return found


def _dummy_row(width: int, dummy: float, *, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Ways through a row of dummies.

    Returns:
        What the first dummy row passes on to the first real row, ``(width,)``; a real row to the
        next real row; a real row to the cells of the last dummy row: both ``(width, width)``.
    """
    place = torch.arange(width, device=like.device, dtype=like.dtype)
    steps = place - place[:, None]
    along = torch.where(steps >= 0, dummy ** (steps + 1).clamp(min=0), 0.0)
    # a cell is entered from the cell above and from the one left of that
    down = ((steps == 0) | (steps == 1)).to(like.dtype)
    return along[0] @ down, down @ along @ down, down @ along

"""How well a sequence of clips goes with a sequence of captions: S2DTW and plainer distances.

Source: arXiv:2203.16784 and its released code, whose constants are the defaults. Every component
can be switched off: without ``smoothing`` and ``weak_alignment`` it is plain soft-DTW.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from losses.parts.precision import at_least_float32
from losses.parts.soft_dtw import UNREACHABLE, ValueAndDerivative, soft_dtw
from losses.parts.weak_alignment import fits_float64, scan

NORM_FLOOR = 1e-8


def smooth(costs: Tensor, gamma: float) -> Tensor:
    """Add to every cost the soft minimum of its left, upper and upper-left neighbours.

    Raw costs are smoothed once, not recursively. Missing neighbours drop out; those of the first
    cell count as three zeros, which takes ``gamma log 3`` off it.

    Quirk: fixed; the published code takes exponentials without subtracting the largest, which
    overflows in float32 for inner products above 8.8.

    Args:
        costs: ``(pairs, N, M)``.
        gamma: Positive smoothing.
    """
    padded = F.pad(costs, (1, 0, 1, 0), value=UNREACHABLE)
    neighbours = torch.stack((padded[:, 1:, :-1], padded[:, :-1, 1:], padded[:, :-1, :-1]))
    nearest = -gamma * torch.logsumexp(neighbours / -gamma, 0)
    n, m = costs.shape[1:]
    first = torch.arange(n * m, device=costs.device).view(n, m) == 0
    return costs + torch.where(first, -gamma * math.log(3), nearest)


def surround(costs: Tensor, threshold: float) -> Tensor:
    """Put dummy rows and columns of cost ``threshold`` around every row and column.

    A path may walk over them past a clip or caption that goes with nothing.

    Args:
        costs: ``(pairs, N, M)``; lands in the cells with odd row and column.
        threshold: Cost of a step over a dummy.

    Returns:
        ``(pairs, 2 N + 1, 2 M + 1)``.
    """
    pairs, n, m = costs.shape
    found = costs.new_full((pairs, 2 * n + 1, 2 * m + 1), threshold)
    found[:, 1::2, 1::2] = costs
    return found


def s2dtw(
    costs: Tensor,
    *,
    gamma: float = 0.1,
    threshold: float = 0.5,
    smoothing: bool = True,
    weak_alignment: bool = True,
    columns: Tensor | None = None,
) -> Tensor:
    """Distance of sequences from the costs of their pairs of members.

    Quirk: fixed; the published code handles square cost matrices only.

    Args:
        costs: ``(pairs, N, M)``, negative inner products of clip n and caption m.
        gamma: Positive; of the smoothing and of the alignment.
        threshold: Cost of leaving a member out.
        smoothing: See :func:`smooth`.
        weak_alignment: See :func:`surround`.
        columns: ``(pairs,)`` int64 in 1..M: how many captions each pair has; None = all M.

    Returns:
        ``(pairs,)``; smaller = closer.
    """
    costs = at_least_float32(costs)
    settings: dict[str, Any] = {"gamma": gamma, "threshold": threshold, "smoothing": smoothing}
    if weak_alignment and len(costs) and fits_float64(costs, **settings):
        size = costs.shape[2]
        counted = torch.full((len(costs),), size, device=costs.device)
        value: Tensor = ValueAndDerivative.apply(
            costs,
            partial(scan, **settings),
            counted if columns is None else columns,
            partial(_step_by_step, columns=columns, weak_alignment=True, **settings),
        )[0]
        return value
    return _step_by_step(costs, columns=columns, weak_alignment=weak_alignment, **settings)


def _step_by_step(
    costs: Tensor,
    *,
    gamma: float,
    threshold: float,
    smoothing: bool,
    weak_alignment: bool,
    columns: Tensor | None,
) -> Tensor:
    """:func:`s2dtw` as its components one after the other: any costs, any derivative."""
    if smoothing:
        costs = smooth(costs, gamma)
    if weak_alignment:
        costs = surround(costs, threshold)
        columns = None if columns is None else 2 * columns + 1
    return soft_dtw(costs, gamma, columns=columns)


def pair_costs(rows: Tensor, columns: Tensor) -> Tensor:
    """Negative inner products of all members of all sequences, in one matrix product.

    Args:
        rows: ``(A, N, dim)``.
        columns: ``(B, M, dim)``.

    Returns:
        ``(A, B, N, M)``.
    """
    a, n, dim = rows.shape
    b, m, _ = columns.shape
    products = rows.reshape(a * n, dim) @ columns.reshape(b * m, dim).T
    return -at_least_float32(products).view(a, n, b, m).transpose(1, 2)


def cosine_costs(x: Tensor, y: Tensor) -> Tensor:
    """``exp(1 - cos(x_i, y_j))``: ``(B, N, dim)``, ``(B, M, dim)`` -> ``(B, N, M)``."""
    unit_x, unit_y = (v / v.norm(dim=-1, keepdim=True).clamp(min=NORM_FLOOR) for v in (x, y))
    return (1 - unit_x @ unit_y.transpose(1, 2)).exp()


def euclidean_costs(x: Tensor, y: Tensor) -> Tensor:
    """``exp(|x_i - y_j|)``: ``(B, N, dim)``, ``(B, M, dim)`` -> ``(B, N, M)``.

    Quirk: fixed; the derivative at coincident points is 0, not NaN.
    """
    square = (x.unsqueeze(2) - y.unsqueeze(1)).square().sum(-1)
    apart = square > 0
    distance = torch.where(apart, torch.where(apart, square, 1.0).sqrt(), 0.0)
    return distance.exp()


def divergence(x: Tensor, y: Tensor, gamma: float, *, distance: str = "cosine") -> Tensor:
    """Soft-DTW of x and y less the mean of that of each with itself: ``(B,)``.

    Args:
        x: ``(B, N, dim)``.
        y: ``(B, M, dim)``.
        gamma: Positive smoothing.
        distance: ``cosine`` or ``euclidean``.
    """
    costs = {"cosine": cosine_costs, "euclidean": euclidean_costs}[distance]
    own = soft_dtw(costs(x, x), gamma) + soft_dtw(costs(y, y), gamma)
    return soft_dtw(costs(x, y), gamma) - own / 2

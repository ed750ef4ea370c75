"""Soft dynamic time warping: the smoothed cost of the best monotone path through a cost matrix.

Values and gradients come from one of two forms with equal results:

- the *row scan* works with ``Z = exp(-R / gamma)`` in float64. A row is then one cumulative sum,
  so that the recursion takes as many steps as there are rows and no exponential inside; it needs
  all exponents to stay below what float64 holds, which a cheap bound tells beforehand;
- the *diagonal scan* takes logarithms cell by cell, one anti-diagonal at a time, for everything
  else: bands, costs far apart, tiny ``gamma``. Made of differentiable operations, it also serves
  second derivatives.

Source: arXiv:1703.01541, equations 1 to 3; arXiv:2203.16784 for the use in this project.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from losses.parts.precision import at_least_float32

UNREACHABLE = 1e10
"""Stands for infinite cost: finite, so that no derivative becomes NaN."""
LARGEST_EXPONENT = 690.0
"""exp of more does not fit into float64."""


def soft_dtw(
    costs: Tensor, gamma: float = 1.0, *, bandwidth: float = 0.0, columns: Tensor | None = None
) -> Tensor:
    """Soft minimum over all monotone paths of the sum of costs along the path.

    A path starts in the first cell, ends in the last one and steps right, down or both. With
    ``softmin{a} = -gamma log sum exp(-a / gamma)`` over its three predecessors every cell holds
    ``R = cost + softmin R``; the value is that of the last cell. It may be negative.

    Quirk: fixed; the published code rounds float64 costs and gamma to float32 on its way.

    Args:
        costs: ``(pairs, N, M)``. Half precision is computed in float32.
        gamma: Positive smoothing; near 0 the value is that of the single best path.
        bandwidth: Cells with ``|row - column|`` above it are forbidden; 0 = none are.
        columns: ``(pairs,)`` int64 in 1..M: how many columns of each pair count; None = all.

    Returns:
        ``(pairs,)``, in the precision of ``costs`` but at least float32.

    Raises:
        ValueError: ``gamma`` not positive, no rows or columns, or a band that cuts the last cell
            off (the published code returns an infinite value and gradient 0 there).
    """
    if costs.ndim != 3 or 0 in costs.shape[1:]:
        raise ValueError(f"soft_dtw: costs of shape {tuple(costs.shape)}, not (pairs, N, M)")
    if not gamma > 0:
        raise ValueError(f"soft_dtw: gamma must be positive, given {gamma}")
    if bandwidth < 0:
        raise ValueError(f"soft_dtw: bandwidth must be at least 0, given {bandwidth}")
    pairs, n, m = costs.shape
    if bandwidth and (abs(n - m) > bandwidth or columns is not None):
        raise ValueError(
            f"soft_dtw: a band of {bandwidth} around the diagonal does not reach the last cell "
            f"of {n} x {m}, or pairs differ in length: leave bandwidth at 0"
        )
    costs = at_least_float32(costs)
    if pairs == 0:
        return costs.sum((1, 2))
    ends = torch.full((pairs,), m - 1, device=costs.device) if columns is None else columns - 1
    if bandwidth or not _fits_float64(costs, gamma):
        return diagonal_scan(costs, gamma, bandwidth=bandwidth, ends=ends)
    value: Tensor = ValueAndDerivative.apply(
        costs,
        lambda some, their_ends: _row_scan(some, gamma, their_ends),
        ends,
        lambda every: diagonal_scan(every, gamma, ends=ends),
    )[0]
    return value


def _fits_float64(costs: Tensor, gamma: float) -> bool:
    """Whether no exponent of the row scan can leave the range of float64.

    A path meets each anti-diagonal at most once, and every second one if it only steps diagonally:
    the largest cost on even and on odd anti-diagonals bounds its sum. A row adds its own sum.
    """
    n, m = costs.shape[1:]
    low, high = costs.detach().aminmax(dim=0)
    largest = torch.maximum(-low, high)
    steps = torch.arange(n, device=costs.device)[:, None] + torch.arange(m, device=costs.device)
    even = torch.where(steps % 2 == 0, largest, 0.0).amax()
    odd = torch.where(steps % 2 == 1, largest, 0.0).amax()
    path = even * math.ceil((n + m - 1) / 2) + odd * ((n + m - 1) // 2)
    row = largest.sum(1).amax()
    exponent = float(path + row) / gamma + (n + m) * math.log(3)
    return exponent < LARGEST_EXPONENT  # False for NaN


BLOCK_CELLS = 60_000
"""Cells that are handled together on a CPU, so that all tables of a block stay in its cache."""

Solver = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class ValueAndDerivative(torch.autograd.Function):
    """Values ``(pairs,)`` of costs from a solver that finds their derivatives on the way.

    Args:
        costs: ``(pairs, N, M)``.
        solve: Costs and ends of some pairs -> values and derivatives with respect to all costs.
        ends: ``(pairs,)``, handed to ``solve``.
        differentiable: Costs -> the same values, of differentiable operations; for whoever
            differentiates twice.
    """

    @staticmethod
    def forward(
        costs: Tensor, solve: Solver, ends: Tensor, differentiable: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        del differentiable
        value, derivative = costs.new_empty(len(costs)), torch.empty_like(costs)
        size = max(1, BLOCK_CELLS // costs[0].numel()) if costs.device.type == "cpu" else len(costs)
        for start in range(0, len(costs), size):
            here = slice(start, start + size)
            value[here], derivative[here] = solve(costs[here], ends[here])
        return value, derivative

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        costs, _, _, differentiable = inputs
        _, derivative = output
        ctx.mark_non_differentiable(derivative)
        ctx.save_for_backward(costs, derivative)
        ctx.save_for_forward(costs, derivative)
        ctx.differentiable = differentiable

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None]:
        costs, derivative = ctx.saved_tensors
        grad = grad_outputs[0]
        if torch.is_grad_enabled() and costs.requires_grad:  # somebody differentiates twice
            value = ctx.differentiable(costs)
            return torch.autograd.grad(value, costs, grad, create_graph=True)[0], None, None, None
        return grad[:, None, None] * derivative, None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> tuple[Tensor, None]:
        _, derivative = ctx.saved_tensors
        return (derivative * tangents[0]).sum((1, 2)), None


def _row_scan(costs: Tensor, gamma: float, ends: Tensor) -> tuple[Tensor, Tensor]:
    """Values ``(pairs,)`` and derivatives ``(pairs, N, M)``, float64."""
    pairs, n, m = costs.shape
    # P, the running product of K = exp(-cost / gamma) along a row: (rows, pairs, columns)
    shrink = costs.transpose(0, 1).contiguous().cumsum(2, dtype=torch.float64)
    shrink = shrink.mul_(-1 / gamma).exp_()
    grow = torch.cat((shrink.new_ones(n, pairs, 1), shrink[:, :, :-1].reciprocal()), 2)
    # with Z = P times the running sum of (Z of the two cells above) / (P of the cell before)
    z = shrink.new_empty(n + 1, pairs, m + 1)
    z[0] = 0
    z[:, :, 0] = 0
    z[0, :, 0] = 1
    _scan(z, shrink, grow)
    last = z[n, :, 1:].gather(1, ends.unsqueeze(1))
    value = last.log().mul_(-gamma).squeeze(1)

    # The adjoint of a cell sums K times adjoint over its successors. Seen from the end it is
    # the same scan with the factors exchanged: Y = K adjoint = the running sum of
    # P (Y of the two cells below), over the P of the cell before.
    y = torch.empty_like(z)
    y[0] = 0
    y[:, :, 0] = 0
    totals = torch.empty_like(shrink)
    back, forth = shrink.flip(0, 2), grow.flip(0, 2)
    seed = torch.zeros_like(back[0]).scatter_(1, m - 1 - ends.unsqueeze(1), 1 / last)
    _scan(y, forth, back, totals=totals, seed=seed)
    adjoint = totals.flip(0, 2).div_(shrink)
    return value, adjoint.mul_(z[1:, :, 1:]).transpose(0, 1)


def _scan(
    table: Tensor,
    after: Tensor,
    before: Tensor,
    *,
    totals: Tensor | None = None,
    seed: Tensor | None = None,
) -> None:
    """Fill ``table`` row by row: ``after * cumsum(before * (two cells of the row above))``.

    Args:
        table: ``(n + 1, pairs, m + 1)``, row 0 and column 0 given.
        after: ``(n, pairs, m)``.
        before: ``(n, pairs, m)``.
        totals: ``(n, pairs, m)``, receives the cumulative sums.
        seed: ``(pairs, m)``, added to what enters the first row.
    """
    left, right = table[:, :, :-1].unbind(0), table[:, :, 1:].unbind(0)
    entering = torch.empty_like(after[0])
    scratch = torch.empty_like(entering)
    sums = [scratch] * len(after) if totals is None else totals.unbind(0)
    for i, (inner, outer) in enumerate(zip(before.unbind(0), after.unbind(0), strict=True)):
        torch.add(left[i], right[i], out=entering)
        if seed is not None and i == 0:
            entering.add_(seed)
        torch.cumsum(entering.mul_(inner), 1, out=sums[i])
        torch.mul(sums[i], outer, out=right[i + 1])


def diagonal_scan(
    costs: Tensor, gamma: float, *, bandwidth: float = 0.0, ends: Tensor | None = None
) -> Tensor:
    """The recursion in logarithms, one anti-diagonal at a time, of differentiable operations.

    Args:
        costs: ``(pairs, N, M)``.
        gamma: Positive smoothing.
        bandwidth: 0 = no band.
        ends: ``(pairs,)`` int64, the last column of each pair; None = M - 1.

    Returns:
        ``(pairs,)``.
    """
    _, n, m = costs.shape
    device = costs.device
    rows = torch.arange(n, device=device)
    # row k of the skewed costs holds the anti-diagonal k, in the order of the rows
    index = torch.arange(n + m - 1, device=device)[:, None] - rows
    inside = (index >= 0) & (index < m)
    if bandwidth:
        inside = inside & ((index - rows).abs() <= bandwidth)
    skewed = costs.transpose(1, 2).gather(1, index.clamp(0, m - 1).expand(len(costs), -1, -1))
    outside = costs.new_full((), UNREACHABLE)
    previous = outside.expand(len(costs), n)
    current = torch.where(rows == 0, skewed[:, 0], outside)
    bottom = [current[:, -1]]
    for k in range(1, n + m - 1):
        above = F.pad(current[:, :-1], (1, 0), value=UNREACHABLE)
        corner = F.pad(previous[:, :-1], (1, 0), value=UNREACHABLE)
        choices = torch.stack((corner, above, current))
        best = skewed[:, k] - gamma * torch.logsumexp(choices / -gamma, 0)
        previous, current = current, torch.where(inside[k], best, outside)
        bottom.append(current[:, -1])
    last_row = torch.stack(bottom[n - 1 :], dim=1)
    if ends is None:
        return last_row[:, -1]
    return last_row.gather(1, ends.unsqueeze(1)).squeeze(1)

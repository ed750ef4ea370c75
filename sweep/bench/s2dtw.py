"""Row about the alignment loss: all pairs of a batch at once against the recursion cell by cell."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from losses.auxiliary.s2dtw import contrast, similarities
from sweep.bench.measure import Row, UnequalError, interleave

if TYPE_CHECKING:
    from collections.abc import Callable

CLIPS, DIM = 8, 512
GAMMA, THRESHOLD = 0.1, 0.5
GOALS = {8: 1.5, 16: 3.0, 32: 5.0}
MAX_ERROR = 1e-4
INFINITE = 1e10


def forward_loops(costs: np.ndarray, gamma: float) -> np.ndarray:
    """R with its border, ``(pairs, N + 2, M + 2)``, pair by pair and cell by cell."""
    pairs, n, m = costs.shape
    table = np.full((pairs, n + 2, m + 2), INFINITE)
    table[:, 0, 0] = 0.0
    for pair in range(pairs):
        for i in range(1, n + 1):
            for j in range(1, m + 1):
                a = -table[pair, i - 1, j - 1] / gamma
                b = -table[pair, i - 1, j] / gamma
                c = -table[pair, i, j - 1] / gamma
                high = max(a, b, c)
                total = math.exp(a - high) + math.exp(b - high) + math.exp(c - high)
                softmin = -gamma * (math.log(total) + high)
                table[pair, i, j] = costs[pair, i - 1, j - 1] + softmin
    return table


def backward_loops(costs: np.ndarray, table: np.ndarray, gamma: float) -> np.ndarray:
    """Derivative of every value by every cost, ``(pairs, N, M)``."""
    pairs, n, m = costs.shape
    slope = np.zeros((pairs, n + 2, m + 2))
    padded = np.zeros((pairs, n + 2, m + 2))
    padded[:, 1:-1, 1:-1] = costs
    table[:, -1, :] = table[:, :, -1] = -INFINITE
    table[:, -1, -1] = table[:, -2, -2]
    slope[:, -1, -1] = 1.0
    for pair in range(pairs):
        for j in range(m, 0, -1):
            for i in range(n, 0, -1):
                here = table[pair, i, j]
                a = math.exp((table[pair, i + 1, j] - here - padded[pair, i + 1, j]) / gamma)
                b = math.exp((table[pair, i, j + 1] - here - padded[pair, i, j + 1]) / gamma)
                c = math.exp(
                    (table[pair, i + 1, j + 1] - here - padded[pair, i + 1, j + 1]) / gamma
                )
                slope[pair, i, j] = (
                    slope[pair, i + 1, j] * a
                    + slope[pair, i, j + 1] * b
                    + slope[pair, i + 1, j + 1] * c
                )
    return slope[:, 1:-1, 1:-1]


def forward_cells(costs: np.ndarray, gamma: float) -> np.ndarray:
    """The same cell by cell, but all pairs of the batch together, in numpy."""
    pairs, n, m = costs.shape
    table = np.full((n + 2, m + 2, pairs), INFINITE)
    table[0, 0] = 0.0
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            a, b, c = (-table[k] / gamma for k in ((i - 1, j - 1), (i - 1, j), (i, j - 1)))
            high = np.maximum(np.maximum(a, b), c)
            total = np.exp(a - high) + np.exp(b - high) + np.exp(c - high)
            table[i, j] = costs[:, i - 1, j - 1] - gamma * (np.log(total) + high)
    return table.transpose(2, 0, 1)


def backward_cells(costs: np.ndarray, table: np.ndarray, gamma: float) -> np.ndarray:
    """The same cell by cell, but all pairs of the batch together, in numpy."""
    pairs, n, m = costs.shape
    slope, padded = np.zeros((2, n + 2, m + 2, pairs))
    padded[1:-1, 1:-1] = costs.transpose(1, 2, 0)
    table = table.transpose(1, 2, 0).copy()
    table[-1, :] = table[:, -1] = -INFINITE
    table[-1, -1] = table[-2, -2]
    slope[-1, -1] = 1.0
    for j in range(m, 0, -1):
        for i in range(n, 0, -1):
            for k in ((i + 1, j), (i, j + 1), (i + 1, j + 1)):
                slope[i, j] += slope[k] * np.exp((table[k] - table[i, j] - padded[k]) / gamma)
    return slope[1:-1, 1:-1].transpose(2, 0, 1)


def recursion() -> tuple[str, Callable[..., Any], Callable[..., Any]]:
    """The fastest form of the peer that this machine has: compiled loops, else numpy cells."""
    try:
        import numba
    except ImportError:
        return "numpy over the pairs", forward_cells, backward_cells
    compiled = numba.njit
    return "compiled loops (numba)", compiled(forward_loops), compiled(backward_loops)


class _PlainRecursion(torch.autograd.Function):
    """The recursion of the peer behind autograd."""

    @staticmethod
    def forward(ctx: Any, costs: Tensor, forward: Any, backward: Any) -> Tensor:
        array = costs.detach().double().numpy()
        table = forward(array, GAMMA)
        ctx.kept = array, table, backward
        return torch.from_numpy(table[:, -2, -2].copy()).to(costs.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        array, table, backward = ctx.kept
        slope = torch.from_numpy(np.ascontiguousarray(backward(array, table, GAMMA)))
        return grad_outputs[0][:, None, None] * slope.to(grad_outputs[0].dtype), None, None


def plain_loss(video: Tensor, text: Tensor, forward: Any, backward: Any) -> Tensor:
    """The loss as published: features repeated for every pair, positives computed twice."""

    def distance(v: Tensor, t: Tensor) -> Tensor:
        costs = -torch.bmm(v, t.transpose(1, 2))
        pairs, n, m = costs.shape
        padded = F.pad(torch.exp(-costs / GAMMA), (1, 0, 1, 0))
        total = padded[:, 1:, :-1] + padded[:, :-1, 1:] + padded[:, :-1, :-1]
        first = torch.zeros_like(total)
        first[:, 0, 0] = 3.0
        smoothed = costs - GAMMA * torch.log(total + first)
        wide = costs.new_full((pairs, 2 * n + 1, 2 * m + 1), THRESHOLD)
        wide[:, 1::2, 1::2] = smoothed
        return _PlainRecursion.apply(wide, forward, backward)  # type: ignore[no-any-return]

    batch = len(video)
    videos = video.repeat(batch, 1, 1)
    texts = text.repeat_interleave(batch, dim=0)
    logits = -distance(videos, texts).view(batch, batch)
    return (logits.logsumexp(1) + distance(video, text)).mean()


def loss(device: str = "cpu", batch: int = 16) -> Row:
    """Features to loss to gradients of the features, at 8 clips and captions a video."""
    how, forward, backward = recursion()
    rng = torch.Generator().manual_seed(0)
    raw = [torch.randn(batch, CLIPS, DIM, generator=rng).to(device) for _ in range(2)]

    def run(value: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, ...]:
        leaves = [x.clone().requires_grad_() for x in raw]
        found = value(*(F.normalize(x, dim=-1) for x in leaves))
        return (found, *torch.autograd.grad(found, leaves))

    def ours() -> tuple[Tensor, ...]:
        return run(lambda v, t: contrast(similarities(v, t, gamma=GAMMA, threshold=THRESHOLD)))

    def peer() -> tuple[Tensor, ...]:
        return run(lambda v, t: plain_loss(v.cpu(), t.cpu(), forward, backward).to(device))

    errors = [
        float((a - b).detach().norm() / b.detach().norm())
        for a, b in zip(ours(), peer(), strict=True)
    ]
    if max(errors) > MAX_ERROR:
        raise UnequalError(f"S2DTW: loss or gradients differ by {max(errors):.2e} of their norm")
    timing = interleave(ours, peer, device=device, repeats=7)
    return Row(
        name=f"S2DTW loss, B = {batch}",
        peer=f"features repeated for all pairs, cell by cell: {how}",
        goal=GOALS.get(batch),
        error=f"loss and gradients differ by {max(errors):.0e} of their norm",
        note=f"{CLIPS} clips and captions of {DIM} numbers a video, float32",
        **timing,
    )


def loss_8(device: str = "cpu") -> Row:
    """Batch of 8 videos."""
    return loss(device, batch=8)


def loss_32(device: str = "cpu") -> Row:
    """Batch of 32 videos."""
    return loss(device, batch=32)

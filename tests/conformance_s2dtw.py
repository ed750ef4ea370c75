"""Soft-DTW, S2DTW and other distances of sequences against stored numbers."""

from __future__ import annotations

import re

import numpy as np
import torch
from torch import Tensor

from losses.parts import sequence_alignment as alignment
from losses.parts.soft_dtw import soft_dtw

EXACT = {"rtol": 1e-9, "atol": 1e-10}


def _leaf(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.float64)).requires_grad_()


def _cases(names, pattern: str) -> list[str]:
    return sorted({match[0] for name in names if (match := re.match(pattern, name))})


def plain_recursion(costs: np.ndarray, gamma: float, bandwidth: float) -> np.ndarray:
    """R with its border, cell by cell: ``(B, N, M) -> (B, N + 1, M + 1)``."""
    pairs, n, m = costs.shape
    table = np.full((pairs, n + 1, m + 1), np.inf)
    table[:, 0, 0] = 0
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            if 0 < bandwidth < abs(i - j):
                continue
            before = np.stack([table[:, i - 1, j - 1], table[:, i - 1, j], table[:, i, j - 1]])
            low = before.min(0)
            total = np.exp(-(before - low) / gamma).sum(0)
            table[:, i, j] = costs[:, i - 1, j - 1] + low - gamma * np.log(total)
    return table


def check_softdtw(read) -> None:
    """Values and gradients of the recursion, with and without a band."""
    for case in _cases(read.names, r"c\d+_"):
        gamma, band = (float(read.input(f"{case}{name}")) for name in ("gamma", "bandwidth"))
        costs = _leaf(read.input(f"{case}D"))
        value = soft_dtw(costs, gamma, bandwidth=band)
        read.compare(f"{case}value", value, **EXACT)
        (gradient,) = torch.autograd.grad(value, costs, _leaf(read.input(f"{case}grad_out")))
        read.compare(f"{case}grad_D", gradient, **EXACT)
        if f"{case}R" in read.names:
            table = plain_recursion(costs.detach().numpy(), gamma, band)
            table = np.where(np.isinf(table), 1e300, table)
            read.compare(f"{case}R", table, note="plain recursion", **EXACT)


def check_distance(read) -> None:
    """S2DTW: the surrounded costs, the value, the gradients of both sequences."""
    for case in _cases(read.names, r"c\d+_"):
        gamma, threshold = (float(read.input(f"{case}{name}")) for name in ("gamma", "threshold"))
        video, text = (_leaf(read.input(f"{case}{name}")) for name in ("video", "text"))
        costs = -(video @ text.transpose(1, 2))
        surrounded = alignment.surround(alignment.smooth(costs, gamma), threshold)
        read.compare(f"{case}cost", surrounded, **EXACT)
        value = alignment.s2dtw(costs, gamma=gamma, threshold=threshold)
        read.compare(f"{case}value", value, **EXACT)
        grad_out = _leaf(read.input(f"{case}grad_out"))
        gradients = torch.autograd.grad(value, (video, text), grad_out)
        for name, gradient in zip(("video", "text"), gradients, strict=True):
            read.compare(f"{case}grad_{name}", gradient, **EXACT)


def check_distfuncs(read) -> None:
    """Soft-DTW over the two plain distances, and the normalised divergence."""
    costs_of = {"cosine": alignment.cosine_costs, "euclidean": alignment.euclidean_costs}
    for case in _cases(read.names, r"(c\d+|norm)_(cosine|euclidean)_"):
        x, y = (_leaf(read.input(f"{case}{name}")) for name in "xy")
        gamma = float(read.input(f"{case}gamma"))
        distance = case.split("_")[1]
        if case.startswith("norm"):
            value = alignment.divergence(x, y, gamma, distance=distance)
            grad_out = torch.ones_like(value)
        else:
            costs = costs_of[distance](x, y)
            read.compare(f"{case}cost", costs, **EXACT)
            value = soft_dtw(costs, gamma)
            grad_out = _leaf(read.input(f"{case}grad_out"))
        read.compare(f"{case}value", value, **EXACT)
        gradients = torch.autograd.grad(value, (x, y), grad_out)
        for name, gradient in zip("xy", gradients, strict=True):
            read.compare(f"{case}grad_{name}", gradient, **EXACT)


FORMATS = {
    "s2dtw_softdtw": check_softdtw,
    "s2dtw_distance": check_distance,
    "s2dtw_distfuncs": check_distfuncs,
}

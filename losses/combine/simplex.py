"""Two convex problems over the weights of a mean, in plain numbers: few losses, no dependencies.

Both move weight from one loss to another, always between the pair that promises most, by the exact
minimum along that line (Frank-Wolfe with pairwise steps, which converges linearly).
"""

from __future__ import annotations

import math

Matrix = list[list[float]]
STEPS = 1000
TOLERANCE = 1e-12


def smallest_norm(gram: Matrix) -> list[float]:
    """Weights x, at least 0 and of sum 1, of the shortest vector among the means of some vectors.

    Args:
        gram: Inner products of the vectors.
    """
    size = len(gram)
    x = [1.0 / size] * size
    slope = [sum(row) / size for row in gram]  # inner products of the vectors with their mean
    tolerance = TOLERANCE * max(gram[i][i] for i in range(size))
    for _ in range(STEPS):
        to = min(range(size), key=slope.__getitem__)
        out = max((i for i in range(size) if x[i] > 0), key=slope.__getitem__)
        if slope[out] - slope[to] <= tolerance:
            break
        curve = gram[to][to] + gram[out][out] - 2 * gram[to][out]
        _move(x, slope, gram, to, out, (slope[out] - slope[to]) / curve if curve > 0 else math.inf)
    return x


def most_common_gain(gram: Matrix, radius: float) -> list[float]:
    """Weights x, at least 0 and of sum 1, that minimise <m, g_x> + radius |g_x|.

    m is the plain mean of the vectors and g_x their mean under x.

    Args:
        gram: Inner products of the vectors.
        radius: At least 0.
    """
    size = len(gram)
    x = [1.0 / size] * size
    mean = [sum(row) / size for row in gram]
    inner = list(mean)  # inner products of the vectors with g_x
    tolerance = TOLERANCE * max(gram[i][i] for i in range(size))
    for _ in range(STEPS):
        square = sum(x[i] * inner[i] for i in range(size))
        if square <= tolerance:
            break
        length = math.sqrt(square)
        slope = [mean[i] + radius * inner[i] / length for i in range(size)]
        to = min(range(size), key=slope.__getitem__)
        out = max((i for i in range(size) if x[i] > 0), key=slope.__getitem__)
        if slope[out] - slope[to] <= tolerance:
            break
        # along the line: tilt t + radius sqrt(square + 2 first t + curve t^2)
        tilt, first = mean[to] - mean[out], inner[to] - inner[out]
        curve = gram[to][to] + gram[out][out] - 2 * gram[to][out]
        rest = max(0.0, curve * square - first * first)
        bend = radius * radius * curve - tilt * tilt
        step = math.inf
        if bend > 0 and curve > 0:
            step = (-tilt * math.sqrt(rest / bend) - first) / curve
        _move(x, inner, gram, to, out, max(0.0, step))
    return x


def _move(x: list[float], inner: list[float], gram: Matrix, to: int, out: int, step: float) -> None:
    """Weight ``step`` from ``out`` to ``to``, no more than there is; in place."""
    step = min(step, x[out])
    x[to] += step
    x[out] = 0.0 if step == x[out] else x[out] - step
    for i, row in enumerate(gram):
        inner[i] += step * (row[to] - row[out])

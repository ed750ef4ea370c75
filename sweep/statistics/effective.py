"""Effective robustness with an interval: accuracy under shift beyond what clean accuracy predicts.

The line through a pool of models (Taori et al. 2020, arXiv:2007.00644) is fitted to clean
accuracies that carry the error of seeds and clips. Least squares takes them for exact, the line
comes out too flat, and models that are merely better look robust. Here the error is estimated from
the spread between the seeds of a model and taken out of both moments (errors in variables: Fuller
1987, 1.2), whether or not the errors of both accuracies go together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats as scipy_stats

from sweep.statistics.intervals import NAN, Interval, t_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Fewer models than this have no line worth a residual.
FEWEST_MODELS = 6
#: Below this share of clean variance that is not error the slope is a guess.
RELIABLE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveRobustness:
    """Residuals of the models of a pool, in log odds.

    Attributes:
        slope: Of the line, with the error of clean accuracy taken out; NaN if there is none.
        reliability: Share of the variance of clean accuracy between models that is not error.
        residuals: One interval per model, against the line through all of them.
        p: Two-sided, one per model, of a residual of 0; NaN where there is no interval.
        descriptive: Why the intervals may not be judged by; empty where they may.
    """

    slope: float
    reliability: float
    residuals: Sequence[Interval]
    p: Sequence[float]
    descriptive: str


def effective_robustness(clean: np.ndarray, shifted: np.ndarray) -> EffectiveRobustness:
    """Residuals of every model from the line of the others, with errors in clean accuracy.

    Args:
        clean: Log odds (models, seeds) on clean clips.
        shifted: Log odds (models, seeds) under shift, by the same runs.

    Raises:
        ValueError: for arrays of other shapes, or values that are missing.
    """
    x, y = np.asarray(clean, dtype=float), np.asarray(shifted, dtype=float)
    if x.shape != y.shape or x.ndim != 2 or not np.isfinite(x + y).all():
        raise ValueError(
            f"finite log odds (models, seeds) of one shape are needed, given {x.shape}, {y.shape}"
        )
    models, seeds = x.shape
    if models < FEWEST_MODELS or seeds < 2:
        none = [Interval(mean=NAN, low=NAN, high=NAN, n=seeds, method="none")] * models
        return EffectiveRobustness(
            slope=NAN, reliability=NAN, residuals=none, p=[NAN] * models,
            descriptive=f"{FEWEST_MODELS} models with two seeds are needed",
        )  # fmt: skip
    slope, _, reliability = _line(x, y)
    residuals, p = zip(*(_residual(x, y, i) for i in range(models)), strict=True)
    doubt = ""
    if not reliability >= RELIABLE:
        doubt = "clean accuracies differ by little more than their error"
    return EffectiveRobustness(
        slope=slope, reliability=reliability, residuals=residuals, p=p, descriptive=doubt
    )


def _residual(x: np.ndarray, y: np.ndarray, i: int) -> tuple[Interval, float]:
    """Of one model from the line through the others: doubt of its seeds and of the line.

    The error of a run is pooled over the models: two seeds of one model tell too little about it.
    """
    others = np.arange(len(x)) != i
    slope, intercept, reliability = _line(x[others], y[others])
    seeds = x.shape[1]
    mean = float(y[i].mean() - intercept - slope * x[i].mean())
    at = x[others].mean(axis=1)
    left = y[others].mean(axis=1) - intercept - slope * at
    models = at.size
    scatter = float((left**2).sum()) / (models - 2)
    apart = float(((at - at.mean()) ** 2).sum()) * reliability**2
    run = _centred(y - slope * x)
    freedom_runs = (len(x) - 1) * (seeds - 1)
    reach = (x[i].mean() - at.mean()) ** 2
    if not apart > 0:
        return Interval(mean=mean, low=NAN, high=NAN, n=seeds, method="none"), NAN
    parts = [
        (float((run**2).sum()) / freedom_runs / seeds, freedom_runs),
        (scatter * (1 / models + reach / apart), models - 2),
    ]
    variance = sum(part for part, _ in parts)
    if not variance > 0:
        return Interval(mean=mean, low=NAN, high=NAN, n=seeds, method="none"), NAN
    freedom = variance**2 / sum(part**2 / f for part, f in parts)
    half = t_quantile(0.95, freedom) * math.sqrt(variance)
    p = float(2 * scipy_stats.t.sf(abs(mean) / math.sqrt(variance), freedom))
    return Interval(mean=mean, low=mean - half, high=mean + half, n=seeds, method="t"), p


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """Slope, intercept and reliability from (models, seeds), moments less those of the error."""
    models, seeds = x.shape
    at, to = x.mean(axis=1), y.mean(axis=1)
    dx, dy = _centred(x), _centred(y)
    freedom = (models - 1) * (seeds - 1)
    error_xx, error_xy = (dx * dx).sum() / freedom / seeds, (dx * dy).sum() / freedom / seeds
    seen_xx = float(((at - at.mean()) ** 2).sum()) / (models - 1)
    seen_xy = float(((at - at.mean()) * (to - to.mean())).sum()) / (models - 1)
    true_xx = seen_xx - error_xx
    if not true_xx > 0:
        return NAN, NAN, 0.0
    slope = (seen_xy - error_xy) / true_xx
    return slope, float(to.mean() - slope * at.mean()), true_xx / seen_xx


def _centred(values: np.ndarray) -> np.ndarray:
    """Less the means of models and of seeds.

    What a seed does to all models moves the line, not the models about it.
    """
    by_model = values - values.mean(axis=1, keepdims=True)
    return by_model - by_model.mean(axis=0)

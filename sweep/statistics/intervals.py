"""Statistics of ablations: intervals, paired contrasts, multiplicity, attribution, dose-response.

Everything works on plain numbers (numpy in, small frozen dataclasses out) and knows nothing of
records. Seeds are the unit of replication: cells that share a seed share initialisation, data
order and perturbation draws, so contrasts are paired by seed. What cannot be computed (one seed,
no spread) is NaN, never a number that looks like an answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats as scipy_stats

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NAN = float("nan")


#: From this many seeds on an interval of a mean is BCa instead of Student's t.
BCA_FROM = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean with its confidence interval; the bounds are NaN where there is none.

    Attributes:
        mean: In the unit of the data.
        low: Lower bound.
        high: Upper bound.
        n: Number of values.
        method: `t`, `BCa`, `bootstrap`, or `none` (fewer than two values).
    """

    mean: float
    low: float
    high: float
    n: int
    method: str

    @property
    def half(self) -> float:
        """Half of the width."""
        return (self.high - self.low) / 2


def mean_interval(
    values: Iterable[float], *, level: float = 0.95, resamples: int = 9_999, seed: int = 0
) -> Interval:
    """Mean of one value per seed: Student's t, BCa bootstrap from eight values on.

    NaN values are left out. One value has no interval.
    """
    x = finite(values)
    n = x.size
    if n < 2:
        return Interval(mean=float(x[0]) if n else NAN, low=NAN, high=NAN, n=n, method="none")
    mean, sd = float(x.mean()), spread(x)
    if n >= BCA_FROM and sd > 0:
        found = scipy_stats.bootstrap(
            (x,),
            np.mean,
            confidence_level=level,
            n_resamples=resamples,
            method="BCa",
            rng=np.random.default_rng(seed),
        ).confidence_interval
        if math.isfinite(found.low) and math.isfinite(found.high):
            low, high = float(found.low), float(found.high)
            return Interval(mean=mean, low=low, high=high, n=n, method="BCa")
    half = t_quantile(level, n - 1) * sd / math.sqrt(n)
    return Interval(mean=mean, low=mean - half, high=mean + half, n=n, method="t")


def clip_bootstrap(
    treated: Sequence[np.ndarray],
    reference: Sequence[np.ndarray],
    *,
    level: float = 0.95,
    resamples: int = 2_000,
    seed: int = 0,
) -> Interval:
    """Difference of an outcome with the uncertainty of the choice of test clips.

    The cluster is the clip: a resample draws clips, and all conditions of a clip move together.
    The difference is taken within each seed and then averaged over seeds; the same clips are
    drawn for every seed, because every seed was tested on them.

    Args:
        treated: One bool array (seeds, conditions, clips) per clip set.
        reference: The same of the other cell, clips in the same order.
        level: Of the percentile interval.
        resamples: Number of resamples.
        seed: Of the resampling.

    Returns:
        Interval in percentage points; ``n`` counts clips. The outcome is the mean over all
        conditions of all clip sets.
    """
    conditions = sum(array.shape[1] for array in treated)
    rng = np.random.default_rng(seed)
    total = np.zeros(resamples)
    mean, clips = 0.0, 0
    for left, right in zip(treated, reference, strict=True):
        gain = left.astype(float) - right.astype(float)
        per_clip = 100 * gain.mean(axis=0).sum(axis=0) / conditions
        n = per_clip.size
        weights = rng.multinomial(n, np.full(n, 1 / n), size=resamples) / n
        total += weights @ per_clip
        mean += float(per_clip.mean())
        clips += n
    if conditions == 0 or clips == 0:
        return Interval(mean=NAN, low=NAN, high=NAN, n=0, method="none")
    low, high = np.quantile(total, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean=mean, low=float(low), high=float(high), n=clips, method="bootstrap")


def finite(values: Iterable[float]) -> np.ndarray:
    """The finite ones among them, float64."""
    x = np.asarray(list(values) if not isinstance(values, np.ndarray) else values, dtype=float)
    return x[np.isfinite(x)]


def spread(x: np.ndarray) -> float:
    """Sample standard deviation; rounding noise of equal values counts as 0."""
    sd = float(x.std(ddof=1))
    return sd if sd > 1e-12 * max(1.0, float(np.abs(x).max())) else 0.0


def t_quantile(level: float, freedom: int) -> float:
    """Two-sided quantile of Student's t."""
    return float(scipy_stats.t.ppf((1 + level) / 2, freedom))

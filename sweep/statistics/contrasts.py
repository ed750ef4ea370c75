"""Paired comparisons: contrasts, sizes of effects, what could be detected."""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import special
from scipy import stats as scipy_stats

from sweep.statistics.intervals import NAN, finite, spread, t_quantile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: Sign flips and permutations are enumerated up to this number, sampled beyond.
ENUMERATE_UP_TO = 9_999


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """A difference paired by seed, treated minus reference.

    Attributes:
        mean: Mean difference.
        low: Lower bound of the t interval, NaN for fewer than two pairs.
        high: Upper bound.
        n: Number of pairs.
        missing: Seeds of which only one side exists; dropped, never imputed.
        sd: Standard deviation of the differences.
        t_p: Two-sided p of the paired t test.
        sign_flip_p: Two-sided p of the exact sign-flip test; never below 2 / 2**n.
        effect: Hedges' g_z, the mean in standard deviations of the difference, bias-corrected.
        differences: Seed -> difference.
    """

    mean: float
    low: float
    high: float
    n: int
    missing: int
    sd: float
    t_p: float
    sign_flip_p: float
    effect: float
    differences: Mapping[int, float]

    @property
    def half(self) -> float:
        """Half width of the interval."""
        return (self.high - self.low) / 2

    @property
    def resolved(self) -> bool:
        """Whether the interval excludes 0. Equal differences in all seeds resolve nothing."""
        return self.sd > 0 and (self.low > 0 or self.high < 0)

    @property
    def share_improved(self) -> float:
        """Share of the pairs with a positive difference; ties count one half."""
        values = np.fromiter(self.differences.values(), dtype=float)
        return float(np.mean((np.sign(values) + 1) / 2)) if values.size else NAN


def paired_contrast(
    treated: Mapping[int, float], reference: Mapping[int, float], *, level: float = 0.95
) -> Contrast:
    """Contrast of two cells given as seed -> value. A NaN counts as missing."""
    there = {seed for seed, value in treated.items() if math.isfinite(value)}
    here = {seed for seed, value in reference.items() if math.isfinite(value)}
    differences = {seed: treated[seed] - reference[seed] for seed in sorted(there & here)}
    x = np.fromiter(differences.values(), dtype=float)
    n = x.size
    mean = float(x.mean()) if n else NAN
    sd = spread(x) if n > 1 else NAN
    low = high = t_p = NAN
    if n > 1:
        half = t_quantile(level, n - 1) * sd / math.sqrt(n)
        low, high = mean - half, mean + half
        if sd > 0:
            t_p = float(2 * scipy_stats.t.sf(abs(mean) / (sd / math.sqrt(n)), n - 1))
    return Contrast(
        mean=mean,
        low=low,
        high=high,
        n=n,
        missing=len(there ^ here),
        sd=sd,
        t_p=t_p,
        sign_flip_p=sign_flip_p(x),
        effect=hedges_g(x),
        differences=differences,
    )


def sign_flip_p(differences: Iterable[float], *, resamples: int = 9_999, seed: int = 0) -> float:
    """Two-sided p of "the differences are symmetric around 0"; exact while 2**n is small."""
    x = finite(differences)
    n = x.size
    if n == 0:
        return NAN
    observed = abs(x.sum())
    slack = 1e-12 * max(1.0, float(np.abs(x).sum()))
    if 2**n <= ENUMERATE_UP_TO:
        signs = _every_sign(n)
        return float(np.mean(np.abs(signs @ x) >= observed - slack))
    signs = np.random.default_rng(seed).choice((1.0, -1.0), size=(resamples, n))
    return float((1 + np.sum(np.abs(signs @ x) >= observed - slack)) / (1 + resamples))


@functools.cache
def _every_sign(n: int) -> np.ndarray:
    """All rows of n signs, (2**n, n); made once, since a report asks for them a thousand times."""
    return np.array(list(itertools.product((1.0, -1.0), repeat=n)))


def hedges_g(differences: Iterable[float]) -> float:
    """Hedges' g_z with the exact small-sample factor; NaN below three values or without spread."""
    x = finite(differences)
    if x.size < 3 or spread(x) == 0:
        return NAN
    return _hedges_factor(x.size - 1) * float(x.mean()) / spread(x)


def adjust(p_values: Sequence[float], method: Literal["holm", "bh"]) -> list[float]:
    """Adjusted p of a family, in the order given. Undefined (NaN) tests are not in the family."""
    p = np.asarray(p_values, dtype=float)
    adjusted = np.full(p.shape, NAN)
    known = np.flatnonzero(np.isfinite(p))
    if known.size == 0:
        return [NAN] * p.size
    if method == "bh":
        adjusted[known] = scipy_stats.false_discovery_control(p[known])
    else:  # statsmodels takes 50 ms per family for these three lines
        order = known[np.argsort(p[known], kind="stable")]
        scaled = p[order] * np.arange(order.size, 0, -1)
        adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return [float(value) for value in adjusted]


@dataclass(frozen=True, slots=True, kw_only=True)
class RankStability:
    """Kendall's tau between the rankings of the cells in every pair of seeds.

    ``cells`` counts those that ran with two seeds or more.
    """

    tau: float
    lowest: float
    highest: float
    pairs: int
    cells: int


def rank_stability(values: Mapping[str, Mapping[int, float]]) -> RankStability:
    """How alike the seeds rank the cells: mean Kendall's tau-b over the pairs of seeds.

    Args:
        values: Cell -> seed -> outcome. A pair of seeds uses the cells that have both.
    """
    seeds = sorted({seed for row in values.values() for seed in row})
    taus = []
    for one, two in itertools.combinations(seeds, 2):
        rows = [
            (row[one], row[two])
            for row in values.values()
            if math.isfinite(row.get(one, NAN)) and math.isfinite(row.get(two, NAN))
        ]
        if len(rows) >= 3:
            left, right = zip(*rows, strict=True)
            if len(set(left)) > 1 and len(set(right)) > 1:
                taus.append(float(scipy_stats.kendalltau(left, right).statistic))
    return RankStability(
        tau=float(np.mean(taus)) if taus else NAN,
        lowest=min(taus, default=NAN),
        highest=max(taus, default=NAN),
        pairs=len(taus),
        cells=sum(len(row) > 1 for row in values.values()),
    )


def _hedges_factor(freedom: int) -> float:
    """J = Gamma(df/2) / (sqrt(df/2) Gamma((df-1)/2))."""
    log_ratio = special.gammaln(freedom / 2) - special.gammaln((freedom - 1) / 2)
    return math.exp(log_ratio) / math.sqrt(freedom / 2)

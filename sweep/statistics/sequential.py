"""Looks at a sweep while it grows: a paired t test that may be read after every seed.

Adding seeds until an interval excludes 0 finds an effect in everything, sooner or later. The test
here holds its level at every look together: with a Gaussian prior on the effect in standard
deviations and the right Haar prior on the standard deviation, the Bayes factor of the differences
seen so far is a martingale under no effect, whatever the standard deviation (Lai 1976; Perez-Ortiz
et al. 2022, arXiv:2208.07610; Wang and Ramdas 2023, arXiv:2310.03722). By Ville's inequality it
ever reaches 1 / alpha with a probability of at most alpha. Differences are taken as normal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats as scipy_stats

from sweep.statistics.intervals import NAN, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Variance of the prior on the effect in standard deviations of the paired difference. A sweep of 3
#: to 12 seeds is after effects of one and a half to three of them. By simulation 4, 9 and 16 differ
#: by less than half a pair there; below 9 no effect whatever can be found with three pairs.
PRIOR = 9.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the first ``n`` pairs say.

    Attributes:
        n: Number of pairs.
        mean: Mean difference.
        e: Evidence against no effect (e-value); 1 = none.
        p: Anytime-valid p, the inverse of the largest e so far, at most 1: it may be read at any
            look and go into Holm's correction as any p.
        low: Lower bound of the confidence sequence, which covers at all looks together; -inf as
            long as there are too few pairs.
        high: Upper bound.
    """

    n: int
    mean: float
    e: float
    p: float
    low: float
    high: float


def looks(differences: Sequence[float], *, alpha: float = 0.05, prior: float = PRIOR) -> list[Look]:
    """One look after every pair, in the order in which the pairs came.

    Args:
        differences: Paired differences; finite. The order must not depend on their values.
        alpha: Of the confidence sequence. For one of a family of m comparisons give alpha / m.
        prior: Variance of the effect in standard deviations that the test is tuned to.

    Raises:
        ValueError: for a difference that is not finite.
    """
    x = np.asarray(differences, dtype=float)
    if not np.isfinite(x).all():
        raise ValueError("differences: finite numbers are needed, leave missing pairs out")
    found: list[Look] = []
    best, low, high = 1.0, -math.inf, math.inf
    for n in range(1, x.size + 1):
        seen = x[:n]
        mean = float(seen.mean())
        sd = spread(seen) if n > 1 else 0.0
        e = 1.0
        if sd > 0:
            e = e_value(mean * math.sqrt(n) / sd, n, prior=prior)
            half = _radius(n, alpha, prior) * sd / math.sqrt(n)
            low, high = max(low, mean - half), min(high, mean + half)
        best = max(best, e)
        bounds = (low, high) if low <= high else (NAN, NAN)  # differences that have drifted
        found.append(Look(n=n, mean=mean, e=e, p=1 / best, low=bounds[0], high=bounds[1]))
    return found


def over_looks(p_values: Sequence[float], planned: int) -> float:
    """One p for looks whose number was declared before the first: the smallest times that number.

    The plain alternative to `looks` where a study says when it will look (`max_seeds: 12,
    look_every: 2` are six looks): ordinary p of the looks so far, alpha spent in equal parts. It
    finds more than the e-value, which pays for the freedom to look whenever one likes.

    Raises:
        ValueError: for more looks than were planned.
    """
    if len(p_values) > planned:
        raise ValueError(f"{planned} looks were planned, given {len(p_values)}")
    known = [p for p in p_values if math.isfinite(p)]
    return min(1.0, planned * min(known)) if known else NAN


def e_value(t: float, n: int, *, prior: float = PRIOR) -> float:
    """Bayes factor of a t statistic of ``n`` pairs: effect ~ N(0, prior) against none."""
    inflated = 1 + n * prior
    u = t * t / (n - 1)
    log_ratio = math.log1p(u) - math.log1p(u / inflated)
    return math.exp(min(n / 2 * log_ratio - math.log(inflated) / 2, 700.0))


def power(
    pairs: int,
    effect: float,
    sd: float,
    *,
    family: int = 1,
    alpha: float = 0.05,
    prior: float = PRIOR,
) -> float:
    """Chance that `looks` finds a mean difference at its last look, 0..1.

    A lower bound: an earlier look may have found it. Under Holm as in ``detectable.power``.

    Args:
        pairs: Number of pairs; below two nothing is found.
        effect: True mean difference, in the unit of ``sd``.
        sd: Standard deviation of the paired differences, above 0.
        family: Number of tests that are corrected together.
        alpha: Familywise error.
        prior: Of the test.
    """
    if pairs < 2:
        return 0.0
    critical = _radius(pairs, alpha / family, prior)
    if math.isinf(critical):
        return 0.0
    shift = abs(effect) / sd * math.sqrt(pairs)
    return float(np.sum(scipy_stats.nct.sf(critical, pairs - 1, [shift, -shift])))


def _radius(n: int, alpha: float, prior: float) -> float:
    """The |t| at which the e-value reaches 1 / alpha; infinite where it never does."""
    inflated = 1 + n * prior
    needed = (inflated / alpha**2) ** (1 / n)
    if needed >= inflated:
        return math.inf
    return math.sqrt((n - 1) * (needed - 1) / (1 - needed / inflated))

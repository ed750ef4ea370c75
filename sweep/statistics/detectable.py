"""What a comparison could have found: pooled spread, power, smallest effect, pairs to buy."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize
from scipy import stats as scipy_stats

from sweep.statistics.intervals import NAN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sweep.statistics.contrasts import Contrast


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledSpread:
    """Standard deviation of the paired differences, over the comparisons of one outcome.

    Attributes:
        sd: Root of the pooled variance, in the unit of the contrasts.
        upper: Bound that the true value stays below with the confidence asked for.
        freedom: Degrees of freedom that the comparisons have together.
        comparisons: Number of comparisons with a spread.
    """

    sd: float
    upper: float
    freedom: float
    comparisons: int


def pooled_spread(
    contrasts: Iterable[Contrast], *, confidence: float = 0.8, shared: float = 0.5
) -> PooledSpread:
    """Pooled paired spread with its upper bound by chi-square.

    A standard deviation of three seeds is anything between a third and twice the truth, and a
    difference that is called detectable by its median is found less often than promised. The
    bound makes "at least about" true.

    Comparisons that share a cell have correlated differences (``shared``, one half for two cells
    against a third), hence correlated variances (its square), hence fewer degrees of freedom than
    their sum: nu m / (1 + (m - 1) shared^2) of m comparisons with nu each (Satterthwaite 1946).

    Args:
        contrasts: Of one outcome; those without spread are left out.
        confidence: Of the one-sided bound.
        shared: Correlation of the differences of two comparisons, 0..1.
    """
    rows = [(c.sd, c.n - 1) for c in contrasts if c.sd > 0]
    if not rows:
        return PooledSpread(sd=NAN, upper=NAN, freedom=0.0, comparisons=0)
    sd, freedom = np.array(rows).T
    variance = float((sd**2) @ freedom / freedom.sum())
    together = float(freedom.sum()) / (1 + (len(rows) - 1) * shared**2)
    together = max(together, float(freedom.max()))
    bound = variance * together / float(scipy_stats.chi2.ppf(1 - confidence, together))
    return PooledSpread(
        sd=math.sqrt(variance), upper=math.sqrt(bound), freedom=together, comparisons=len(rows)
    )


def power(pairs: int, effect: float, sd: float, *, family: int = 1, alpha: float = 0.05) -> float:
    """Probability that a two-sided paired t test finds a mean difference, 0..1.

    Under Holm the smallest p of a family has to pass alpha / family: the worst case, which is that
    of a single real effect.

    Args:
        pairs: Number of pairs; below two nothing is found.
        effect: Mean difference, in the unit of ``sd``.
        sd: Standard deviation of the paired differences, above 0.
        family: Number of tests that are corrected together.
        alpha: Familywise error.
    """
    if pairs < 2:
        return 0.0
    critical = scipy_stats.t.isf(alpha / (2 * family), pairs - 1)
    shift = abs(effect) / sd * math.sqrt(pairs)
    # both tails as upper ones: the cdf is NaN where it is nearly nothing
    return float(np.sum(scipy_stats.nct.sf(critical, pairs - 1, [shift, -shift])))


def detectable(
    pairs: int, sd: float, *, family: int = 1, wanted: float = 0.8, alpha: float = 0.05
) -> float:
    """Smallest mean difference that is found with the power wanted; NaN for fewer than two pairs.

    With the upper bound of a pooled spread as ``sd`` it is found at least about that often.
    """
    if pairs < 2 or not sd > 0:
        return NAN
    return sd * _detectable_sd(pairs, family, wanted, alpha)


@functools.cache
def _detectable_sd(pairs: int, family: int, wanted: float, alpha: float) -> float:
    """The same in standard deviations of the paired difference."""

    def short(effect: float) -> float:
        return power(pairs, effect, 1.0, family=family, alpha=alpha) - wanted

    reach = 1.0
    while short(reach) < 0:
        reach *= 2
    return float(optimize.brentq(short, 0.0, reach, xtol=1e-6))


def pairs_needed(
    effect: float,
    sd: float,
    *,
    family: int = 1,
    wanted: float = 0.8,
    alpha: float = 0.05,
    most: int = 200,
) -> int | None:
    """Fewest pairs, at least three, with the power wanted; None beyond ``most``."""
    for pairs in range(3, most + 1):
        if power(pairs, effect, sd, family=family, alpha=alpha) >= wanted:
            return pairs
    return None

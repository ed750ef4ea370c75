"""Smallest effect that a number of seeds or of loss sets can resolve (imports nothing heavy)."""

from __future__ import annotations

import math
from statistics import NormalDist

#: Minimum detectable effect of a paired t test (two-sided 5 %, power 80 %) in standard deviations
#: of the paired difference, by number of pairs. A test recomputes the table with statsmodels.
DETECTABLE_SD = {
    2: 11.55, 3: 3.26, 4: 2.13, 5: 1.68, 6: 1.43, 7: 1.27, 8: 1.16, 9: 1.07,
    10: 1.0, 12: 0.89, 15: 0.78, 20: 0.66,
}  # fmt: skip

#: Fewer loss sets than this choose no curve. With 12, AICc takes a third parameter from R^2 = .50
#: on, with 6 from .9987 on.
FEWEST_SETS = 12


def detectable_sd(pairs: int) -> float | None:
    """Entry for the largest tabulated number of pairs not above ``pairs``; None below 2."""
    fitting = [n for n in DETECTABLE_SD if n <= pairs]
    return DETECTABLE_SD[max(fitting)] if fitting else None


def detectable_correlation(n: int, given: int = 0, *, power: float = 0.8) -> float:
    """Smallest true rank correlation that ``n`` loss sets find; NaN where they find none.

    Two-sided 5 %, by Fisher's z with the variance 1.06 / (n - 3 - given) of Spearman's rho
    (Fieller, Hartley and Pearson 1957). Of the outcome as it is measured: with few seeds the
    correlation with what infinite seeds would give has to be larger still.

    Args:
        n: Number of loss sets.
        given: Columns held constant, such as one indicator per loss less one.
        power: Share of the repetitions in which it is found.
    """
    freedom = n - 3 - given
    if freedom < 1:
        return math.nan
    reach = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(power)
    return math.tanh(reach * math.sqrt(1.06 / freedom))

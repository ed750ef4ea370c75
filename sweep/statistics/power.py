"""Smallest effect that a number of seeds can resolve (imports nothing heavy)."""

from __future__ import annotations

#: Minimum detectable effect of a paired t test (two-sided 5 %, power 80 %) in standard deviations
#: of the paired difference, by number of pairs. A test recomputes the table with statsmodels.
DETECTABLE_SD = {
    2: 11.55, 3: 3.26, 4: 2.13, 5: 1.68, 6: 1.43, 7: 1.27, 8: 1.16, 9: 1.07,
    10: 1.0, 12: 0.89, 15: 0.78, 20: 0.66,
}  # fmt: skip


def detectable_sd(pairs: int) -> float | None:
    """Entry for the largest tabulated number of pairs not above ``pairs``; None below 2."""
    fitting = [n for n in DETECTABLE_SD if n <= pairs]
    return DETECTABLE_SD[max(fitting)] if fitting else None

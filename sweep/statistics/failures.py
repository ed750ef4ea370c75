"""Runs that did not train: how many, whether one side has more, and what that does to contrasts.

A run that never leaves its plateau is some forty points below one that does. Two cells of which one
fails in 15 % of its runs differ in mean accuracy without any effect on runs that train, and the
power of a t test falls to a third. So the share of failures is an outcome of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scipy import stats as scipy_stats

from sweep.statistics.contrasts import Contrast, paired_contrast
from sweep.statistics.intervals import NAN

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRate:
    """Share of runs that did not train.

    Attributes:
        failed: Number of them.
        runs: Of so many.
        low: Lower bound of the exact interval, 0..1; NaN of no runs.
        high: Upper bound.
    """

    failed: int
    runs: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """Their share, 0..1."""
        return self.failed / self.runs if self.runs else NAN


def failure_rate(failed: int, runs: int, *, level: float = 0.95) -> FailureRate:
    """Share with its exact interval (Clopper and Pearson 1934), which covers at least ``level``.

    Raises:
        ValueError: for more failures than runs, or a negative number.
    """
    if not 0 <= failed <= runs:
        raise ValueError(f"failures: 0 to {runs} (the runs), given {failed}")
    if runs == 0:
        return FailureRate(failed=0, runs=0, low=NAN, high=NAN)
    tail = (1 - level) / 2
    return FailureRate(
        failed=failed,
        runs=runs,
        low=float(scipy_stats.beta.ppf(tail, failed, runs - failed + 1)) if failed else 0.0,
        high=float(scipy_stats.beta.isf(tail, failed + 1, runs - failed)) if failed < runs else 1.0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureContrast:
    """Failures of two cells; ``p`` is two-sided, and 1 where neither failed."""

    treated: FailureRate
    reference: FailureRate
    p: float


def failure_contrast(treated: Mapping[int, bool], reference: Mapping[int, bool]) -> FailureContrast:
    """Whether one of two cells fails more often: Fisher's exact test.

    Exact where the runs of a seed fail independently, conservative where a seed fails in both. The
    paired alternative (McNemar) cannot reach 5 % with fewer than six seeds that differ.

    Args:
        treated: Seed -> whether the run failed.
        reference: The same of the other cell.
    """
    rates = [failure_rate(sum(rows.values()), len(rows)) for rows in (treated, reference)]
    if not all(rate.runs for rate in rates):
        return FailureContrast(treated=rates[0], reference=rates[1], p=NAN)
    table = [[rate.failed, rate.runs - rate.failed] for rate in rates]
    p = float(scipy_stats.fisher_exact(table).pvalue)
    return FailureContrast(treated=rates[0], reference=rates[1], p=min(p, 1.0))


def among_trained(contrast: Contrast, failed: Collection[int]) -> Contrast | None:
    """The contrast over the seeds of which both sides trained; None where all did.

    Args:
        contrast: Over all pairs.
        failed: Seeds of which either side did not train.
    """
    kept = {s: d for s, d in contrast.differences.items() if s not in failed}
    if len(kept) == contrast.n:
        return None
    return paired_contrast(kept, dict.fromkeys(kept, 0.0))

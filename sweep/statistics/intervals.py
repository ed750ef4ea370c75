"""Statistics of ablations: intervals, paired contrasts, multiplicity, attribution, dose-response.

Everything works on plain numbers (numpy in, small frozen dataclasses out) and knows nothing of
records. Seeds are the unit of replication: cells that share a seed share initialisation, data
order and perturbation draws, so contrasts are paired by seed. What cannot be computed (one seed,
no spread) is NaN, never a number that looks like an answer.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats as scipy_stats

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NAN = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean with its confidence interval; the bounds are NaN where there is none.

    Attributes:
        mean: In the unit of the data.
        low: Lower bound.
        high: Upper bound.
        n: Number of values.
        method: `t`, `bootstrap`, or `none` (fewer than two values).
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


def mean_interval(values: Iterable[float], *, level: float = 0.95) -> Interval:
    """Mean of one value per seed with the interval of Student's t, whatever their number.

    The BCa bootstrap covers less: 90 % at eight values, where t has 95 %. NaN values are left out.
    One value has no interval.
    """
    x = finite(values)
    n = x.size
    if n < 2:
        return Interval(mean=float(x[0]) if n else NAN, low=NAN, high=NAN, n=n, method="none")
    mean = float(x.mean())
    half = t_quantile(level, n - 1) * spread(x) / math.sqrt(n)
    return Interval(mean=mean, low=mean - half, high=mean + half, n=n, method="t")


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossedInterval:
    """A mean over two crossed factors, both of which stand for more than was seen.

    Attributes:
        mean: In the unit of the data.
        low: Lower bound of the interval over both; NaN with fewer than two rows.
        high: Upper bound.
        p: Two-sided, of a mean of 0.
        freedom: Degrees of freedom of the variance over both, after Satterthwaite.
        rows: The same mean with doubt about the rows alone (seeds); t.
        columns: The same mean with doubt about the columns alone (clips, orders); t.
    """

    mean: float
    low: float
    high: float
    p: float
    freedom: float
    rows: Interval
    columns: Interval

    @property
    def half(self) -> float:
        """Half of the width."""
        return (self.high - self.low) / 2


def crossed_interval(tables: Sequence[np.ndarray], *, level: float = 0.95) -> CrossedInterval:
    """Sum of the means of tables (rows, columns) that share their rows.

    Two-way random effects without replicates: the mean of a table has the variance
    (MS_rows + MS_columns - MS_rest) / (rows x columns), because the rest is in both of the first
    two (Searle, Casella and McCulloch 1992, 4.6; Owen 2007 for data crossed like these). Its
    degrees of freedom are Satterthwaite's (1946). The interval is never narrower than that over
    the rows alone. Tables of other columns (clips of another set) add up: their columns are
    independent, their rows are the same.

    Args:
        tables: One (rows, columns) array each, e.g. seeds x clips of a paired difference.
        level: Of the interval.

    Raises:
        ValueError: for tables of other numbers of rows, or of fewer than two columns.
    """
    if not tables or len({len(table) for table in tables}) > 1:
        raise ValueError(
            f"tables with the same rows are needed, given {[len(table) for table in tables]} rows"
        )
    if min(table.shape[1] for table in tables) < 2:
        raise ValueError("every table needs two columns")
    rows = len(tables[0])
    by_row = np.sum([table.mean(axis=1) for table in tables], axis=0)
    mean = float(by_row.mean())
    means = [table.mean(axis=0) for table in tables]
    parts = [(float(m.var(ddof=1)) / m.size, m.size - 1) for m in means]
    of_columns, count = sum(variance for variance, _ in parts), sum(m.size for m in means)
    over_columns = _interval(mean, of_columns, _satterthwaite(parts), count, level)
    if rows < 2:
        alone = Interval(mean=mean, low=NAN, high=NAN, n=rows, method="none")
        return CrossedInterval(
            mean=mean, low=NAN, high=NAN, p=NAN, freedom=NAN, rows=alone, columns=over_columns
        )
    of_rows = float(by_row.var(ddof=1)) / rows
    rest = []
    for table, column in zip(tables, means, strict=True):
        left = table - column - table.mean(axis=1, keepdims=True) + column.mean()
        freedom = (rows - 1) * (column.size - 1)
        rest.append((float((left**2).sum()) / freedom / table.size, freedom))
    variance = of_rows + of_columns - sum(part for part, _ in rest)
    # an estimate below either part is chance: rows and columns cannot take doubt from each other
    variance = max(variance, of_rows, of_columns)
    if variance < (1e-12 * max(1.0, abs(mean))) ** 2:
        variance = of_rows = 0.0  # rounding noise of equal values
    freedom = _satterthwaite([(of_rows, rows - 1), *parts, *rest], variance)
    over_rows = _interval(mean, of_rows, rows - 1, rows, level)
    both = _interval(mean, variance, freedom, rows, level)
    # two or three rows give the approximation too many degrees of freedom where they dominate;
    # doubt about both is not less than about the rows alone
    half = max(both.half, over_rows.half)
    p = max(_p_of_mean(mean, variance, freedom), _p_of_mean(mean, of_rows, rows - 1))
    return CrossedInterval(
        mean=mean,
        low=mean - half,
        high=mean + half,
        p=p if variance > 0 else NAN,
        freedom=freedom,
        rows=over_rows,
        columns=over_columns,
    )


def seeds_and_clips(
    treated: Sequence[np.ndarray], reference: Sequence[np.ndarray], *, level: float = 0.95
) -> CrossedInterval:
    """Paired difference of an outcome with doubt about seeds and test clips at once.

    Args:
        treated: One bool array (seeds, conditions, clips) per clip set.
        reference: The same of the other cell: same seeds, same clips in the same order.
        level: Of the interval.

    Returns:
        Percentage points; ``rows`` are the seeds alone (the paired t interval), ``columns`` the
        clips alone. The outcome is the mean over all conditions of all clip sets.
    """
    conditions = sum(array.shape[1] for array in treated)
    if conditions == 0:
        none = Interval(mean=NAN, low=NAN, high=NAN, n=0, method="none")
        return CrossedInterval(
            mean=NAN, low=NAN, high=NAN, p=NAN, freedom=NAN, rows=none, columns=none
        )
    gains = [
        100 * (left.astype(float) - right.astype(float)).sum(axis=1) / conditions
        for left, right in zip(treated, reference, strict=True)
        if left.shape[1]
    ]
    return crossed_interval(gains, level=level)


def _satterthwaite(parts: Sequence[tuple[float, int]], total: float | None = None) -> float:
    """Degrees of freedom of a sum of variances with their own degrees of freedom."""
    whole = sum(variance for variance, _ in parts) if total is None else total
    doubt = sum(variance**2 / freedom for variance, freedom in parts)
    fewest = min(freedom for _, freedom in parts)
    return max(whole**2 / doubt, float(fewest)) if doubt > 0 else float(fewest)


def _p_of_mean(mean: float, variance: float, freedom: float) -> float:
    """Two-sided, of a mean of 0; 0 where no variance was seen beside it."""
    if variance <= 0:
        return 0.0
    return float(2 * scipy_stats.t.sf(abs(mean) / math.sqrt(variance), freedom))


def _interval(mean: float, variance: float, freedom: float, n: int, level: float) -> Interval:
    half = t_quantile(level, freedom) * math.sqrt(variance)
    return Interval(mean=mean, low=mean - half, high=mean + half, n=n, method="t")


def finite(values: Iterable[float]) -> np.ndarray:
    """The finite ones among them, float64."""
    x = np.asarray(list(values) if not isinstance(values, np.ndarray) else values, dtype=float)
    return x[np.isfinite(x)]


def spread(x: np.ndarray) -> float:
    """Sample standard deviation; rounding noise of equal values counts as 0."""
    sd = float(x.std(ddof=1))
    return sd if sd > 1e-12 * max(1.0, float(np.abs(x).max())) else 0.0


@functools.lru_cache(maxsize=1024)
def t_quantile(level: float, freedom: float) -> float:
    """Two-sided quantile of Student's t."""
    return float(scipy_stats.t.ppf((1 + level) / 2, freedom))

"""Shapley values from sampled orders, with the doubt of the sample and of the seeds kept apart.

The exact values of a factorial and KernelSHAP for any set of cells are in ``stats``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats as scipy_stats

from sweep.stats import Interval, mean_interval

Order = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SampledShapley:
    """Shapley values of every loss from antithetic pairs of orders.

    Attributes:
        over_orders: Mean over the pairs; t interval with (pairs - 1) degrees of freedom: doubt
            about the orders that were not drawn, at the mean of the seeds.
        over_seeds: The same mean with an interval over seeds, the drawn orders kept.
        over_both: The same mean with a percentile bootstrap over seeds and pairs at once.
        per_pair: Loss -> one value per pair.
        per_seed: Loss -> one value per seed.
        dropped: Pairs left out because a cell of theirs has no finished seed.
        gain: v(all) - v(none) over the same seeds, which the values sum to.
    """

    over_orders: Mapping[str, Interval]
    over_seeds: Mapping[str, Interval]
    over_both: Mapping[str, Interval]
    per_pair: Mapping[str, tuple[float, ...]]
    per_seed: Mapping[str, tuple[float, ...]]
    dropped: int
    gain: float


def sampled_shapley(
    values: Mapping[frozenset[str], Mapping[int, float]],
    pairs: Sequence[tuple[Order, Order]],
    *,
    resamples: int = 4_000,
    seed: int = 0,
) -> SampledShapley:
    """Mean marginal contribution of each loss over pairs of orders (an order and its reverse).

    Seeds that lack a cell of a kept pair are left out, so that all marginals are paired by seed.

    Args:
        values: Loss set -> seed -> outcome.
        pairs: The drawn orders; all of the same losses.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        ValueError: if no pair has all its cells in a common seed.
    """
    finite = {
        subset: {s: v for s, v in row.items() if math.isfinite(v)} for subset, row in values.items()
    }
    kept = [pair for pair in pairs if all(finite.get(cell) for cell in _cells(pair))]
    needed = {cell for pair in kept for cell in _cells(pair)}
    seeds = sorted(set.intersection(*(set(finite[cell]) for cell in needed))) if needed else []
    if not seeds:
        raise ValueError(f"none of {len(pairs)} pairs of orders has all its cells in one seed")
    names = sorted(kept[0][0])
    gained = np.zeros((len(kept), len(seeds), len(names)))
    for i, pair in enumerate(kept):
        for order in pair:
            for place, name in enumerate(order):
                before, after = frozenset(order[:place]), frozenset(order[: place + 1])
                step = [finite[after][s] - finite[before][s] for s in seeds]
                gained[i, :, names.index(name)] += np.array(step) / len(pair)
    by_pair, by_seed = gained.mean(axis=1), gained.mean(axis=0)
    total = [finite[frozenset(names)][s] - finite[frozenset()][s] for s in seeds]
    lows, highs = _bootstrap(gained, resamples, seed)
    mean = by_pair.mean(axis=0)
    return SampledShapley(
        over_orders={name: _t_interval(by_pair[:, k]) for k, name in enumerate(names)},
        over_seeds={name: mean_interval(by_seed[:, k]) for k, name in enumerate(names)},
        over_both={
            name: Interval(
                mean=float(mean[k]),
                low=float(lows[k]),
                high=float(highs[k]),
                n=len(kept) * len(seeds),
                method="bootstrap",
            )
            for k, name in enumerate(names)
        },
        per_pair={name: tuple(map(float, by_pair[:, k])) for k, name in enumerate(names)},
        per_seed={name: tuple(map(float, by_seed[:, k])) for k, name in enumerate(names)},
        dropped=len(pairs) - len(kept),
        gain=float(np.mean(total)),
    )


def _cells(pair: tuple[Order, Order]) -> list[frozenset[str]]:
    """Every prefix of both orders."""
    return [frozenset(order[:size]) for order in pair for size in range(len(order) + 1)]


def _bootstrap(gained: np.ndarray, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Percentile bounds per loss when pairs and seeds are both drawn anew; gained is (M, S, K)."""
    rng = np.random.default_rng(seed)
    shares = [
        rng.multinomial(count, np.full(count, 1 / count), size=resamples) / count
        for count in gained.shape[:2]
    ]
    drawn = np.einsum("bm,bs,msk->bk", *shares, gained, optimize=True)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return low, high


def _t_interval(x: np.ndarray) -> Interval:
    """95 % t interval of a mean; equal values, as two losses have them, leave no doubt."""
    n, mean = x.size, float(x.mean())
    if n < 2:
        return Interval(mean=mean, low=math.nan, high=math.nan, n=n, method="none")
    half = float(scipy_stats.t.ppf(0.975, n - 1) * x.std(ddof=1) / math.sqrt(n))
    return Interval(mean=mean, low=mean - half, high=mean + half, n=n, method="t")

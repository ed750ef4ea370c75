"""Shapley values, from all sets, from weighted sets, from sampled orders."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats as scipy_stats

from sweep.statistics.intervals import (
    NAN,
    CrossedInterval,
    Interval,
    crossed_interval,
    mean_interval,
)

Order = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SampledShapley:
    """Shapley values of every loss from antithetic pairs of orders.

    Attributes:
        over_orders: Mean over the pairs; t interval with (pairs - 1) degrees of freedom: doubt
            about the orders that were not drawn, at the mean of the seeds.
        over_seeds: The same mean with an interval over seeds, the drawn orders kept.
        joint: The same mean with a t interval over seeds and pairs at once: the one to judge by,
            corrected over losses and outcomes. The intervals over seeds or orders alone cover 59
            to 90 %. NaN with one seed or pair.
        per_pair: Loss -> one value per pair.
        per_seed: Loss -> one value per seed.
        dropped: Pairs left out because a cell of theirs has no finished seed.
        gain: v(all) - v(none) over the same seeds, which the values sum to.
    """

    over_orders: Mapping[str, Interval]
    over_seeds: Mapping[str, Interval]
    joint: Mapping[str, CrossedInterval]
    per_pair: Mapping[str, tuple[float, ...]]
    per_seed: Mapping[str, tuple[float, ...]]
    dropped: int
    gain: float


def sampled_shapley(
    values: Mapping[frozenset[str], Mapping[int, float]],
    pairs: Sequence[tuple[Order, Order]],
) -> SampledShapley:
    """Mean marginal contribution of each loss over pairs of orders (an order and its reverse).

    Seeds that lack a cell of a kept pair are left out, so that all marginals are paired by seed.

    Args:
        values: Loss set -> seed -> outcome.
        pairs: The drawn orders; all of the same losses.

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
    return SampledShapley(
        over_orders={name: _t_interval(by_pair[:, k]) for k, name in enumerate(names)},
        over_seeds={name: mean_interval(by_seed[:, k]) for k, name in enumerate(names)},
        joint={name: _joint(gained[:, :, k].T) for k, name in enumerate(names)},
        per_pair={name: tuple(map(float, by_pair[:, k])) for k, name in enumerate(names)},
        per_seed={name: tuple(map(float, by_seed[:, k])) for k, name in enumerate(names)},
        dropped=len(pairs) - len(kept),
        gain=float(np.mean(total)),
    )


def _cells(pair: tuple[Order, Order]) -> list[frozenset[str]]:
    """Every prefix of both orders."""
    return [frozenset(order[:size]) for order in pair for size in range(len(order) + 1)]


def _joint(table: np.ndarray) -> CrossedInterval:
    """Interval of a mean over (seeds, pairs); a single pair has doubt about seeds alone."""
    if table.shape[1] > 1:
        return crossed_interval([table])
    mean = float(table.mean())
    none = Interval(mean=mean, low=NAN, high=NAN, n=table.size, method="none")
    return CrossedInterval(
        mean=mean, low=NAN, high=NAN, p=NAN, freedom=NAN,
        rows=mean_interval(table[:, 0]), columns=none,
    )  # fmt: skip


def _t_interval(x: np.ndarray) -> Interval:
    """95 % t interval of a mean; equal values, as two losses have them, leave no doubt."""
    n, mean = x.size, float(x.mean())
    if n < 2:
        return Interval(mean=mean, low=math.nan, high=math.nan, n=n, method="none")
    half = float(scipy_stats.t.ppf(0.975, n - 1) * x.std(ddof=1) / math.sqrt(n))
    return Interval(mean=mean, low=mean - half, high=mean + half, n=n, method="t")


Values = Mapping[frozenset[str], float]


def shapley(values: Values, players: Sequence[str]) -> dict[str, float]:
    """Exact Shapley values of a full factorial: their sum is v(all) - v(none).

    Args:
        values: Loss set -> outcome, all 2**K sets.
        players: The K losses.

    Raises:
        ValueError: if a set is missing.
    """
    names = list(players)
    sets = [
        frozenset(subset)
        for size in range(len(names) + 1)
        for subset in itertools.combinations(names, size)
    ]
    absent = [subset for subset in sets if not math.isfinite(values.get(subset, NAN))]
    if absent:
        shown = ", ".join("+".join(sorted(subset)) or "none" for subset in absent[:3])
        raise ValueError(f"the factorial lacks {len(absent)} of {len(sets)} sets: {shown}")
    total = len(names)
    share = {
        size: math.factorial(size) * math.factorial(total - size - 1) / math.factorial(total)
        for size in range(total)
    }
    return {
        name: sum(
            share[len(subset)] * (values[subset | {name}] - values[subset])
            for subset in sets
            if name not in subset
        )
        for name in names
    }


def kernel_shap(values: Values, players: Sequence[str]) -> dict[str, float]:
    """Shapley values by weighted least squares from whatever sets exist (KernelSHAP).

    A set of size s has the weight (K-1) / (C(K,s) s (K-s)); the sum is held at v(all) - v(none).
    Equal to ``shapley`` on a full factorial.

    Raises:
        ValueError: if the empty or the full set is missing or the sets do not determine all
            values.
    """
    names = list(players)
    total = len(names)
    known = {subset: value for subset, value in values.items() if math.isfinite(value)}
    empty, full = frozenset[str](), frozenset(names)
    if empty not in known or full not in known:
        raise ValueError("KernelSHAP needs the empty and the full set")
    gain = known[full] - known[empty]
    if total == 1:
        return {names[0]: gain}
    inner = [s for s in known if s < full and s]
    member = np.array([[float(n in s) for n in names] for s in inner]).reshape(len(inner), total)
    sizes = member.sum(axis=1)
    weight = np.array([(total - 1) / (math.comb(total, int(s)) * s * (total - s)) for s in sizes])
    # the sum is fixed: substitute the last value, then solve for the others
    design = member[:, :-1] - member[:, -1:]
    target = np.array([known[s] - known[empty] for s in inner]) - member[:, -1] * gain
    if np.linalg.matrix_rank(design) < total - 1:
        raise ValueError(f"{len(inner)} loss sets do not determine {total} Shapley values")
    root = np.sqrt(weight)
    first = np.linalg.lstsq(design * root[:, None], target * root, rcond=None)[0]
    found = [*first, gain - first.sum()]
    return {name: float(value) for name, value in zip(names, found, strict=True)}


def per_seed(
    values: Mapping[frozenset[str], Mapping[int, float]],
    players: Sequence[str],
    method: Callable[[Values, Sequence[str]], dict[str, float]],
) -> dict[str, Interval]:
    """Shapley values with an interval over seeds: attribution in each seed, then their mean."""
    found = shares_by_seed(values, players, method)
    return {name: mean_interval(row.values()) for name, row in found.items()}


def shares_by_seed(
    values: Mapping[frozenset[str], Mapping[int, float]],
    players: Sequence[str],
    method: Callable[[Values, Sequence[str]], dict[str, float]],
) -> dict[str, dict[int, float]]:
    """Player -> seed -> Shapley value; seeds whose cells do not suffice are left out."""
    seeds = sorted({seed for row in values.values() for seed in row})
    found: dict[str, dict[int, float]] = {name: {} for name in players}
    for seed in seeds:
        try:
            shares = method({s: row.get(seed, NAN) for s, row in values.items()}, players)
        except ValueError:
            continue
        for name, value in shares.items():
            found[name][seed] = value
    return found

"""Shapley values by sampling, against the exact ones."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sweep.cells.designs import permutations
from sweep.settings.design import DesignSettings
from sweep.statistics.shapley import kernel_shap, sampled_shapley, shapley

NAMES = ("a", "b", "c", "d", "e")


def game(seeds=(1, 2, 3), names=NAMES, noise=1.0, rng_seed=0):
    """Random outcome of every subset and seed, with interactions of all orders."""
    rng = np.random.default_rng(rng_seed)
    subsets = [
        frozenset(s) for k in range(len(names) + 1) for s in itertools.combinations(names, k)
    ]
    base = {s: 3 * len(s) + rng.normal(0, 2) for s in subsets}
    return {s: {seed: base[s] + rng.normal(0, noise) for seed in seeds} for s in subsets}


def seed_mean(values):
    return {s: float(np.mean([*row.values()])) for s, row in values.items()}


def drawn(pairs, seed=0, names=NAMES):
    return permutations.orders(names, DesignSettings(permutations=pairs, seed=seed))


@pytest.mark.parametrize("seed", range(5))
def test_values_sum_to_the_whole_gain(seed):
    values = game(rng_seed=seed)
    found = sampled_shapley(values, drawn(8, seed))
    mean = seed_mean(values)
    gain = mean[frozenset(NAMES)] - mean[frozenset()]
    for intervals in (found.over_orders, found.over_seeds, found.joint):
        assert sum(i.mean for i in intervals.values()) == pytest.approx(gain, abs=1e-9)
    assert found.gain == pytest.approx(gain, abs=1e-9)


def test_all_orders_give_the_exact_values():
    names = NAMES[:4]
    values = game(names=names)
    orders = list(itertools.permutations(names))
    found = sampled_shapley(values, [(o, o[::-1]) for o in orders])
    exact = shapley(seed_mean(values), names)
    kernel = kernel_shap(seed_mean(values), names)
    for name in names:
        assert found.over_orders[name].mean == pytest.approx(exact[name], abs=1e-9)
        assert kernel[name] == pytest.approx(exact[name], abs=1e-9)


def test_intervals_over_orders_cover_the_exact_value():
    values = game()
    exact = shapley(seed_mean(values), NAMES)
    inside = [
        i.low <= exact[name] <= i.high
        for seed in range(80)
        for name, i in sampled_shapley(values, drawn(8, seed)).over_orders.items()
    ]
    # 400 intervals of nominally 95 %, five to a draw
    assert 0.90 <= np.mean(inside) <= 0.99


def test_an_additive_game_leaves_doubt_about_seeds_only():
    rng = np.random.default_rng(4)
    worth = {
        seed: dict(zip(NAMES, rng.normal(2, 1, len(NAMES)), strict=True)) for seed in (1, 2, 3)
    }
    values = {s: {seed: sum(worth[seed][n] for n in s) for seed in worth} for s in game()}
    found = sampled_shapley(values, drawn(6))
    for name in NAMES:
        assert found.over_orders[name].half == pytest.approx(0, abs=1e-9)
        assert found.over_seeds[name].half > 0.05
        per_seed = [worth[seed][name] for seed in worth]
        assert found.per_seed[name] == pytest.approx(per_seed)
        assert found.joint[name].low <= found.over_seeds[name].low + 1e-9
        assert found.joint[name].high >= found.over_seeds[name].high - 1e-9


def test_missing_cells_cost_their_seed_or_their_pair_and_never_the_sum():
    values = game()
    orders = drawn(6)
    lost = frozenset(orders[2][0][:2])
    del values[lost][2]
    found = sampled_shapley(values, orders)
    assert found.dropped == 0
    assert all(i.n == 2 for i in found.over_seeds.values())
    values[lost].clear()
    found = sampled_shapley(values, orders)
    assert found.dropped >= 1
    assert sum(i.mean for i in found.over_orders.values()) == pytest.approx(found.gain, abs=1e-9)
    values[frozenset()].clear()
    with pytest.raises(ValueError, match="none of 6 pairs"):
        sampled_shapley(values, orders)


def test_the_joint_interval_covers_where_its_parts_do_not():
    rng = np.random.default_rng(6)
    names = NAMES[:4]
    inside, orders, seeds = [], [], []
    for draw in range(60):
        base = seed_mean(game(names=names, noise=0.0, rng_seed=draw))
        values = {s: {i: base[s] + rng.normal(0, 1.5) for i in range(5)} for s in base}
        exact = shapley(base, names)
        found = sampled_shapley(values, drawn(6, draw, names))
        for name in names:
            for hits, interval in (
                (inside, found.joint[name]),
                (orders, found.over_orders[name]),
                (seeds, found.over_seeds[name]),
            ):
                hits.append(interval.low <= exact[name] <= interval.high)
    assert np.mean(inside) >= 0.92  # 240 intervals of nominally 95 %, four to a draw
    assert np.mean(orders) < np.mean(inside)
    assert np.mean(seeds) < np.mean(inside)


def test_joint_intervals_go_through_one_correction():
    values = game(noise=0.1)
    found = sampled_shapley(values, drawn(8))
    for name in NAMES:
        joint = found.joint[name]
        assert joint.mean == pytest.approx(found.over_seeds[name].mean)
        assert (joint.p < 0.05) == (joint.low > 0 or joint.high < 0)
    one_seed = sampled_shapley(game(seeds=(1,)), drawn(8))
    assert np.isnan(one_seed.joint["a"].p)
    one_pair = sampled_shapley(values, drawn(8)[:1])
    assert np.isnan(one_pair.joint["a"].low)

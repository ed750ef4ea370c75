"""Races over paired seeds: the best is kept about as often as without, for fewer runs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sweep.statistics.racing import LEVEL, is_clearly_worse, worse_p
from tests.statistics.simulate import bound, noise

SEEDS, PROPOSALS = 6, 24


def race(rng, spread, *, races, kind="normal"):
    """A search in miniature: true values of the best and of the winner, runs, whether it is kept.

    Proposals differ by ``spread`` standard deviations of a run; a seed moves all of them alike.
    """
    true = spread * rng.normal(size=PROPOSALS)
    x = true[:, None] + noise(rng, kind, (PROPOSALS, SEEDS)) + rng.normal(size=SEEDS)
    best, runs, kept = None, 0, {}
    for i in range(PROPOSALS):
        for k in range(1, SEEDS + 1):
            runs += 1
            mine = dict(enumerate(x[i, :k]))
            looks = races and best is not None and k < SEEDS
            if looks and is_clearly_worse(mine, dict(enumerate(x[best])), SEEDS):
                break
        else:
            kept[i] = x[i].mean()
            if best is None or kept[i] > kept[best]:
                best = i
    top = int(true.argmax())
    return {"kept": top in kept, "regret": true[top] - true[best], "runs": runs}


def rates(spread, *, races=True, kind="normal", count=150, seed=3):
    rng = np.random.default_rng(seed)
    rows = [race(rng, spread, races=races, kind=kind) for _ in range(count)]
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def test_the_test_is_a_one_sided_paired_t():
    mine, best = {0: 1.0, 1: 2.0, 2: 0.5, 9: 7.0}, {0: 3.0, 1: 4.5, 2: 2.0, 5: 1.0}
    from scipy import stats as scipy_stats

    expected = scipy_stats.ttest_rel([1, 2, 0.5], [3, 4.5, 2], alternative="less").pvalue
    assert worse_p(mine, best) == pytest.approx(expected)
    assert worse_p(best, mine) == pytest.approx(1 - expected)
    assert math.isnan(worse_p({0: 1.0}, {0: 3.0}))
    assert not is_clearly_worse({0: 1.0}, {0: 3.0}, SEEDS)
    assert not is_clearly_worse({0: 1.0, 1: 1.0}, {0: 3.0, 1: 3.0}, SEEDS)  # no spread, no test


def test_equals_are_seldom_dropped():
    rng = np.random.default_rng(1)
    dropped = 0
    for _ in range(1000):
        x = rng.normal(size=(2, SEEDS))
        whole = dict(enumerate(x[1]))
        dropped += any(
            is_clearly_worse(dict(enumerate(x[0, :k])), whole, SEEDS) for k in range(2, SEEDS)
        )
    assert dropped / 1000 <= LEVEL + bound(LEVEL, 1000)


def test_a_race_keeps_the_best_and_saves_runs():
    found, whole = rates(3.0), rates(3.0, races=False)
    assert found["kept"] >= 0.95
    assert found["runs"] < 0.75 * whole["runs"]
    assert found["regret"] <= whole["regret"] + 0.1


@pytest.mark.calibrate
@pytest.mark.parametrize("kind", ["normal", "heavy", "skewed"])
@pytest.mark.parametrize("spread", [0.5, 1.0, 2.0, 4.0])
def test_races_of_many_kinds_keep_the_best(kind, spread):
    found = rates(spread, kind=kind, count=1000)
    whole = rates(spread, races=False, kind=kind, count=1000)
    assert found["kept"] >= 0.95 - bound(0.05, 1000)
    assert found["regret"] <= whole["regret"] + 0.1
    assert found["runs"] < whole["runs"]

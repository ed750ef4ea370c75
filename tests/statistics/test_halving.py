"""Early stopping by several objectives: the front survives, at a fraction of the steps."""

from __future__ import annotations

import numpy as np
import pytest

from sweep.cells.search.halving import FrontHalving, crowding, is_best, order

STEPS, FIRST, REDUCTION = 27, 3, 3


def test_order_is_by_front_then_the_lonelier():
    values = np.array([[3, 3], [0, 5], [5, 0], [4, 2], [2, 2], [1, 1], [2.9, 3.1]], float)
    ranked = order(values)
    assert set(ranked[:2]) == {1, 2}  # the ends of the first front
    assert set(ranked[:5]) == {0, 1, 2, 3, 6}
    assert ranked[5:] == [4, 5]
    assert is_best(values).tolist() == [True, True, True, True, False, False, True]
    assert crowding(values[[0, 1, 2]]).tolist() == [2.0, np.inf, np.inf]
    assert order(np.zeros((3, 2))) == [0, 1, 2]  # of equals the earlier


def test_a_rung_is_asked_once_and_none_that_is_unbeaten_ends():
    halving = FrontHalving(3, 3)
    assert not halving.stops("a", 2, (1, 1))  # before the first rung
    assert not halving.stops("a", 3, (5, 5))
    assert not halving.stops("a", 4, (0, 0))  # the next rung is at 9
    assert halving.stops("b", 3, (4, 4))
    assert not halving.stops("c", 3, (6, 1))
    assert not halving.stops("d", 30, (9, 9))  # passes three rungs at once


def hypervolume(points, worst):
    """Of two objectives that are maximised."""
    area, height = 0.0, worst[1]
    for x, y in sorted(map(tuple, points), reverse=True):
        if x > worst[0] and y > height:
            area += (x - worst[0]) * (y - height)
            height = y
    return area


def search(rng, count, noise):
    """Opposed objectives of random trials: the truth, who came through, and share of the steps."""
    quality, side = rng.normal(0, 10 / 3, count), rng.uniform(-6, 6, count)
    true = np.stack([quality + side, quality - side], axis=1)
    halving, through, steps = FrontHalving(FIRST, REDUCTION), [], 0
    for i in range(count):
        for rung in (3, 9, STEPS):
            seen = true[i] * (1 - np.exp(-4 * rung / STEPS))
            seen = seen + rng.normal(0, noise * (1 - rung / STEPS), 2)
            if rung == STEPS:
                through.append(i)
            elif halving.stops(str(i), rung, seen):
                break
        steps += rung
    return true, through, steps


def at_random(rng, count, budget):
    """Trials that come through if each rung lets a third pass by lot, up to as many steps."""
    through, steps = [], 0
    for i in rng.permutation(count):
        for rung in (3, 9, STEPS):
            if rung == STEPS:
                through.append(i)
            elif rng.random() > 1 / REDUCTION:
                break
        steps += rung
    for i in rng.permutation(count):  # whatever is left goes into whole trials
        if steps >= budget:
            break
        if i not in through:
            through.append(i)
            steps += STEPS
    return through


def rates(count, noise, repeats, seed=1):
    rows = []
    for number in range(repeats):
        rng = np.random.default_rng([seed, number])
        true, through, steps = search(rng, count, noise)
        worst, front = true.min(0), np.flatnonzero(is_best(true))
        whole = hypervolume(true, worst)
        lot = at_random(rng, count, steps)
        rows.append(
            {
                "lost": np.mean([i not in through for i in front]),
                "kept": hypervolume(true[through], worst) / whole,
                "random": hypervolume(true[lot], worst) / whole,
                "steps": steps / (count * STEPS),
            }
        )
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


@pytest.mark.parametrize(("noise", "lost", "kept"), [(0.0, 0.01, 0.99), (1.0, 0.3, 0.96)])
def test_the_front_survives_at_a_fraction_of_the_steps(noise, lost, kept):
    found = rates(40, noise, 15)
    assert found["lost"] <= lost
    assert found["kept"] >= kept
    assert found["kept"] > found["random"] + 0.1
    assert found["steps"] < 0.45


@pytest.mark.calibrate
@pytest.mark.parametrize("count", [32, 64, 128])
@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0, 3.0])
def test_halving_beats_the_lot_at_equal_steps(count, noise):
    found = rates(count, noise, 100)
    assert found["kept"] > found["random"] + 0.1
    assert found["lost"] <= {0.0: 0.01, 0.5: 0.25, 1.0: 0.35, 3.0: 0.6}[noise]

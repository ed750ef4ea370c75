"""Variance components: planted ones come back, and the advice follows them."""

import numpy as np
import pytest

from sweep.statistics.components import variance_components

PLANTED = {
    "set": 6.0, "seed": 2.0, "clip": 5.0, "set_seed": 4.0, "set_clip": 3.0, "seed_clip": 1.5,
    "rest": 8.0,
}  # fmt: skip


def crossing(rng, shape, planted=PLANTED):
    a, b, c = shape
    shapes = {
        "set": (a, 1, 1), "seed": (1, b, 1), "clip": (1, 1, c), "set_seed": (a, b, 1),
        "set_clip": (a, 1, c), "seed_clip": (1, b, c), "rest": shape,
    }  # fmt: skip
    return sum(planted[name] * rng.normal(size=size) for name, size in shapes.items())


def test_planted_components_come_back():
    rng = np.random.default_rng(0)
    found = [variance_components(crossing(rng, (14, 6, 30))) for _ in range(60)]
    for name, sd in PLANTED.items():
        values = [getattr(one, name) for one in found]
        error = np.std(values) / np.sqrt(len(values))
        assert np.mean(values) == pytest.approx(sd**2, abs=4 * error + 0.02 * sd**2), name


def test_variance_of_a_difference_is_that_of_simulated_ones():
    rng = np.random.default_rng(1)
    true = variance_components(crossing(rng, (40, 8, 60)))
    gaps = []
    for _ in range(400):
        y = crossing(rng, (2, 8, 60))
        gaps.append(y[0].mean() - y[1].mean())
    expected = sum(true.of_difference().values()) + 2 * true.set
    assert np.var(gaps) == pytest.approx(expected, rel=0.3)


def test_advice():
    rng = np.random.default_rng(2)
    quiet = dict.fromkeys(PLANTED, 0.1)
    seeds = variance_components(crossing(rng, (6, 4, 100), quiet | {"set_seed": 5.0}))
    clips = variance_components(crossing(rng, (6, 8, 20), quiet | {"set_clip": 9.0}))
    assert seeds.buy("difference") == "seed"
    assert clips.buy("difference") == "clip"
    assert seeds.buy("trend") == "set"
    assert seeds.buy("trend", sets_left=False) == "seed"
    assert seeds.of_trend()["seed"] == pytest.approx(seeds.of_difference()["seed"] / 2)


def test_negative_estimates_are_none_and_refusals():
    found = variance_components(np.random.default_rng(3).normal(size=(3, 3, 4)))
    assert min(found.set, found.seed, found.clip, found.set_seed) >= 0
    with pytest.raises(ValueError, match="two sets, seeds and clips"):
        variance_components(np.zeros((1, 3, 4)))
    with pytest.raises(ValueError, match="incomplete"):
        variance_components(np.full((2, 2, 2), np.nan))

"""Aggregates over perturbations: definitions, coverage, and what may be concluded."""

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from sweep.statistics.aggregates import (
    bootstrap_runs,
    crossed_bootstrap,
    crossed_delta,
    interquartile_mean,
    margin_test,
    performance_profile,
    probability_of_improvement,
    widened,
)
from sweep.statistics.contrasts import paired_contrast
from tests.statistics.simulate import bound


def scores(rng, runs, perturbations=12):
    """Runs differ as a whole, perturbations by difficulty."""
    run = rng.normal(0, 3, (runs, 1)) + rng.normal(0, 2, (runs, perturbations))
    return run + np.linspace(-10, 10, perturbations)


def test_definitions():
    table = np.array([[1.0, 2.0, 3.0, 100.0], [1.0, 2.0, 3.0, 100.0]])
    assert interquartile_mean(table) == pytest.approx(2.5)
    flat = np.random.default_rng(0).normal(size=(4, 10))
    assert interquartile_mean(flat) == pytest.approx(scipy_stats.trim_mean(flat.ravel(), 0.25))
    assert performance_profile(table, [0, 1, 50]) == pytest.approx([1, 0.75, 0.25])
    assert probability_of_improvement(table, table) == pytest.approx(0.5)
    assert probability_of_improvement(table + 1000, table) == 1
    one, two = flat[:3], flat[3:] + 0.2
    peer = np.mean(
        [scipy_stats.mannwhitneyu(one[:, k], two[:, k]).statistic / 3 for k in range(10)]
    )
    assert probability_of_improvement(one, two) == pytest.approx(peer)


def test_missing_and_few_runs():
    table = scores(np.random.default_rng(1), 6)
    table[2, 3] = math.nan
    found = bootstrap_runs(interquartile_mean, table, resamples=50)[0]
    assert found.n == 5
    assert found.low < found.mean < found.high
    few = bootstrap_runs(interquartile_mean, table[:4], resamples=50)[0]
    assert few.method == "none"
    assert math.isfinite(few.mean)
    assert math.isnan(few.low)
    none = bootstrap_runs(interquartile_mean, np.full((3, 2), math.nan))[0]
    assert none.n == 0
    with pytest.raises(ValueError, match="same runs"):
        bootstrap_runs(probability_of_improvement, table, table[:2])


def test_a_profile_has_an_interval_per_threshold():
    table = scores(np.random.default_rng(2), 8)
    found = bootstrap_runs(lambda s: performance_profile(s, [-5, 0, 5]), table, resamples=200)
    assert [i.mean for i in found] == pytest.approx(list(performance_profile(table, [-5, 0, 5])))
    assert all(i.low <= i.mean <= i.high for i in found)


@pytest.mark.parametrize("runs", [5, 8])
def test_intervals_over_runs_cover(runs):
    rng = np.random.default_rng(runs)
    mean = wins = 0
    for i in range(250):
        one, two = scores(rng, runs), scores(rng, runs)
        found = bootstrap_runs(interquartile_mean, one, resamples=400, seed=i)[0]
        mean += found.low <= 0 <= found.high
        found = bootstrap_runs(probability_of_improvement, one, two, resamples=400, seed=i)[0]
        wins += found.low <= 0.5 <= found.high
    least = 0.92 if runs == 5 else 0.94  # five runs cannot do better: see FEWEST_RUNS
    assert mean / 250 >= least - bound(least, 250)
    assert wins / 250 >= least - bound(least, 250)


def test_runs_drawn_within_each_perturbation_would_cover_far_less():
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(200):
        table = scores(rng, 8)
        drawn = np.stack(
            [table[rng.integers(0, 8, (300, 8)), k] for k in range(table.shape[1])], axis=-1
        )
        low, high = np.quantile(interquartile_mean(drawn), widened(8, 0.95))
        hits += low <= 0 <= high
    assert hits / 200 < 0.7


def relative(means):
    return means[..., 1] / means[..., 0]


def answers(rng, seeds, clips=240):
    level = np.array([0.7, 0.5])[None, :, None]
    clip = rng.uniform(-0.25, 0.25, (1, 2, clips))
    run = rng.normal(0, 0.04, (seeds, 2, 1))
    return rng.random((seeds, 2, clips)) < level + clip + run


@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_a_ratio_is_covered_over_seeds_and_clips(seeds):
    rng = np.random.default_rng(seeds)
    hits = boot = 0
    for i in range(300):
        outcomes = answers(rng, seeds)
        found = crossed_delta(relative, outcomes)
        hits += found.low <= 5 / 7 <= found.high
        if seeds > 3 and i < 100:
            drawn = crossed_bootstrap(relative, outcomes, resamples=200, seed=i)
            assert drawn.mean == pytest.approx(found.mean)
            boot += drawn.low <= 5 / 7 <= drawn.high
    assert 0.93 - bound(0.95, 300) <= hits / 300 <= 0.99
    assert seeds == 3 or boot / 100 >= 0.93
    assert seeds > 3 or crossed_bootstrap(relative, outcomes).method == "none"


def contrast(x):
    return paired_contrast(dict(enumerate(x)), dict.fromkeys(range(len(x)), 0.0))


def test_margins():
    assert margin_test(contrast([0.1, -0.1, 0.05, 0.0]), 1).verdict == "equivalent"
    assert margin_test(contrast([5.0, 0.0, 9.0, 3.0]), 1).verdict == "no worse"
    assert margin_test(contrast([-5.0, -6.0, -5.5, -5.2]), 1).verdict == "worse"
    assert margin_test(contrast([-5.0, 6.0, -3.0, 4.0]), 1).verdict == "open"
    assert margin_test(contrast([0.0, 0.01]), 1).verdict == "open"
    assert margin_test(contrast([0.0, 0.0, 0.0]), 1).verdict == "open"
    with pytest.raises(ValueError, match="above 0"):
        margin_test(contrast([0.0, 1.0, 2.0]), 0)
    x = np.random.default_rng(4).normal(0, 1, 6)
    peer = scipy_stats.ttest_1samp(x, -1, alternative="greater").pvalue
    assert margin_test(contrast(x), 1).p_no_worse == pytest.approx(peer)


@pytest.mark.parametrize("n", [3, 5, 8])
def test_harm_of_the_margin_is_called_none_in_five_percent(n):
    rng = np.random.default_rng(n)
    found = [margin_test(contrast(row), 1.0) for row in rng.normal(-1, 1, (800, n))]
    wrong = np.mean([test.verdict in ("no worse", "equivalent") for test in found])
    assert wrong <= 0.05 + bound(0.05, 800)
    assert np.mean([test.verdict == "worse" for test in found]) <= 0.05 + bound(0.05, 800)

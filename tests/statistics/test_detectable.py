"""What could have been found: against published tables, and by simulation."""

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.power import TTestPower

from sweep.statistics.contrasts import adjust, paired_contrast
from sweep.statistics.detectable import detectable, pairs_needed, pooled_spread, power
from tests.statistics.simulate import bound


@pytest.mark.parametrize(
    ("effect", "sd", "pairs", "family", "expected"),
    [
        (18, 3.3, 3, 5, 0.59), (18, 3.3, 3, 20, 0.20), (18, 5.6, 3, 5, 0.28),
        (18, 5.6, 5, 5, 0.93), (18, 5.6, 5, 20, 0.65), (18, 5.6, 6, 20, 0.90),
        (18, 7.4, 5, 5, 0.73), (15, 5.6, 8, 20, 0.97),
    ],
)  # fmt: skip
def test_power_is_that_of_the_simulated_table(effect, sd, pairs, family, expected):
    assert power(pairs, effect, sd, family=family) == pytest.approx(expected, abs=0.012)


def test_without_a_family_it_is_the_known_table():
    for n in (3, 5, 8, 10):
        known = TTestPower().solve_power(nobs=n, alpha=0.05, power=0.8)
        assert detectable(n, 1.0) == pytest.approx(known, abs=0.005)
    assert math.isnan(detectable(1, 1.0))
    assert math.isnan(detectable(5, 0.0))
    assert power(1, 5.0, 1.0) == 0
    assert power(5, 0.0, 1.0) == pytest.approx(0.05)
    assert power(5, -18, 5.6) == power(5, 18, 5.6)


def test_pairs_needed_is_the_inverse():
    n = pairs_needed(18, 5.6, family=5)
    assert power(n, 18, 5.6, family=5) >= 0.8 > power(n - 1, 18, 5.6, family=5)
    assert pairs_needed(0.01, 5.6) is None
    assert pairs_needed(1e6, 5.6) == 3


def test_pooled_spread_leaves_out_what_has_none():
    flat = paired_contrast({1: 1.0, 2: 1.0}, {1: 0.0, 2: 0.0})
    assert math.isnan(pooled_spread([flat]).sd)
    row = paired_contrast({1: 1.0, 2: 5.0, 3: 2.0}, dict.fromkeys((1, 2, 3), 0.0))
    found = pooled_spread([flat, row])
    assert found.sd == pytest.approx(row.sd)
    assert found.freedom == 2
    assert found.upper == pytest.approx(row.sd * math.sqrt(2 / scipy_stats.chi2.ppf(0.2, 2)))


@pytest.mark.parametrize("n", [3, 5, 8])
def test_what_is_called_detectable_is_found_at_least_about_that_often(n):
    rng = np.random.default_rng(n)
    true = 2 * math.sqrt(2)
    covered, found, before = [], [], []
    for _ in range(100):
        cells = rng.normal(0, 2, (6, n))
        contrasts = [
            paired_contrast(dict(enumerate(cells[0])), dict(enumerate(row))) for row in cells[1:]
        ]
        spread = pooled_spread(contrasts)
        covered.append(spread.upper >= true)
        found.append(power(n, detectable(n, spread.upper), true))
        median = float(np.median([c.sd for c in contrasts]))
        before.append(power(n, detectable(n, median), true))
    assert np.mean(covered) >= 0.8 - bound(0.8, 100)
    assert np.mean(found) >= 0.8
    assert np.mean(before) < 0.8  # median of the sample SDs: promised .8


def test_a_planted_effect_survives_holm_at_the_stated_power():
    rng = np.random.default_rng(3)
    effect = detectable(5, 1.0, family=10)
    x = rng.normal(0, 1, (1500, 10, 5))
    x[:, 0] += effect
    p = scipy_stats.ttest_1samp(x, 0, axis=2).pvalue
    found = np.mean([adjust(list(row), "holm")[0] < 0.05 for row in p])
    assert found == pytest.approx(0.8, abs=bound(0.8, 1500) + 0.01)

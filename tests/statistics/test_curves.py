"""Dependence on the number of losses: what is named, what is not, and how often."""

import math

import numpy as np
import pytest

from sweep.statistics.curves import curve_test, logit_gap
from sweep.statistics.power import FEWEST_SETS
from sweep.statistics.regression import dose_response, set_slope
from tests.statistics.simulate import bound

#: The design of `loss-count`: one set without losses, eight of 1, 4 and 7, one of all.
DOSES = np.repeat([0.0, 1, 4, 7, 8], [1, 8, 8, 8, 1])
#: Between sets 6 points, between seeds 5, one seed.
SD = math.sqrt(61)


def curves(curve, count, *, doses=DOSES, sd=SD, seed=0):
    rng = np.random.default_rng(seed)
    y = curve(doses) + rng.normal(0, sd, (count, doses.size))
    return [curve_test(doses, row, resamples=399, seed=i) for i, row in enumerate(y)]


def share(found, *names):
    return np.mean([test.name in names for test in found])


def test_null_names_a_curve_in_five_percent():
    found = curves(lambda x: 0 * x, 400)
    assert np.mean([test.p < 0.05 for test in found]) <= 0.05 + bound(0.05, 400)
    assert share(found, "constant") >= 0.95 - bound(0.05, 400)
    # AICc alone, which used to choose: a finding in a quarter of all null studies
    assert np.mean([test.fits.best.name != "constant" for test in found]) > 0.15


@pytest.mark.parametrize(
    ("curve", "power"),
    [
        (lambda x: 2 * x, 0.83),
        (lambda x: 16 * -np.expm1(-x / 2.5), 0.75),
        (lambda x: 16 * (1 - (x - 4) ** 2 / 16), 0.55),
    ],
)
def test_planted_curves_are_found(curve, power):
    found = curves(curve, 150)
    assert 1 - share(found, "constant") >= power - bound(power, 150)


def test_strong_curves_get_their_name():
    assert share(curves(lambda x: 5 * x, 40), "linear") > 0.7
    hump = curves(lambda x: 40 * (1 - (x - 4) ** 2 / 16), 40)
    assert share(hump, "quadratic") > 0.95
    assert hump[0].fit.name == "quadratic"
    assert share(curves(lambda x: 60 * -np.expm1(-x), 40), "saturating") > 0.9


def test_six_sets_choose_nothing():
    x = np.array([0.0, 2, 2, 4, 4, 8])
    found = curve_test(x, 15 * -np.expm1(-x) + np.arange(6) % 2)
    assert found.name == "untested"
    assert math.isnan(found.p)
    assert found.fit is None
    assert found.fits is not None
    assert curve_test([], []).name == "untested"


def test_curves_with_as_many_parameters_as_doses_are_not_fitted():
    x = np.repeat([0.0, 4, 8], FEWEST_SETS)
    assert curve_test(x, np.sin(np.arange(x.size))).tested == ("linear",)
    assert curve_test(x[: 2 * FEWEST_SETS], np.arange(2 * FEWEST_SETS)).name == "untested"
    with pytest.raises(ValueError, match="one outcome per dose"):
        curve_test([1.0], [])


def test_the_largest_f_is_that_of_the_fits():
    rng = np.random.default_rng(3)
    y = DOSES + rng.normal(0, 2, DOSES.size)
    found = curve_test(DOSES, y, resamples=99)
    rss = {fit.name: fit.rss for fit in dose_response(DOSES, y).fits}
    n = DOSES.size
    f = [
        (rss["constant"] - rss[name]) / k / (rss[name] / (n - 1 - k))
        for name, k in (("linear", 1), ("quadratic", 2), ("saturating", 2))
    ]
    assert found.statistic == pytest.approx(max(f), rel=0.01)


def meltr_over_equal(rng, seeds):
    """Difference of two combiners per (set, seed): sets differ, no slope."""
    gain = rng.normal(0, 3, (DOSES.size, 1)) + rng.normal(0, 3, (DOSES.size, seeds))
    return gain + rng.normal(0, 1, (1, seeds))


@pytest.mark.parametrize("seeds", [3, 8])
def test_slope_by_sets_is_false_in_five_percent(seeds):
    rng = np.random.default_rng(seeds)
    found = [set_slope(meltr_over_equal(rng, seeds).mean(axis=1), DOSES) for _ in range(500)]
    assert np.mean([s.p < 0.05 for s in found]) <= 0.05 + bound(0.05, 500)
    assert np.mean([s.low <= 0 <= s.high for s in found]) >= 0.95 - bound(0.05, 500)


def test_slope_with_covariates():
    rng = np.random.default_rng(6)
    reads = (rng.random(DOSES.size) < DOSES / 8).astype(float)
    y = 2 * DOSES + 9 * reads + rng.normal(0, 1, DOSES.size)
    found = set_slope(y, DOSES, {"reads captions": reads})
    assert found.low < 2 < found.high
    with pytest.raises(ValueError, match="do not determine"):
        set_slope(y, DOSES, {"twice": 2 * DOSES})


def test_logit_gap_is_not_moved_by_ability():
    assert logit_gap(50, 100, 50, 100) == 0
    assert math.isfinite(logit_gap(0, 10, 10, 10))
    with pytest.raises(ValueError, match="0 to 10"):
        logit_gap(11, 10, 5, 10)
    rng = np.random.default_rng(7)
    wrong = 0
    for _ in range(400):
        ability = 0.2 * DOSES + rng.normal(0, 0.3, DOSES.size)
        chance = 1 / (1 + np.exp(-np.stack([ability, ability - 1])))
        clean, stressed = rng.binomial(np.array([[240], [720]]), chance)
        gap = [logit_gap(s, 720, c, 240) for s, c in zip(stressed, clean, strict=True)]
        wrong += set_slope(gap, DOSES).p < 0.05
    assert wrong / 400 <= 0.065 + bound(0.065, 400)

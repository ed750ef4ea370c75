"""Failure rates: exact intervals, exact tests."""

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from sweep.statistics.contrasts import paired_contrast
from sweep.statistics.failures import among_trained, failure_contrast, failure_rate
from tests.statistics.simulate import bound


@pytest.mark.parametrize(("failed", "runs"), [(0, 5), (2, 5), (5, 5), (1, 1)])
def test_interval_is_clopper_pearsons(failed, runs):
    peer = scipy_stats.binomtest(failed, runs).proportion_ci(method="exact")
    found = failure_rate(failed, runs)
    assert (found.low, found.high) == pytest.approx((peer.low, peer.high))
    assert found.share == failed / runs


def test_refusals_and_no_runs():
    assert math.isnan(failure_rate(0, 0).share)
    with pytest.raises(ValueError, match="0 to 3"):
        failure_rate(4, 3)
    assert math.isnan(failure_contrast({}, {1: True}).p)


def test_all_against_none_is_found_at_five_seeds():
    yes, no = dict.fromkeys(range(5), True), dict.fromkeys(range(5), False)
    found = failure_contrast(yes, no)
    assert found.p == pytest.approx(2 / 252)
    assert found.treated.failed == 5
    assert failure_contrast(no, no).p == 1


@pytest.mark.parametrize("alike", [0.0, 0.8])
def test_null_rejects_at_most_five_percent_even_if_seeds_fail_together(alike):
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(600):
        shared = rng.random(6) < 0.4
        sides = [
            dict(enumerate(map(bool, np.where(rng.random(6) < alike, shared, rng.random(6) < 0.4))))
            for _ in range(2)
        ]
        wrong += failure_contrast(*sides).p < 0.05
    assert wrong / 600 <= 0.05 + bound(0.05, 600)


def test_contrast_among_pairs_that_trained():
    one, two = {1: 70.0, 2: 30.0, 3: 72.0}, {1: 68.0, 2: 69.0, 3: 69.0}
    contrast = paired_contrast(one, two)
    kept = among_trained(contrast, {2})
    assert dict(kept.differences) == {1: 2.0, 3: 3.0}
    assert kept.mean == 2.5
    assert among_trained(contrast, {7}) is None

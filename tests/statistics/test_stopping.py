"""Stopping when all comparisons hold: no more false claims than with one look, and fewer seeds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from sweep.settings.design import StoppingSettings
from sweep.statistics.claims import Claim, grades
from sweep.statistics.sequential import price
from tests.statistics.simulate import bound

LOOKS = StoppingSettings(max_seeds=12, look_every=2).looks
COMPARISONS = 4


def ends(rng, gains, kind="normal"):
    """A sweep with one reference cell: claims and number of seeds when the rule ends it."""
    most = LOOKS[-1]
    shape = (most, 1 + len(gains))
    drawn = rng.normal(size=shape) if kind == "normal" else rng.standard_t(3, size=shape)
    x = drawn[:, 1:] - drawn[:, :1] + np.asarray(gains)
    claims = []
    for look, n in enumerate(LOOKS, 1):
        tested = scipy_stats.ttest_1samp(x[:n], 0).pvalue
        spent = [min(1.0, price(look, len(LOOKS)) * float(p)) for p in tested]
        claims = grades(
            [Claim(comparison=str(i), outcome="o", p=p, pairs=n) for i, p in enumerate(spent)]
        )
        if all(c.grade == "holds" for c in claims):
            return claims, n
    return claims, most


def rates(gains, kind="normal", runs=300, seed=7):
    """Share of sweeps with a false claim, share in which all hold, mean number of seeds."""
    rng = np.random.default_rng(seed)
    false = every = seeds = 0
    for _ in range(runs):
        claims, n = ends(rng, gains, kind)
        false += any(c.grade == "holds" and gains[i] == 0 for i, c in enumerate(claims))
        every += all(c.grade == "holds" for c in claims)
        seeds += n
    return false / runs, every / runs, seeds / runs


def test_looks_are_declared_by_two_numbers():
    assert LOOKS == [4, 6, 8, 10, 12]
    assert StoppingSettings(max_seeds=8, look_every=3).looks == [3, 6, 8]
    assert StoppingSettings(max_seeds=5, look_every=1).looks == [3, 4, 5]
    assert StoppingSettings(max_seeds=3, look_every=7).looks == [3]


@pytest.mark.parametrize("kind", ["normal", "heavy"])
def test_no_effect_is_claimed_in_five_per_cent_at_most(kind):
    false, _, seeds = rates([0.0] * COMPARISONS, kind)
    assert false <= 0.05 + bound(0.05, 300)
    assert seeds > 11.5


def test_an_effect_beside_none_makes_no_more_of_them():
    assert rates([4.0, 4.0, 0.0, 0.0])[0] <= 0.05 + bound(0.05, 300)


def test_clear_effects_take_fewer_seeds():
    _, every, seeds = rates([5.0] * COMPARISONS)
    assert every > 0.95
    assert seeds < 9


@pytest.mark.calibrate
@pytest.mark.parametrize("kind", ["normal", "heavy"])
@pytest.mark.parametrize("gains", [[0.0], [0.0] * COMPARISONS, [4.0, 4.0, 0.0, 0.0]])
def test_the_level_is_kept(kind, gains):
    false, _, _ = rates(gains, kind, runs=3000, seed=8)
    assert false <= 0.05 + bound(0.05, 3000)

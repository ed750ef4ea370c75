"""Looking after every seed: no more false claims than with one look."""

import itertools
import math

import numpy as np
import pytest
from scipy import integrate
from scipy import stats as scipy_stats

from sweep.statistics import detectable
from sweep.statistics.sequential import PRIOR, e_value, looks, over_looks, power
from tests.statistics.simulate import bound, noise

MOST = 12


def test_e_value_is_the_bayes_factor():
    """By integration over the effect: the t statistic is noncentral t given it."""
    for t, n in ((0.4, 3), (3.0, 5), (5.0, 12)):
        reach = math.sqrt(PRIOR)

        def weighed(d, t=t, n=n, reach=reach):
            return scipy_stats.norm.pdf(d, 0, reach) * scipy_stats.nct.pdf(
                t, n - 1, d * math.sqrt(n)
            )

        above = integrate.quad(weighed, 0, 6 * reach, epsabs=1e-10)[0]
        # the other half by symmetry: scipy's density is NaN far below 0
        below = integrate.quad(lambda d, t=t, n=n: weighed(d, -t, n), 0, 4, epsabs=1e-10)[0]
        expected = (above + below) / scipy_stats.t.pdf(t, n - 1)
        assert e_value(t, n) == pytest.approx(expected, rel=0.02)


def test_the_sequence_and_the_test_agree():
    x = np.random.default_rng(1).normal(2.5, 1, MOST)
    found = looks(x)
    assert [look.n for look in found] == list(range(1, MOST + 1))
    assert found[0].e == 1
    assert found[0].low == -math.inf
    for look in found:
        assert (look.p < 0.05) == (look.low > 0 or look.high < 0)
    assert all(a.p >= b.p for a, b in itertools.pairwise(found))
    assert all(a.low <= b.low for a, b in itertools.pairwise(found))
    assert looks([]) == []
    with pytest.raises(ValueError, match="finite"):
        looks([1.0, math.nan])


def test_scale_and_sign_do_not_matter():
    x = np.random.default_rng(2).normal(1, 1, 8)
    assert looks(x)[-1].e == pytest.approx(looks(-70 * x)[-1].e)
    assert looks([0.3, 0.1 + 0.2, 0.3])[-1].e == 1  # equal differences prove nothing


@pytest.mark.parametrize("kind", ["normal", "heavy", "discrete"])
def test_false_claims_with_a_look_after_every_seed(kind):
    rng = np.random.default_rng(3)
    wrong = peeking = covered = 0
    for _ in range(600):
        x = noise(rng, kind, MOST) - noise(rng, kind, MOST)
        if kind == "discrete":
            x = np.round(3 * x) / 2.4
        path = looks(x)
        wrong += path[-1].p < 0.05
        covered += path[-1].low <= 0 <= path[-1].high
        at = np.arange(3, MOST + 1)
        sd = np.array([x[:n].std(ddof=1) for n in at])
        t = np.abs([x[:n].mean() for n in at]) * np.sqrt(at) / np.maximum(sd, 1e-9)
        p = 2 * scipy_stats.t.sf(t, at - 1)
        peeking += min(p) < 0.05
    assert wrong / 600 <= 0.05
    assert covered / 600 >= 0.95
    assert peeking / 600 > 0.1  # what `--extend` until it is resolved amounts to


def test_a_real_effect_is_found_early():
    rng = np.random.default_rng(4)
    first = []
    for _ in range(200):
        path = looks(rng.normal(3.2, 1, MOST))
        first.append(next((look.n for look in path if look.p < 0.05), math.inf))
    assert np.mean(np.isfinite(first)) > 0.99
    assert np.mean(first) < 5


def test_declared_looks_share_the_level():
    assert over_looks([0.2, 0.004], 6) == pytest.approx(0.024)
    assert over_looks([0.5], 6) == 1
    assert math.isnan(over_looks([math.nan], 6))
    with pytest.raises(ValueError, match="2 looks were planned, given 3"):
        over_looks([0.1, 0.2, 0.3], 2)
    rng = np.random.default_rng(5)
    x = rng.normal(size=(1500, MOST))
    p = np.stack(
        [scipy_stats.ttest_1samp(x[:, :n], 0, axis=1).pvalue for n in (4, 6, 8, 10, 12)], axis=1
    )
    wrong = np.mean([over_looks(list(row), 5) < 0.05 for row in p])
    assert wrong <= 0.05 + bound(0.05, 1500)


@pytest.mark.parametrize(("pairs", "effect", "family"), [(5, 3.0, 1), (8, 2.0, 5), (12, 1.0, 20)])
def test_power_is_that_of_the_last_look(pairs, effect, family):
    rng = np.random.default_rng(pairs)
    x = rng.normal(effect, 1.0, (3000, pairs))
    t = x.mean(axis=1) / x.std(axis=1, ddof=1) * math.sqrt(pairs)
    held = np.mean([1 / e_value(one, pairs) < 0.05 / family for one in t])
    promised = power(pairs, effect * 7, 7.0, family=family)
    assert promised == pytest.approx(held, abs=4 * math.sqrt(0.25 / len(x)))
    assert promised < detectable.power(pairs, effect, 1.0, family=family)


def test_power_grows_with_pairs_and_effect_and_needs_two_pairs():
    assert power(1, 9.0, 1.0) == 0.0
    assert power(2, 50.0, 1.0, family=20) == 0.0  # no two pairs whatever reach that
    assert [power(n, 2.0, 1.0) for n in (3, 5, 8, 12)] == sorted(
        power(n, 2.0, 1.0) for n in (3, 5, 8, 12)
    )
    assert power(8, 1.0, 1.0) < power(8, 1.5, 1.0) < power(8, 3.0, 1.0)

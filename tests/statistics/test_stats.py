"""`sweep.statistics` against scipy, statsmodels, slow references and simulation."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from sweep.statistics.contrasts import (
    adjust,
    hedges_g,
    paired_contrast,
    rank_stability,
    sign_flip_p,
)
from sweep.statistics.correlation import (
    _partial_rho,
    _t_of_correlation,
    partial_spearman,
    spearman,
)
from sweep.statistics.detectable import detectable
from sweep.statistics.intervals import mean_interval
from sweep.statistics.power import detectable_correlation
from sweep.statistics.regression import dose_response, standardised_regression
from sweep.statistics.shapley import kernel_shap, per_seed, shapley


def rng(seed=0):
    return np.random.default_rng(seed)


def by_seed(values):
    return dict(enumerate(map(float, values)))


# ---------------------------------------------------------------------------- means, contrasts


def test_mean_interval_is_students_t():
    x = [70.1, 72.4, 69.0]
    found = mean_interval(x)
    low, high = scipy_stats.t.interval(0.95, 2, loc=np.mean(x), scale=scipy_stats.sem(x))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.method == "t"
    assert found.n == 3
    assert found.half == pytest.approx((high - low) / 2)


def test_mean_interval_stays_students_t():
    x = rng(1).exponential(size=9)
    found = mean_interval(x)
    low, high = scipy_stats.t.interval(0.95, 8, loc=np.mean(x), scale=scipy_stats.sem(x))
    assert found.method == "t"
    assert (found.low, found.high) == pytest.approx((low, high))


def test_mean_interval_of_eight_covers():
    accuracies = rng(2).binomial(240, 0.76, (1500, 8)) / 2.4
    found = [mean_interval(row) for row in accuracies]
    hits = np.mean([i.low <= 76 <= i.high for i in found])
    assert hits == pytest.approx(0.95, abs=0.017)  # BCa, which stood here, covers 88 %


def test_few_or_equal_values_have_no_or_no_width():
    one = mean_interval([5.0])
    assert one.mean == 5.0
    assert one.n == 1
    assert math.isnan(one.low)
    none = mean_interval([float("nan")])
    assert none.n == 0
    assert math.isnan(none.mean)
    for n in (2, 9):
        equal = mean_interval([3.3] * n)
        assert equal.low == pytest.approx(3.3)
        assert equal.high == pytest.approx(3.3)


def test_contrast_equals_the_paired_t_test():
    a, b = rng(2).normal(70, 5, 6), rng(3).normal(68, 5, 6)
    found = paired_contrast(by_seed(a), by_seed(b))
    peer = scipy_stats.ttest_rel(a, b)
    low, high = peer.confidence_interval(0.95)
    assert found.t_p == pytest.approx(peer.pvalue)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.mean == pytest.approx(np.mean(a - b))
    assert found.sd == pytest.approx(np.std(a - b, ddof=1))
    assert found.missing == 0
    assert found.share_improved == pytest.approx(np.mean(a > b))


def test_contrast_drops_and_counts_missing_pairs():
    found = paired_contrast({1: 5.0, 2: 6.0, 3: float("nan")}, {2: 4.0, 3: 1.0, 4: 2.0})
    assert dict(found.differences) == {2: 2.0}
    assert found.n == 1
    assert found.missing == 3  # seeds 1, 3 (NaN) and 4
    assert math.isnan(found.low)
    assert not found.resolved
    empty = paired_contrast({}, {1: 2.0})
    assert empty.n == 0
    assert empty.missing == 1
    assert math.isnan(empty.sign_flip_p)


def test_equal_differences_resolve_nothing():
    found = paired_contrast({1: 0.3, 2: 0.1 + 0.2}, {1: 0.0, 2: 0.0})
    assert found.sd == 0
    assert not found.resolved
    assert math.isnan(found.t_p)


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=7))
@settings(max_examples=30, deadline=None)
def test_swapping_the_sides_mirrors_the_contrast(values):
    zero = dict.fromkeys(range(len(values)), 0.0)
    one = paired_contrast(by_seed(values), zero)
    two = paired_contrast(zero, by_seed(values))
    assert one.mean == pytest.approx(-two.mean)
    assert one.low == pytest.approx(-two.high)
    assert one.resolved == two.resolved
    assert one.sign_flip_p == pytest.approx(two.sign_flip_p)


@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_sign_flip_equals_scipy_and_has_its_floor(n):
    x = rng(n).normal(1, 2, n)
    peer = scipy_stats.permutation_test(
        (x,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=False
    )
    assert sign_flip_p(x) == pytest.approx(peer.pvalue)
    assert sign_flip_p(np.abs(x) + 1) == pytest.approx(2 / 2**n)


def test_sign_flip_samples_when_there_are_many():
    x = rng(5).normal(0.8, 1, 16)
    exact = np.array(list(itertools.product((1, -1), repeat=16))) @ x
    p = np.mean(np.abs(exact) >= abs(x.sum()) - 1e-9)
    assert sign_flip_p(x) == pytest.approx(p, abs=0.01)


def test_null_rejects_about_five_percent():
    differences = rng(7).normal(0, 3, (4000, 3))
    zero = dict.fromkeys(range(3), 0.0)
    contrasts = [paired_contrast(by_seed(row), zero) for row in differences[:1500]]
    assert np.mean([c.resolved for c in contrasts]) == pytest.approx(0.05, abs=0.017)
    assert all(c.resolved == (c.t_p < 0.05) for c in contrasts)
    flips = [sign_flip_p(row) for row in rng(8).normal(0, 1, (1000, 6))]
    assert np.mean(np.array(flips) <= 0.05) <= 0.05  # conservative: exact, discrete


def test_holm_keeps_the_familywise_error():
    wrong = 0
    for row in rng(9).normal(0, 1, (400, 5, 4)):
        p = scipy_stats.ttest_1samp(row, 0, axis=1).pvalue
        wrong += min(adjust(list(p), "holm")) < 0.05
    assert wrong / 400 < 0.085


def test_adjustments_equal_their_definitions():
    p = [0.04, 0.01, float("nan"), 0.03]
    holm = adjust(p, "holm")
    assert holm[1] == pytest.approx(0.03)
    assert holm[3] == pytest.approx(0.06)
    assert holm[0] == pytest.approx(0.06)
    assert math.isnan(holm[2])
    known = [0.04, 0.01, 0.03]
    assert adjust(known, "bh") == pytest.approx(list(scipy_stats.false_discovery_control(known)))
    assert adjust([], "holm") == []
    from statsmodels.stats.multitest import multipletests

    many = list(rng(10).random(9) ** 3)
    assert adjust(many, "holm") == pytest.approx(list(multipletests(many, method="holm")[1]))
    assert adjust(many, "bh") == pytest.approx(list(multipletests(many, method="fdr_bh")[1]))


def test_hedges_factor():
    x = rng(11).normal(1.5, 1, 12)
    d = x.mean() / x.std(ddof=1)
    assert hedges_g(x) == pytest.approx(d * (1 - 3 / (4 * 11 - 1)), rel=2e-3)
    assert math.isnan(hedges_g([1.0, 2.0]))


def test_what_is_detectable_is_the_published_table():
    table = {3: 3.26, 4: 2.13, 5: 1.68, 6: 1.43, 8: 1.16, 10: 1.00}
    for n, d in table.items():
        assert detectable(n, 1.0) == pytest.approx(d, abs=0.005)
    assert math.isnan(detectable(1, 1.0))


def test_a_planted_effect_is_found_at_the_stated_power():
    d = detectable(5, 1.0)
    p = scipy_stats.ttest_1samp(rng(13).normal(d, 1, (4000, 5)), 0, axis=1).pvalue
    assert np.mean(p < 0.05) == pytest.approx(0.8, abs=0.025)


# ---------------------------------------------------------------------------- clip bootstrap


# ---------------------------------------------------------------------------- association


def test_spearman_equals_scipy():
    x, y = rng(19).normal(size=20), rng(20).normal(size=20)
    y = y + 0.7 * x
    found = spearman(x, y, resamples=300)
    peer = scipy_stats.spearmanr(x, y)
    assert found.rho == pytest.approx(peer.statistic)
    assert found.p == pytest.approx(peer.pvalue, abs=0.01)
    assert found.low < found.rho < found.high


def test_small_spearman_enumerates():
    found = spearman([1, 2, 3, 4], [1, 2, 3, 4], resamples=50)
    assert found.rho == pytest.approx(1.0)
    assert found.p == pytest.approx(2 / 24)


def test_partial_spearman_removes_a_confounder():
    z = rng(21).normal(size=300)
    x, y = z + 0.3 * rng(22).normal(size=300), z + 0.3 * rng(23).normal(size=300)
    plain = spearman(x, y, resamples=50)
    partial = partial_spearman(x, y, [z], resamples=200)
    assert plain.rho > 0.8
    assert abs(partial.rho) < 0.2
    assert partial.low < 0 < partial.high
    assert partial.given == 1


def test_partial_spearman_is_the_recursion_formula():
    x, y, z = rng(24).normal(size=(3, 30))
    rxy, rxz, ryz = (scipy_stats.spearmanr(a, b).statistic for a, b in ((x, y), (x, z), (y, z)))
    expected = (rxy - rxz * ryz) / math.sqrt((1 - rxz**2) * (1 - ryz**2))
    assert partial_spearman(x, y, [z], resamples=20).rho == pytest.approx(expected)
    with pytest.raises(ValueError, match="equal length"):
        spearman([1, 2], [1, 2, 3])


def test_rank_stability():
    same = {c: {1: v, 2: v + 5, 3: v * 2} for c, v in zip("abcd", [1, 2, 3, 4], strict=True)}
    found = rank_stability(same)
    assert found.tau == 1.0
    assert found.pairs == 3
    mirrored = {c: {1: v, 2: -v} for c, v in zip("abc", [1, 2, 3], strict=True)}
    assert rank_stability(mirrored).tau == -1.0
    assert math.isnan(rank_stability({"a": {1: 2.0}}).tau)


# ---------------------------------------------------------------------------- dose-response


@pytest.mark.parametrize(
    ("name", "curve"),
    [
        ("linear", lambda x: 50 + 3 * x),
        ("quadratic", lambda x: 50 + 8 * x - 1.1 * x**2),
        ("saturating", lambda x: 50 + 20 * (1 - np.exp(-x / 1.2))),
    ],
)
def test_the_true_curve_wins(name, curve):
    x = np.repeat(np.arange(8.0), 4)
    y = curve(x) + rng(30).normal(0, 0.4, x.size)
    found = dose_response(x, y)
    assert found.best.name == name
    assert found.best.curve([0.0, 5.0]) == pytest.approx(curve(np.array([0.0, 5.0])), abs=1.0)
    assert sum(fit.weight for fit in found.fits) == pytest.approx(1.0)


def test_no_dependence_is_an_answer():
    x = np.repeat(np.arange(6.0), 3)
    best = [dose_response(x, rng(s).normal(0, 1, x.size)).best.name for s in range(40)]
    assert best.count("constant") >= 26


def test_dose_response_aicc_by_hand_and_refusals():
    x, y = np.array([0.0, 1, 2, 3, 4, 5]), np.array([1.0, 2, 2, 4, 4, 6])
    fits = {fit.name: fit for fit in dose_response(x, y).fits}
    slope, intercept = np.polyfit(x, y, 1)
    rss = np.sum((y - slope * x - intercept) ** 2)
    assert fits["linear"].rss == pytest.approx(rss)
    assert fits["linear"].aicc == pytest.approx(6 * math.log(rss / 6) + 6 + 2 * 3 * 4 / 2)
    assert fits["saturating"].rss <= fits["constant"].rss
    with pytest.raises(ValueError, match="two doses"):
        dose_response([1, 1, 1], [1, 2, 3])


# ---------------------------------------------------------------------------- attribution


def powerset(names):
    for size in range(len(names) + 1):
        yield from map(frozenset, itertools.combinations(names, size))


@given(st.integers(1, 4), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_shapley_is_efficient_and_averages_over_orders(count, seed):
    names = list("abcd"[:count])
    values = {s: float(v) for s, v in zip(powerset(names), rng(seed).normal(size=99), strict=False)}
    found = shapley(values, names)
    assert sum(found.values()) == pytest.approx(
        values[frozenset(names)] - values[frozenset()], abs=1e-9
    )
    slow = dict.fromkeys(names, 0.0)
    orders = list(itertools.permutations(names))
    for order in orders:
        before = frozenset()
        for name in order:
            slow[name] += (values[before | {name}] - values[before]) / len(orders)
            before |= {name}
    assert found == pytest.approx(slow)
    assert kernel_shap(values, names) == pytest.approx(found, abs=1e-8)


def test_kernel_shap_from_some_sets():
    truth = {"a": 3.0, "b": -1.0, "c": 0.5}
    values = {s: 40 + sum(truth[n] for n in s) for s in powerset("abc")}
    del values[frozenset("a")], values[frozenset("bc")]
    assert kernel_shap(values, "abc") == pytest.approx(truth)
    with pytest.raises(ValueError, match="lacks 2 of 8"):
        shapley(values, "abc")
    few = {frozenset(): 0.0, frozenset("abc"): 1.0, frozenset("a"): 0.5}
    with pytest.raises(ValueError, match="do not determine"):
        kernel_shap(few, "abc")
    with pytest.raises(ValueError, match="empty and the full"):
        kernel_shap({frozenset("a"): 1.0}, "abc")


def test_attribution_per_seed():
    values = {s: {1: 10.0 * len(s), 2: 12.0 * len(s)} for s in powerset("ab")}
    values[frozenset("a")] = {1: 10.0}  # seed 2 lacks a cell: left out
    found = per_seed(values, "ab", shapley)
    assert found["a"].mean == pytest.approx(10.0)
    assert found["a"].n == 1


def test_standardised_regression_finds_planted_terms_and_warns_of_kin():
    rng = np.random.default_rng(3)
    one, two = rng.normal(5, 2, 40), rng.normal(0, 30, 40)
    kin = one + rng.normal(0, 0.2, 40)
    response = 3 * (one - one.mean()) / one.std(ddof=1) + rng.normal(0, 0.5, 40)
    first, second = standardised_regression(response, {"one": one, "two": two})
    assert first.low < 3 < first.high
    assert first.p < 1e-6 < second.p
    assert second.low < 0 < second.high
    correlation = np.corrcoef(one, two)[0, 1]
    assert first.vif == pytest.approx(1 / (1 - correlation**2))
    inflated = standardised_regression(response, {"one": one, "kin": kin, "two": two})
    assert inflated[0].vif > 5 > inflated[2].vif
    assert inflated[0].high - inflated[0].low > 3 * (first.high - first.low)
    with pytest.raises(ValueError, match="follows from the others"):
        standardised_regression(response, {"one": one, "twice": 2 * one})
    with pytest.raises(ValueError, match="do not determine"):
        standardised_regression(response[:5], {"one": one[:5], "two": two[:5]})


def test_the_correlation_that_loss_sets_find():
    assert detectable_correlation(20, 1) == pytest.approx(0.62, abs=0.01)
    assert detectable_correlation(60, 8) == pytest.approx(0.40, abs=0.01)
    assert math.isnan(detectable_correlation(4, 1))
    # by simulation: that many sets find a correlation of .6 four times out of five
    rng = np.random.default_rng(0)
    x = rng.normal(size=(800, 20))
    pearson = 2 * math.sin(math.pi * 0.6 / 6)
    y = pearson * x + math.sqrt(1 - pearson**2) * rng.normal(size=x.shape)
    rho = _partial_rho(np.stack([x, y]))
    p = [_t_of_correlation(value, 18) for value in rho]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.8, abs=0.06)

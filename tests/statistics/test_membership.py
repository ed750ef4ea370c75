"""Diversity against outcome when losses, not sets, are the independent units."""

import functools
import math

import numpy as np
import pytest

from sweep.cells.designs.diverse import diverse, score
from sweep.settings.design import DesignSettings
from sweep.statistics.correlation import membership_spearman, partial_spearman, spearman
from tests.statistics.simulate import bound

#: Those of the study `loss-diversity`, as are sets and measure.
LOSSES = (
    "caption", "frame_difference", "frame_order", "infonce", "kinematic", "masked_text", "pixel",
    "siglip", "temporal_similarity",
)  # fmt: skip
MEASURE = "catalogue_distance"


def study(rng, sets, *, additive, true=0.0, seeds=1):
    """One study: its sets, their diversity, their outcome (SD of sets 6, of seeds 5)."""
    x, members = chosen(sets)
    member = np.array([[name in triple for name in LOSSES] for triple in members], float)
    own = member @ rng.normal(size=len(LOSSES))
    own = math.sqrt(additive) * (own - own.mean()) / own.std()
    own = own + math.sqrt(1 - additive) * rng.normal(size=sets)
    effect = true * (x - x.mean()) / x.std() + math.sqrt(1 - true**2) * own
    return x, 6 * effect + 5 * rng.normal(size=(seeds, sets)).mean(axis=0), members


@functools.cache
def chosen(sets):
    settings = DesignSettings(kind="diversity", size=3, subsets=sets, measure=MEASURE)
    members = list(diverse(LOSSES, settings).values())
    return np.array([score(triple, MEASURE) for triple in members]), members


def rejected(sets, count, *, additive, true=0.0, seeds=1, seed=0):
    rng = np.random.default_rng(seed)
    given, plain = 0, 0
    for _ in range(count):
        x, y, members = study(rng, sets, additive=additive, true=true, seeds=seeds)
        given += membership_spearman(x, y, members).p < 0.05
        plain += partial_spearman(x, y, [np.zeros(sets)], resamples=2).p < 0.05
    return given / count, plain / count


def test_degrees_of_freedom_are_those_of_the_declared_test():
    rng = np.random.default_rng(0)
    x, y, members = study(rng, 30, additive=0.5)
    found = membership_spearman(x, y, members)
    assert found.given == 8  # nine indicators of sets of one size: eight free ones
    assert found.n - 2 - found.given == 30 - 9 - 1
    assert found.low < found.rho < found.high
    more = membership_spearman(x, y, members, [rng.normal(size=30)])
    assert more.given == 9


def test_it_is_the_partial_rank_correlation_given_indicators():
    rng = np.random.default_rng(2)
    x, y, members = study(rng, 40, additive=0.5)
    columns = [[float(name in m) for m in members] for name in LOSSES]
    assert membership_spearman(x, y, members).rho == pytest.approx(
        partial_spearman(x, y, columns, resamples=2).rho
    )


def test_too_few_sets_have_no_correlation():
    x, y, members = study(np.random.default_rng(3), 9, additive=0.5)
    found = membership_spearman(x, y, members)
    assert math.isnan(found.rho)
    assert math.isnan(found.p)
    with pytest.raises(ValueError, match="one entry per loss set"):
        membership_spearman(x, y, members[:-1])
    y[0] = math.nan
    assert membership_spearman(x, y, members).n == 8


@pytest.mark.parametrize("sets", [30, 60])
def test_a_true_null_is_rejected_in_five_percent_whatever_adds_up(sets):
    given, plain = rejected(sets, 300, additive=1.0, seed=sets)
    assert given <= 0.05 + bound(0.05, 300)
    if sets == 60:
        assert plain > 0.1  # plain rho, the headline before
    assert rejected(sets, 300, additive=0.0, seed=sets)[0] <= 0.05 + bound(0.05, 300)


@pytest.mark.calibrate
@pytest.mark.parametrize(("sets", "seeds", "power"), [(16, 2, 0.24), (30, 1, 0.55), (60, 1, 0.88)])
def test_power_at_a_true_correlation_of_six_tenths(sets, seeds, power):
    found, _ = rejected(sets, 1500, additive=0.5, true=0.6, seeds=seeds, seed=sets)
    assert found == pytest.approx(power, abs=0.05 + bound(power, 1500))


def test_plain_spearman_is_unchanged():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(2, 12))
    assert spearman(x, y, resamples=20).given == 0

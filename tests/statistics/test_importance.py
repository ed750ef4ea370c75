"""Importances of a search: planted dimensions are found and inert ones not, in branches too."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from sweep.cells.search.importance import FEWEST_TRIALS, distributions_of, importances
from sweep.cells.search.space import Space
from sweep.studies.load import load_study
from tests.statistics.simulate import bound

SPREAD = {
    "lr": FloatDistribution(1e-4, 1e-2, log=True),
    "inert": FloatDistribution(0, 1),
    "use_d": CategoricalDistribution([True, False]),
    "w_d": FloatDistribution(1e-2, 10, log=True),
    "combiner": CategoricalDistribution(["static", "meltr"]),
    "gamma": FloatDistribution(0.01, 1, log=True),
}


def drawn(rng, count):
    """Trials of a conditional space: `w_d` where `use_d`, `gamma` where `meltr`."""
    found = []
    for _ in range(count):
        one = {"lr": 10 ** rng.uniform(-4, -2), "inert": rng.uniform(),
               "use_d": bool(rng.integers(2)),
               "combiner": ("static", "meltr")[rng.integers(2)]}  # fmt: skip
        if one["use_d"]:
            one["w_d"] = 10 ** rng.uniform(-2, 1)
        if one["combiner"] == "meltr":
            one["gamma"] = 10 ** rng.uniform(-2, 0)
        found.append(one)
    return found, [{name: SPREAD[name] for name in one} for one in found]


def worth(rng, one, planted):
    """A loss that helps whatever its weight, and the planted dimension; noise of SD 1."""
    value = 4 * one["use_d"] + rng.normal()
    if planted == "lr":
        value += 4 * (np.log10(one["lr"]) + 3)
    if planted == "gamma" and "gamma" in one:
        value += 6 * (np.log10(one["gamma"]) + 1)
    return value


def rates(planted, count, repeats, seed=5):
    """Share of searches in which a dimension has p below .05, and its mean excess."""
    rng = np.random.default_rng(seed)
    hits = {name: [] for name in SPREAD}
    excess = {name: [] for name in SPREAD}
    first = []
    for _ in range(repeats):
        trials, spreads = drawn(rng, count)
        values = [worth(rng, one, planted) for one in trials]
        found = importances(trials, spreads, values, permutations=39)
        for one in found:
            hits[one.name].append(one.p < 0.05)
            excess[one.name].append(one.excess)
        first.append(next((one.name for one in found if one.name != "use_d"), None))
    share = {name: float(np.mean(rows)) for name, rows in hits.items() if rows}
    return share, {n: float(np.mean(rows)) for n, rows in excess.items() if rows}, first


@pytest.mark.parametrize("planted", ["lr", "gamma"])
def test_the_planted_dimension_is_found_and_the_inert_get_nothing(planted):
    share, excess, first = rates(planted, 80, 4)
    assert share[planted] >= 0.75
    assert first.count(planted) >= 3
    for name in ("inert", "w_d"):
        assert excess[name] < 0.25 * excess[planted], name


def test_few_trials_say_nothing():
    rng = np.random.default_rng(1)
    trials, spreads = drawn(rng, FEWEST_TRIALS)
    names = {one.name for one in importances(trials, spreads, rng.normal(size=20), permutations=9)}
    assert {"lr", "inert"} <= names
    assert not {"w_d", "gamma"} & names  # half of the trials have them


def test_distributions_follow_from_the_parameters():
    study = load_study(
        "quickstart",
        overrides=["design.kind=search", "combiners={static: {}, meltr: {}}",
                   "search.space={combiners.meltr.gamma: true, train.lr: {low: .001, high: .01}}"],
    )  # fmt: skip
    asked = optuna.create_study().ask()
    Space(study).suggest(asked)
    assert distributions_of(study, asked.params) == asked.distributions


@pytest.mark.calibrate
@pytest.mark.parametrize("count", [48, 96])
@pytest.mark.parametrize("planted", ["lr", "gamma", None])
def test_inert_dimensions_are_named_in_five_per_cent(planted, count):
    share = rates(planted, count, 100)[0]
    # what spreads the values of its trials is among the best more often: no inert dimension
    switches = {"combiner"} if planted == "gamma" else set()
    for name in share.keys() - {"use_d", planted} - switches:
        assert share[name] <= 0.05 + bound(0.05, 60), name
    if planted is not None and count > 50:
        assert share[planted] > 0.8

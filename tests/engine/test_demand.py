"""What trials ask for: rules, shares of a card, ranks, and what is refused before a start."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.cells.resolve import cells
from sweep.engine.demand import (
    GIB,
    MARGIN,
    MOST_PER_CARD,
    Demand,
    Peak,
    card_share,
    demand,
    heaviest,
    memory_kind,
)
from sweep.settings.section import ConfigError


def trial(study, label="all"):
    return next(cell for cell in cells(study) if cell.label == label)


@given(st.integers(1, 80 * GIB), st.integers(8 * GIB, 80 * GIB))
def test_trials_that_share_a_card_fit_on_it(peak, card):
    try:
        share = card_share(peak, card)
    except ConfigError:
        assert peak > 0.95 * card
        return
    trials = math.floor(1 / share + 1e-9)
    assert trials * share <= 1, "Ray would not place them"
    assert trials <= MOST_PER_CARD
    assert trials == 1 or trials * peak * MARGIN <= 0.95 * card + 1
    # one more would not have fitted, or there is no use for it
    assert trials == MOST_PER_CARD or (trials + 1) * peak * MARGIN > 0.95 * card


def test_shares_do_not_add_up_over_cards():
    """Two cards of .6 are no place for a trial of 1, nor eight cards for 53 trials of .15."""
    asked = Demand(cpus=1, gpus=0.15)
    assert asked.fit([{"CPU": 64, "GPU": 1}]) == 6
    assert Demand(cpus=1, gpus=1).fit([{"CPU": 8, "GPU": 0.6}, {"CPU": 8, "GPU": 0.6}]) == 0


def test_ranks_may_lie_on_several_nodes_but_each_on_one():
    nodes = [{"CPU": 3, "GPU": 1}, {"CPU": 3, "GPU": 3}]
    assert Demand(cpus=1, gpus=1, ranks=4).fit(nodes) == 1
    assert Demand(cpus=1, gpus=1, ranks=5).fit(nodes) == 0
    assert Demand(cpus=4, gpus=1, ranks=1).fit(nodes) == 0
    assert Demand(cpus=1, custom={"a100": 0.5}, ranks=2).fit([*nodes, {"CPU": 2, "a100": 1}]) == 1
    assert Demand(cpus=1, memory_bytes=3 * GIB).fit([{"CPU": 4, "memory": 8 * GIB}]) == 2


def test_rules_change_what_some_trials_ask_for(small):
    study = small(
        "resources.memory_gb_per_trial=2",
        "resources.rules=[{when: {min_losses: 2}, memory_gb_per_trial: 4}, "
        "{when: {losses: [infonce], combiner: static}, cpus_per_trial: 3}, "
        "{when: {combiner: meltr}, gpus_per_trial: 1}]",
    )
    few, many = (demand(study.resources, trial(study, label)) for label in ("none", "all"))
    assert few == Demand(cpus=1, memory_bytes=2 * GIB)
    assert many == Demand(cpus=3, memory_bytes=4 * GIB)
    without = demand(study.resources, trial(study, "all - infonce"))
    assert without == Demand(cpus=1, memory_bytes=4 * GIB)


def test_ranks_share_what_a_trial_asks_for(small):
    study = small(
        "resources.workers_per_trial=3", "resources.cpus_per_trial=6",
        "resources.gpus_per_trial=3", "resources.memory_gb_per_trial=3",
        "resources.custom={fast: 1}",
    )  # fmt: skip
    asked = demand(study.resources, trial(study))
    assert asked.bundle() == {"CPU": 2, "GPU": 1, "memory": GIB, "fast": 1}
    assert asked.ranks == 3
    assert str(asked) == "3 x (2 CPU + 1 GPU + 1 GiB memory + 1 fast)"


def test_auto_is_a_share_of_a_card_or_memory_or_a_whole_card(small):
    study = small("resources.gpus_per_trial=auto")
    given_ = trial(study)
    name = memory_kind(given_)
    packed = demand(study.resources, given_, {name: Peak(rss=GIB, gpu=5 * GIB, card=24 * GIB)})
    assert packed.gpus == 0.3333
    assert packed.memory_bytes == pytest.approx(MARGIN * GIB)
    on_cpu = demand(study.resources, given_, {name: Peak(rss=GIB)})
    assert on_cpu.bundle() == {"CPU": 1, "memory": pytest.approx(MARGIN * GIB, abs=1)}
    assert demand(study.resources, given_).gpus == 1
    alone = demand(
        small("resources.gpus_per_trial=auto", "resources.workers_per_trial=2").resources, given_
    )
    assert (alone.gpus, alone.ranks) == (1, 2)


def test_one_dry_step_per_kind_of_trial(small):
    study = small("combiners={static: {}, meltr: {}}")
    found = heaviest(cells(study))
    assert {memory_kind(cell) for cell in cells(study)} == set(found)
    for name, chosen in found.items():
        same = [cell for cell in cells(study) if memory_kind(cell) == name]
        assert len(chosen.losses) == max(len(cell.losses) for cell in same)
    assert len(found) < len({cell.label for cell in cells(study)})


def test_a_dry_step_measures_this_process(small):
    from sweep.engine.tune.peak_memory import measure_peak

    peak = measure_peak(trial(small()))
    assert 100 * 2**20 < peak.rss < 64 * GIB
    assert (peak.gpu == 0) == (peak.card == 0)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["resources.workers_per_trial=4"], "4 ranks cannot share"),
        (["resources.workers_per_trial=2", "resources.gpus_per_trial=1"], "cards of its own"),
        (
            ["resources.workers_per_trial=2", "combiners={meltr: {method: double_backward}}"],
            "double_backward is for one process",
        ),
        (["resources.custom={GPU: 1}"], "a key of its own"),
        (["resources.rules=[{when: {losses: [infonc]}}]"], "did you mean 'infonce'"),
        (["resources.rules=[{when: {model: tinny}}]"], "did you mean 'tiny'"),
        (["resources.rules=[{when: {}, gpus: 1}]"], "allowed: cpus_per_trial, gpus_per_trial"),
        (["resources.gpus_per_trial=some"], "gpus_per_trial"),
    ],
)
def test_what_cannot_be_is_refused_before_a_start(small, overrides, words):
    with pytest.raises(ConfigError) as found:
        small(*overrides)
    assert words in str(found.value)


def test_resources_are_no_part_of_a_cell(small):
    plain = {cell.key for cell in cells(small())}
    other = small("resources.workers_per_trial=3", "resources.gpus_per_trial=auto")
    assert {cell.key for cell in cells(other)} == plain

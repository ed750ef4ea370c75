"""The design `diversity`: spread over the measure, balanced in membership, the same every time."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from sweep.cells.designs.diverse import MEASURES, STRATA, score
from sweep.cells.resolve import cells, loss_sets
from sweep.settings.section import ConfigError
from sweep.studies.load import load_study

NAMES = (
    "caption", "frame_difference", "frame_order", "infonce", "masked_text", "pixel", "siglip",
    "univl_joint",
)  # fmt: skip


def study(*overrides):
    wanted = [f"losses.{name}.weight=1" for name in NAMES]
    return load_study(
        "quickstart",
        overrides=["design.kind=diversity", "losses.consistency=null", *wanted, *overrides],
    )


def drawn(*overrides):
    sets = loss_sets(study(*overrides))
    return [subset for label, subset in sets.items() if label.startswith("d=")]


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("size", [3, 4])
def test_sets_have_one_size_and_reach_both_ends(measure, size):
    subsets = drawn(f"design.measure={measure}", f"design.size={size}")
    assert len(subsets) == len(set(subsets)) == 20
    assert {len(s) for s in subsets} == {size}
    every = [score(s, measure) for s in itertools.combinations(NAMES, size)]
    values = [score(s, measure) for s in subsets]
    assert values == sorted(values)
    assert (values[0], values[-1]) == (min(every), max(every))
    uses = Counter(name for s in subsets for name in s)
    assert set(uses) == set(NAMES)
    assert max(uses.values()) - min(uses.values()) <= 4


def test_every_stratum_is_drawn_from_alike():
    """A random draw would leave the rare, less diverse sets out."""
    values = [score(s, "catalogue_distance") for s in drawn("design.subsets=56")]
    distinct = sorted(set(values))
    stratum = {value: i * STRATA // len(distinct) for i, value in enumerate(distinct)}
    there = Counter(stratum[value] for value in values)
    found = Counter(stratum[score(s, "catalogue_distance")] for s in drawn())
    for i in range(STRATA):
        assert found[i] >= min(there[i], 20 // STRATA)


def test_the_draw_depends_on_its_seed_alone():
    assert drawn() == drawn("seeds=7", "combiners={meltr: {}, equal: {}}")
    assert drawn() != drawn("design.seed=1")
    labels = [t.label for t in cells(study("seeds=1", "combiners={meltr: {}}"))]
    assert labels[:3] == ["none", "all", "d=0.00: infonce+siglip+univl_joint"]
    assert len(labels) == 22


def test_more_subsets_than_there_are_gives_all_of_them():
    assert len(drawn("design.subsets=500", "design.size=7")) == 8


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("design.size=8", "2 to 7 of 8 losses, given 8"),
        ("design.measure=entropy", "one of catalogue_distance, family_entropy"),
    ],
)
def test_impossible_designs_are_refused(override, message):
    with pytest.raises(ConfigError, match=message):
        loss_sets(study(override))


def test_losses_that_are_all_alike_have_nothing_to_spread_over():
    same = load_study(
        "quickstart",
        overrides=[
            "design.kind=diversity", "design.size=2",
            "losses={consistency: null, frame_difference: null, pixel: null, infonce: {}, "
            "siglip: {}, univl_joint: {}}",
        ],
    )  # fmt: skip
    with pytest.raises(ConfigError, match="the same catalogue_distance"):
        loss_sets(same)

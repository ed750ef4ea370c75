"""Designs: which cells they make."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from sweep.cells.designs.catalogue import DESIGNS
from sweep.cells.resolve import cells, loss_sets
from sweep.settings.section import ConfigError
from sweep.studies.load import load_study


def study(kind: str, *overrides: str):
    return load_study("quickstart", overrides=[f"design.kind={kind}", *overrides])


def test_leave_one_out_is_six_cells_times_the_seeds():
    planned = cells(study("loo"))
    assert len(planned) == 30
    assert [t.label for t in planned[:6]] == [
        "none", "all",
        "all - consistency", "all - frame_difference", "all - infonce", "all - pixel",
    ]  # fmt: skip
    assert [t.seed for t in planned] == [s for s in range(1300, 1305) for _ in range(6)]
    assert len({t.key for t in planned}) == 30


@pytest.mark.parametrize("kind", DESIGNS)
def test_every_design_has_its_anchors_and_no_cell_twice(kind):
    sets = loss_sets(study(kind))
    assert sets["none"] == ()
    assert sets["all"] == tuple(sorted(study(kind).losses))
    assert all(subset == tuple(sorted(subset)) for subset in sets.values())
    assert len(set(sets.values())) == len(sets)
    assert loss_sets(study(kind)) == sets


def test_an_unknown_design_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"design\.kind: unknown design 'pair'.*'pairs'"):
        study("pair")


def test_one_in_adds_each_loss_alone_to_the_leave_one_out_cells():
    out, one_in, both = (loss_sets(study(kind)) for kind in ("loo", "aoi", "loo+aoi"))
    names = sorted(study("aoi").losses)
    assert list(one_in.values())[2:] == [(name,) for name in names]
    assert both == out | one_in


def test_pairs_are_singles_and_pairs():
    sets = loss_sets(study("pairs"))
    assert Counter(map(len, sets.values())) == {0: 1, 1: 4, 2: 6, 4: 1}


def test_factorial_is_every_subset_once():
    sets = list(loss_sets(study("factorial")).values())
    names = sorted(study("factorial").losses)
    every = {s for k in range(5) for s in itertools.combinations(names, k)}
    assert set(sets) == every
    assert len(sets) == len(every) == 16


def test_factorial_of_too_many_losses_is_refused():
    extra = [
        f"losses.{n}.weight=1"
        for n in ("masked_frame", "masked_text", "latent_prediction", "variance_covariance")
    ]
    with pytest.raises(ConfigError, match="256 cells"):
        loss_sets(study("factorial", *extra))


def test_count_is_balanced_and_exhaustive_at_the_ends():
    extra = ["losses.masked_frame.weight=1", "losses.masked_text.weight=1"]
    sets = loss_sets(study("count", *extra, "design.subsets_per_count=4"))
    sizes = Counter(len(s) for s in sets.values())
    assert sizes == {0: 1, 1: 6, 2: 4, 3: 4, 4: 4, 5: 6, 6: 1}
    for size in (2, 3, 4):
        uses = Counter(n for s in sets.values() if len(s) == size for n in s)
        assert max(uses.values()) - min(uses.values()) <= 1
    assert len(set(sets.values())) == len(sets)
    assert loss_sets(study("count", *extra, "design.subsets_per_count=4")) == sets


def test_count_gives_a_placebo_an_arm_and_no_number():
    extra = ["losses.infonce_shuffled.weight=.25", "design.subsets_per_count=3"]
    sets = loss_sets(study("count", *extra))
    plain = loss_sets(study("count", *extra[1:]))
    assert {k: s for k, s in sets.items() if "infonce_shuffled" not in s} == {
        k: s for k, s in plain.items() if k != "all"
    } | {k: s for k, s in sets.items() if s == plain["all"]}
    arms = [s for k, s in sets.items() if "infonce_shuffled" in s and k != "all"]
    assert len(arms) == 3
    for arm in arms:
        rest = tuple(name for name in arm if name != "infonce_shuffled")
        assert len(rest) == 1
        assert rest in plain.values()
    with pytest.raises(ConfigError, match=r"sizes are 0..4"):  # a placebo adds no size
        loss_sets(study("count", extra[0], "design.counts=[5]"))


def test_count_refuses_impossible_sizes():
    with pytest.raises(ConfigError, match=r"sizes are 0..4"):
        loss_sets(study("count", "design.counts=[9]"))


def test_anchors_and_listed_sets():
    sets = loss_sets(study("anchors", "design.sets=[[pixel, infonce], [infonce, pixel]]"))
    assert list(sets) == ["none", "all", "infonce+pixel"]


def test_combiners_share_the_cell_without_losses():
    planned = cells(study("loo", "combiners={meltr: {}, static: {}}", "seeds=1"))
    labels = [t.label for t in planned]
    assert labels.count("none") == 1
    assert len(planned) == 1 + 2 * 5
    assert "all [meltr]" in labels


def test_learned_combiners_ignore_weights():
    one = cells(study("anchors", "combiners={equal: {}}", "losses.pixel.weight=3", "seeds=1"))
    two = cells(study("anchors", "combiners={equal: {}}", "losses.pixel.weight=5", "seeds=1"))
    assert [t.key for t in one] == [t.key for t in two]


def test_power_table_is_what_statsmodels_computes():
    from statsmodels.stats.power import TTestPower

    from sweep.statistics.power import DETECTABLE_SD, detectable_sd

    for pairs, stored in DETECTABLE_SD.items():
        exact = TTestPower().solve_power(nobs=pairs, alpha=0.05, power=0.8)
        assert stored == pytest.approx(float(exact), rel=0.01)
    assert detectable_sd(1) is None
    assert detectable_sd(11) == DETECTABLE_SD[10]

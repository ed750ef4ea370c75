"""The studies on number and diversity of losses: what they plan at every scale."""

from __future__ import annotations

import pytest
import yaml

from losses.catalogue import LOSSES
from losses.views import video_views
from sweep.cells.resolve import cells, loss_sets
from sweep.data.catalogue import DATASETS
from sweep.evaluation.conditions import TestPlan as Plan
from sweep.records.patterns import matching
from sweep.studies.files import STUDIES_DIR
from sweep.studies.load import load_study

NAMES = ("loss-count", "loss-diversity")
SCALES = [
    (name, scale)
    for name in NAMES
    for scale in yaml.safe_load((STUDIES_DIR / f"{name}.yaml").read_text())["scales"]
]


def load(name, scale):
    return load_study(name, scale=scale, overrides=[] if scale == "mini" else ["data.root=/data"])


@pytest.mark.parametrize(("name", "scale"), SCALES)
def test_a_scale_changes_data_model_and_budget_never_what_varies(name, scale):
    """And words, where they would tell of other data."""
    study, mini = load(name, scale), load(name, "mini")
    assert (study.name, study.design, study.combiners) == (mini.name, mini.design, mini.combiners)
    assert len(study.losses) >= 8
    assert len(cells(study)) == len(cells(mini))
    shifts = DATASETS[study.data.dataset].shifts
    there = [row.name for row in Plan.of(study.evaluate, shifts, {"video"}, 1).rows]
    for outcome, patterns in study.outcomes.items():
        assert matching(there, patterns), f"{outcome} has no condition at scale {scale}"
    assert DATASETS[study.data.dataset].embedded == (scale == "mini")


@pytest.mark.parametrize("name", NAMES)
def test_mini_is_cheap_and_on_seeds_of_its_own(name):
    study = load(name, "mini")
    assert all(video_views([loss]) == ["a"] for loss in study.losses), "one view: half the time"
    assert 30 <= len(cells(study)) <= 64
    assert study.data.seed not in {1, 2, 4}, "data that recipes were chosen on"
    assert not set(study.seed_list) & {*range(100, 110), *range(200, 203), *range(400, 403)}


def test_number_and_captions_are_not_the_same_thing():
    """Captions are supervision: every size of `loss-count` holds its share of them."""
    study = load("loss-count", "mini")
    reads = {n for n in study.losses if any("caption" in f for f in LOSSES[n].needs)}
    sizes = {}
    for subset in loss_sets(study).values():
        sizes.setdefault(len(subset), []).append(len(reads & set(subset)))
    assert set(sizes) == {0, 1, 4, 7, 8}
    for size, counts in sizes.items():
        share = size * len(reads) / len(study.losses)
        assert sum(counts) / len(counts) == pytest.approx(share, abs=0.3)


def test_diversity_is_not_the_same_thing_as_captions():
    study = load("loss-diversity", "mini")
    assert [study.headline[0], study.design.measure] == ["temporal", "catalogue_distance"]
    low = [s for label, s in loss_sets(study).items() if label.startswith("d=")][:2]
    reads = [sum("caption" in str(LOSSES[n].needs) for n in subset) for subset in low]
    assert sorted(reads) == [0, 3], "kin with captions and kin without"

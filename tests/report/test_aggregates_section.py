"""Aggregates over perturbations and variance components: numbers, and that they claim nothing."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from sweep.records.files import read_records
from sweep.records.outcomes import Outcomes
from sweep.report import build as building
from sweep.report.analyses import aggregates, components
from sweep.report.answer import facts
from sweep.report.evidence import collect
from sweep.statistics.components import Components, variance_components
from tests.report.conftest import LEVELS

WHOLE = {"untrained": (), "failed": (), "missing": ()}
PERTURBATIONS = ("gaussian_noise", "motion_blur", "zoom_blur", "jpeg", "jumbling", "freezing",
                 "sampling", "static_rotation", "translation")  # fmt: skip
FIVE = (300, 301, 302, 303, 304)


@pytest.fixture(scope="session")
def five(new_sweep):
    return new_sweep(clips=60, steps=40, seeds=FIVE, **WHOLE)


@pytest.fixture(scope="session")
def found(five):
    return aggregates.find(collect(five))


def findings_of(sweep):
    drawn = []
    found = building._findings(collect(sweep), lambda name, _: drawn.append(name) or "")
    return found, drawn


def scores_of(sweep):
    """Label -> (seeds, perturbations), mean over severities."""
    table = {}
    for record in sorted(read_records(sweep), key=lambda r: r.seed):
        if record.status == "done":
            row = [
                np.mean([v for c, v in record.accuracy.items() if c.partition("/")[0] == name])
                for name in PERTURBATIONS
            ]
            table.setdefault(record.label, []).append(row)
    return {label: np.array(rows) for label, rows in table.items()}


# ---------------------------------------------------------------------------------- aggregates


def test_interquartile_means_equal_a_recomputation(five, found):
    scores = scores_of(five)
    assert set(found.perturbations) == set(PERTURBATIONS)
    assert set(LEVELS) - set(PERTURBATIONS) == {"frame_shuffle", "reversal"}  # the order controls
    assert {row.cell.name for row in found.cells} == set(scores)
    for row in found.cells:
        wanted = stats.trim_mean(scores[row.cell.name].ravel(), 0.25)
        assert row.middle.mean == pytest.approx(wanted)
        assert row.middle.low < wanted < row.middle.high
    means = [row.middle.mean for row in found.cells]
    assert means == sorted(means, reverse=True)


def test_probabilities_of_improvement_equal_a_recomputation(five, found):
    scores = scores_of(five)
    sides = {name: ("all", f"all - {name}") for name in ("consistency", "infonce", "pixel")}
    rows = {row.name: row for row in found.comparisons}
    for name, (one, two) in (sides | {"whole set": ("all", "none")}).items():
        wins = [
            0.5 * (1 + np.sign(a - b))
            for p in range(len(PERTURBATIONS))
            for a, b in itertools.product(scores[one][:, p], scores[two][:, p])
        ]
        assert rows[name].improvement.mean == pytest.approx(np.mean(wins))
        gain = stats.trim_mean(scores[one].ravel(), 0.25)
        gain -= stats.trim_mean(scores[two].ravel(), 0.25)
        assert rows[name].gain.mean == pytest.approx(gain)


def test_the_worst_perturbation_has_doubt_about_seeds_and_clips(five, found):
    scores = scores_of(five)
    for row in found.cells:
        assert row.worst.mean == pytest.approx(scores[row.cell.name].mean(axis=0).min())
        assert row.worst.low < row.worst.mean < row.worst.high


def test_profiles_fall_from_everything_to_nothing(five, found):
    scores = scores_of(five)
    for row in found.cells:
        assert (np.diff(row.profile) <= 0).all()
        assert row.profile[-1] == 0
        assert row.profile[50] == np.mean(scores[row.cell.name] > 50)


def test_three_seeds_have_no_intervals_and_a_missing_run_leaves_its_row_out(new_sweep):
    sweep = new_sweep(clips=40, steps=40, **WHOLE | {"missing": (("all", 302),)})
    findings, _ = findings_of(sweep)
    found = findings.found["aggregates"]
    by_name = {row.cell.name: row for row in found.cells}
    assert (by_name["all"].middle.n, by_name["none"].middle.n) == (2, 3)
    assert by_name["all"].middle.mean == pytest.approx(
        stats.trim_mean(scores_of(sweep)["all"].ravel(), 0.25)
    )
    (section,) = aggregates.sections(findings, found)
    assert "fewer than 5 seeds there are no intervals" in section.blocks[0].text
    for table in section.blocks[1:3]:
        for row in table.entries:
            assert not any(entry.details for entry in row)


def test_one_perturbation_has_no_aggregate(new_sweep):
    sweep = new_sweep(clips=40, steps=40, few=True, **WHOLE)
    evidence = collect(sweep)
    kept = {c: v for c, v in evidence.categories.items() if not c.startswith("jumbling")}
    evidence.__dict__["categories"] = kept
    assert aggregates.find(evidence) is None


@pytest.mark.parametrize("name", ["aggregates", "components"])
def test_it_is_described_and_claims_nothing(five, name):
    findings, _ = findings_of(five)
    row = next(row for row in building.asked(findings.evidence) if row.name == name)
    assert row.claims(findings.found[name]) == []
    assert row.sentences(findings) == []
    (section,) = row.sections(findings)
    assert section.blocks[0].text.startswith("Description, not claims: ")
    for block in section.blocks:
        assert "**" not in getattr(block, "text", "")
        for line in getattr(block, "entries", []):
            assert not any(entry.tone for entry in line)


def test_the_files_have_every_row(found):
    files = aggregates.tables(found)
    assert len(files["aggregates"]) == len(found.cells) == 6
    assert len(files["improvement"]) == len(found.comparisons) == 5
    assert len(files["profile"]) == 6 * 101


# ---------------------------------------------------------------------------------- components


def test_components_are_those_of_the_outcomes_per_clip(five):
    evidence = collect(five)
    found = components.find(evidence)
    assert list(found) == evidence.headline
    by_cell = {}
    for record in sorted(read_records(five), key=lambda r: r.seed):
        table = Outcomes.load(five / "cells" / record.key / "outcomes.npz")
        conditions = [c for c in table.conditions if c.startswith("gaussian_noise/")]
        row = np.mean([table.correct(c) for c in conditions], axis=0)
        by_cell.setdefault(record.label, []).append(row)
    assert found["noise"] == variance_components(100 * np.array([*by_cell.values()]))
    assert (found["ood"].sets, found["ood"].seeds, found["ood"].clips) == (6, 5, 180)


def test_cells_with_untrained_or_missing_runs_are_no_spread_of_seeds(new_sweep):
    gone = {"untrained": (("all", 300),), "missing": (("none", 301),), "failed": ()}
    found = components.find(collect(new_sweep(clips=40, steps=40, few=True, **gone)))
    assert found["clean"].sets == 4


def test_one_seed_or_no_outcomes_per_clip_have_no_components(new_sweep):
    small = {"clips": 40, "steps": 40, "few": True, **WHOLE}
    assert components.find(collect(new_sweep(**small, seeds=(300,)))) is None
    assert components.find(collect(new_sweep(**small, outcomes=False))) is None


@pytest.mark.parametrize(("set_clip", "said"), [(0.0, False), (5000.0, True)])
def test_the_answer_asks_for_clips_where_they_are_the_doubt(five, set_clip, said):
    findings, _ = findings_of(five)
    none = dict.fromkeys(("set", "seed", "clip", "seed_clip"), 0.0)
    parts = Components(**none, set_seed=4.0, set_clip=set_clip, rest=0.0, sets=6, seeds=5, clips=60)
    found = replace(findings, found={**findings.found, "components": {"noise": parts}})
    text = next(fact.text for fact in facts(found) if fact.label == "Run next")
    assert ("is in the test clips" in text) == said
    if said:  # 2 x 5000 / 60 against 2 x 4 / 5
        assert "But 99 % of the doubt about a difference on noise" in text

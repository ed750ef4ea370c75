"""Equal frames count once: in outcomes of records of any age, in plans, in reports."""

from __future__ import annotations

import json
import math

import pytest

from sweep.commands import plan as command
from sweep.evaluation.conditions import check_outcomes, default_outcomes
from sweep.planning.plan import make
from sweep.records.condition import Condition
from sweep.records.equal import counted, equal_by_settings, equal_in, exact, in_words
from sweep.records.patterns import outcome
from sweep.records.record import Score, TrialRecord
from sweep.report.evidence import collect
from sweep.report.robustness import measure_robustness
from sweep.report.sections.protocol import equal_text
from sweep.settings.section import ConfigError
from sweep.studies.load import load_study

BOXES = [f"box_jumbling/{s}" for s in (1, 2, 3, 4, 5)]
#: Settings of a trial, as records hold them: 24 stored frames, of which tiny sees 8.
PUBLISHED = {
    "evaluate": {"profile": "paper_fixed"},
    "data": {"cache_frames": 24, "size_px": 64},
    "model": {"name": "tiny", "knobs": {}},
}


def record(accuracies, *, config=PUBLISHED, pixels=()):
    scores = tuple(
        Score.of(Condition.parse(name), {"top1": value}, clips=9, pixels=dict(pixels).get(name, ""))
        for name, value in accuracies.items()
    )
    return TrialRecord(
        key="k", label="all", status="done", seed=0, losses=(), combiner="static",
        config=config, scores=scores,
    )  # fmt: skip


def test_an_outcome_leaves_out_what_shows_the_clean_clips():
    made = record({"clean": 90.0, **dict(zip(BOXES, (50.0, 60.0, 70.0, 90.0, 90.0), strict=True))})
    assert outcome(made, ["box_jumbling/*"]) == 60.0
    assert outcome(made, ["clean", "box_jumbling/4"]) == 90.0
    assert outcome(made, ["box_jumbling/4"]) == 90.0  # asked for itself: what was measured
    assert math.isnan(outcome(made, ["jumbling/*"]))


def test_an_outcome_counts_a_repetition_once():
    made = record(
        {"clean": 90.0, "sampling/4": 40.0, "sampling/5": 10.0, "reverse_sampling/5": 10.0}
    )
    assert outcome(made, ["sampling/*", "reverse_sampling/*"]) == 25.0
    assert outcome(made, ["reverse_sampling/*"]) == 10.0
    assert outcome(made, ["top1:sampling/*", "top1:reverse_sampling/*"]) == 25.0


def test_pixels_tell_what_settings_do_not():
    scores = {"clean": 80.0, "jpeg/3": 80.0, "jpeg/5": 40.0, "snow/1": 20.0, "snow/2": 20.0}
    pixels = {"clean": "a", "jpeg/3": "a", "jpeg/5": "b", "snow/1": "c", "snow/2": "c"}
    made = record(scores, pixels=pixels)
    assert exact(equal_in(made)) == {"jpeg/3": "clean", "snow/2": "snow/1"}
    assert outcome(made, ["jpeg/*"]) == 40.0
    assert outcome(made, ["jpeg/*", "snow/*"]) == 30.0
    assert outcome(record(scores), ["jpeg/*"]) == 60.0  # nothing is known: as it was


def test_other_draws_of_one_strength_stay():
    made = record({"clean": 90.0, "jumbling/4": 20.0, "jumbling/5": 30.0})
    assert equal_in(made)["jumbling/5"].draws
    assert outcome(made, ["jumbling/*"]) == 25.0


def test_pairs_with_captions_follow_their_video():
    names = ["clean", "box_jumbling/5", "text_typos/1", "box_jumbling+typos/5"]
    found = exact(equal_by_settings(names, PUBLISHED))
    assert found == {"box_jumbling/5": "clean", "box_jumbling+typos/5": "text_typos/1"}


@pytest.mark.parametrize(
    "config",
    [{}, {"data": None, "model": {"name": "gone"}}, {"data": {"cache_frames": "x"}},
     {"evaluate": {"ladder": "later"}}, {"evaluate": {"profile": "later"}, "model": []}],
)  # fmt: skip
def test_records_of_any_age_are_read(config):
    made = record({"clean": 90.0, "jumbling/9": 1.0, "gone/2": 50.0}, config=config)
    assert not equal_in(made)


def test_counted_keeps_the_first_and_asks_for_clean_as_such():
    same = {"b": "a", "c": "clean"}
    assert counted(["a", "b", "c"], same) == ["a"]
    assert counted(["b"], same) == ["b"]
    assert counted(["c", "clean"], same) == ["clean"]
    assert counted(["m:a", "m:b"], same) == ["m:a"]


def boxes(tmp_path, *more):
    return load_study(
        "quickstart",
        overrides=[
            "evaluate.ladder=paper_fixed", "evaluate.conditions={box_jumbling: [2, 4, 5]}",
            "headline=[clean]", f"data.cache_dir={tmp_path}", *more,
        ],
    )  # fmt: skip


def test_plan_names_them_with_the_reason(tmp_path, capsys):
    study = boxes(tmp_path, "outcomes={clean: [clean], boxes: ['box_jumbling/*']}")
    assert make(study).equal_conditions == (
        "box_jumbling/4 = clean (segments of 25 frames; of 24 stored frames 8 are shown)",
        "box_jumbling/5 = clean (segments of 36 frames; of 24 stored frames 8 are shown)",
    )
    plan = make(study)
    command._show(study, plan, [])
    assert "equal" in (shown := capsys.readouterr().out)
    assert "box_jumbling/4 = clean" in shown
    plain = load_study("quickstart", overrides=[f"data.cache_dir={tmp_path}"])
    assert not make(plain).equal_conditions


def test_an_outcome_of_clean_clips_under_other_names_is_refused(tmp_path):
    study = boxes(tmp_path, "outcomes={clean: [clean], b: ['box_jumbling/4', 'box_jumbling/5']}")
    with pytest.raises(ConfigError, match=r"outcomes\.b: nothing that it names changes the clips"):
        make(study)


def test_outcomes_by_default_have_every_frame_once():
    rows = [Condition.parse(name) for name in ("clean", *BOXES, "sampling/5", "reverse_sampling/5")]
    same = equal_by_settings([row.name for row in rows], PUBLISHED)
    found = default_outcomes(rows, same)
    assert found == {"clean": ["clean"], "temporal": [*BOXES[:3], "sampling/5"]}
    check_outcomes(found, rows, "default", same)
    nothing = default_outcomes([Condition.parse("clean"), Condition.parse(BOXES[4])], same)
    assert nothing == {"clean": ["clean"]}


def test_the_report_tells_them_and_measures_without_them(tmp_path):
    (tmp_path / "sweep.yaml").write_text("name: x\nlosses: {}\n", encoding="utf-8")
    accuracies = {"clean": 90.0, **dict.fromkeys(BOXES[:3], 45.0), **dict.fromkeys(BOXES[3:], 90.0)}
    made = record({**accuracies, "jumbling/4": 30.0, "jumbling/5": 30.0})
    folder = tmp_path / "cells" / "k"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(made.to_json()), encoding="utf-8")
    evidence = collect(tmp_path)
    assert evidence.distinct == {"clean", *BOXES[:3], "jumbling/4", "jumbling/5"}
    same, drawn = equal_text(evidence)
    assert same.startswith("Equal frames: box_jumbling/4 = clean (segments of 25 frames; of 24")
    assert "An outcome counts equal frames once" in same
    assert drawn.startswith("Equal strength, other draws: jumbling/5 ~ jumbling/4 (windows of 64")
    found = measure_robustness(evidence)
    assert found.grid == {"jumbling": ["jumbling/4", "jumbling/5"], "box_jumbling": BOXES[:3]}
    assert found.values["mPC"]["k"] == pytest.approx((30 + 45) / 2)
    assert in_words({}) == []

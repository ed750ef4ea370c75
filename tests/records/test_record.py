"""Records, outcomes and the files of a cell."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from sweep.records.condition import Condition
from sweep.records.files import read_history, read_record, read_records, write_cell
from sweep.records.outcomes import Outcomes
from sweep.records.patterns import matching, outcome
from sweep.records.record import Score, TrialRecord, comparable
from tests.outcomes import classified


def score(condition, accuracy, **more):
    return Score.of(Condition.parse(condition), {"top1": accuracy}, clips=5, **more)


def record(status="done", **changes):
    parts = {
        "key": "k1",
        "label": "all",
        "status": status,
        "seed": 3,
        "losses": ("infonce", "pixel"),
        "combiner": "static",
        "config": {"a": 1},
        "scores": (
            score("clean", 80.0),
            Score(
                condition="jpeg/3", category="digital", metrics={"top1": 60.0}, clips=5, level="12"
            ),
            Score(
                condition="jpeg/5", category="digital", metrics={"top1": 50.0}, clips=5, level="3"
            ),
        ),
        "final": {"cross_entropy": math.nan},
        "run": {"seconds": 3},
    }
    return TrialRecord(**{**parts, **changes})


def outcomes():
    labels = np.array([0, 1, 2, 0, 1])
    return classified(
        ids={"clean": ("a", "b", "c", "d", "é")},
        labels={"clean": labels},
        predictions={
            "clean": np.array([0, 1, 2, 0, 0], dtype=np.int16),
            "jpeg/3": np.array([0, 0, 0, 0, 0], dtype=np.int16),
        },
    )


def test_json_round_trip_without_nan():
    text = json.dumps(record().to_json(), allow_nan=False)
    again = TrialRecord.from_json(json.loads(text))
    assert again.scores == record().scores
    assert again.final["cross_entropy"] is None
    assert again.losses == ("infonce", "pixel")


def test_newer_schema_is_refused():
    with pytest.raises(ValueError, match="newer"):
        TrialRecord.from_json({**record().to_json(), "schema_version": 99})


def test_comparable_leaves_out_times_only():
    one, two = record(run={"seconds": 1}).to_json(), record(run={"seconds": 9}).to_json()
    assert one != two
    assert comparable(one) == comparable(two)
    assert "scores" in comparable(one)


def test_outcomes_round_trips(tmp_path):
    first = outcomes()
    first.save(tmp_path / "outcomes.npz")
    for again in (Outcomes.unpack(first.pack()), Outcomes.load(tmp_path / "outcomes.npz")):
        assert again.conditions == first.conditions
        assert again.ids == first.ids
        assert again.clip_sets == first.clip_sets
        assert again.correct("clean").tolist() == [True, True, True, True, False]
        assert again.predictions["jpeg/3"].dtype == np.int16


def test_cell_files(tmp_path):
    folder = tmp_path / "cells" / "k1"
    failed = record("failed", error={"type": "Diverged", "message": "loss pixel", "step": 3})
    write_cell(folder, failed, [{"step": 0, "unified": math.inf}], None)
    assert not (folder / "result.json").exists()
    assert read_record(folder).error["type"] == "Diverged"
    assert read_history(folder) == [{"step": 0, "unified": None}]
    write_cell(folder, record(), [], outcomes())
    assert read_record(folder).status == "done"
    assert not (folder / "failure.json").exists()
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]


def test_damaged_result_counts_as_absent(tmp_path):
    folder = tmp_path / "cells" / "k1"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text('{"key": ')
    assert read_record(folder) is None


def test_records_come_in_the_order_of_the_plan(tmp_path):
    for key in ("a", "b", "c"):
        write_cell(tmp_path / "cells" / key, record(key=key), [], None)
    plan = {"cells": [{"key": "c"}, {"key": "a"}]}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    assert [r.key for r in read_records(tmp_path)] == ["c", "a"], "b is not planned any more"


def test_outcome_is_the_mean_of_matching_conditions():
    assert matching(["clean", "jpeg/3", "jpeg/5"], ["jpeg/*"]) == ["jpeg/3", "jpeg/5"]
    assert outcome(record(), ["jpeg/*"]) == 55.0
    assert math.isnan(outcome(record(), ["fog/*"]))

"""Records, outcomes and the files of a cell."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from sweep.records.condition import Condition
from sweep.records.files import (
    read_history,
    read_record,
    read_records,
    validation_of,
    write_cell,
)
from sweep.records.outcomes import Outcomes
from sweep.records.patterns import matching, outcome
from sweep.records.plan import SweepPlan
from sweep.records.record import Score, TrialRecord, comparable
from sweep.tasks.catalogue import TASKS
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


def test_a_stored_plan_is_read_as_it_was_written():
    """Those of earlier versions lack keys, or hold more."""
    stored = {
        "study": "s", "scale": "mini", "created": "2026-01-01",
        "cells": [{"key": "a", "label": "all", "losses": ["pixel"], "combiner": "static",
                   "seed": 3, "design": "search", "stage": "final"}],
        "not_planned": ["b"], "data": {"fingerprint": "f"},
    }  # fmt: skip
    plan = SweepPlan.from_json(stored)
    assert plan.is_whole
    assert plan.to_json() == stored
    assert plan.cells[0].name == "all s3"
    old = SweepPlan.from_json({"cells": [{"key": "a", "label": "all", "seed": 3, "is_old": True}]})
    assert old.is_whole
    assert old.keys == ["a"]
    assert not SweepPlan.from_json({"cells": [{"key": "a"}]}).is_whole
    assert SweepPlan.from_json({"cells": 3}) is None


def test_outcome_is_the_mean_of_matching_conditions():
    assert matching(["clean", "jpeg/3", "jpeg/5"], ["jpeg/*"]) == ["jpeg/3", "jpeg/5"]
    assert outcome(record(), ["jpeg/*"]) == 55.0
    assert math.isnan(outcome(record(), ["fog/*"]))


# --------------------------------------------------------------------------------- older schemas


STORED = Path(__file__).parents[1] / "frozen" / "sweeps"


def cells_of(name):
    return sorted((STORED / name / "cells").glob("*/result.json"))


@pytest.mark.parametrize(
    ("name", "schema", "task"),
    [
        ("schema-1", 1, "classification"),
        ("classification", 2, "classification"),
        ("count", 2, "classification"),
        ("retrieval", 2, "retrieval"),
    ],
)
def test_older_records_are_read_in_the_form_of_today(name, schema, task):
    names = [metric.name for metric in TASKS[task].metrics]
    for path in cells_of(name):
        content = json.loads(path.read_text("utf-8"))
        assert content["schema_version"] == schema
        found = TrialRecord.from_json(content)
        assert (found.schema_version, found.task) == (3, task)
        for score, row in zip(found.scores, content["scores"], strict=True):
            assert next(iter(score.metrics)) == names[0]
            assert set(score.metrics) == set(names)
            assert score.accuracy == row["accuracy"]
            assert {n: score.value(n) for n in row.get("retrieval", {})} == row.get("retrieval", {})
            assert score.clip_set == (row["condition"] if row["category"] == "shift" else "clean")
            assert bool(score.perturbation or score.text) == ("/" in row["condition"])
        # and written and read once more
        again = TrialRecord.from_json(json.loads(json.dumps(found.to_json())))
        assert again == found


@pytest.mark.parametrize("name", ["schema-1", "classification", "count", "retrieval"])
def test_older_outcomes_are_read_in_the_form_of_today(name, tmp_path):
    for path in cells_of(name):
        found = TrialRecord.from_json(json.loads(path.read_text("utf-8")))
        stored = Outcomes.load(path.with_name("outcomes.npz"))
        per_clip = [metric.name for metric in TASKS[found.task].metrics if metric.per_clip]
        assert list(stored.values) == per_clip
        for score in found.scores:
            for metric in per_clip:
                values = stored.correct(f"{metric}:{score.condition}")
                assert 100 * values.mean() == pytest.approx(score.value(metric))
        stored.save(tmp_path / "again.npz")
        for again in (Outcomes.load(tmp_path / "again.npz"), Outcomes.unpack(stored.pack())):
            arrays = again.arrays()
            assert list(arrays) == list(stored.arrays())
            for key, array in stored.arrays().items():
                assert arrays[key].dtype == array.dtype
                assert np.array_equal(arrays[key], array)


def test_validations_of_every_age_are_read():
    assert validation_of({"step": 3, "validation": {"t2v_R1": 5.0, "t2v_MedR": 2.0}}) == {
        "t2v_R1": 5.0, "t2v_MedR": 2.0,
    }  # fmt: skip
    assert list(validation_of({"step": 3, "clean_accuracy": 40.0}).values()) == [40.0]
    assert validation_of({"step": 3, "unified": 1.0}) == {}
    (value,) = validation_of({"validation": {"top1": None}}).values()
    assert math.isnan(value)


def test_what_a_task_keeps_of_its_own_survives(tmp_path):
    kept = {"answers": {"clean": np.array([2.5, 1.0, 0.0, 3.0, 9.0], dtype=np.float32)}}
    first = dataclasses.replace(outcomes(), kept=kept)
    first.save(tmp_path / "o.npz")
    for again in (Outcomes.load(tmp_path / "o.npz"), Outcomes.unpack(first.pack())):
        assert again.kept["answers"]["clean"].dtype == np.float32
        assert np.array_equal(again.kept["answers"]["clean"], kept["answers"]["clean"])
        assert again.labels == again.predictions == {}

"""A new task is one file and one row: written while the program runs, then swept for real."""

from __future__ import annotations

import dataclasses
import sys

import pytest

import sweep.report.evidence
import sweep.studies.checks
import sweep.trial  # noqa: F401 - whoever reads the table is imported before it is exchanged
from losses.catalogue import index_by_name
from sweep.commands.reporting import reported
from sweep.engine.run import run_study
from sweep.planning.plan import make
from sweep.records.files import read_history, read_records
from sweep.records.outcomes import Outcomes
from sweep.settings.section import ConfigError
from sweep.studies.load import load_study
from sweep.tasks.catalogue import TASKS, Metric

FILE = '''
"""How much probability the right class gets, and whether it is among the first three."""

import numpy as np

from sweep.evaluation.result import Tested


def test(bench, encoders, rows, spec):
    tested = Tested(bench, encoders, [metric.name for metric in spec.metrics])
    for condition in rows:
        shown = encoders.video(condition, "logits")
        chance = np.exp(shown.values - shown.values.max(1, keepdims=True))
        chance /= chance.sum(1, keepdims=True)
        truth, chosen = bench.prepared.evaluation[condition.clips].labels, bench.rows(condition)
        truth = truth if chosen is None else truth[chosen]
        own = chance[np.arange(len(truth)), truth]
        rank = (chance >= own[:, None]).sum(1)
        tested.add(
            condition,
            {"trust": own, "reciprocal": 1 / rank},
            pixels=shown.pixels,
            metrics={"worst": float(rank.max())},
        )
    return tested.evaluation()
'''
STUDY = """
name: new-task
title: Does a task of one file run?
question: Does it?
design: {kind: loo}
losses: {consistency: {}}
seeds: 2
data: {dataset: motes-ssv2, seed: 11, train_per_class: 4, val_per_class: 2, labelled_per_class: 2}
train: {steps: 4, batch: 6, warmup: 0, log_every: 1, validate_every: 2}
evaluate:
  task: trust
  profile: null
  conditions: {gaussian_noise: [1, 3]}
outcomes: {clean: [clean], mean reciprocal rank: ["reciprocal:clean", "reciprocal:*noise/*"]}
headline: [clean, mean reciprocal rank]
track: {wandb: disabled}
"""


@pytest.fixture
def new_task(tmp_path, monkeypatch):
    """One file on the path and one row in the table, wherever the table is known."""
    (tmp_path / "task_file.py").write_text(FILE)
    monkeypatch.syspath_prepend(tmp_path)
    row = dataclasses.replace(
        TASKS["classification"],
        name="trust",
        metrics=(
            Metric(name="trust", label="probability of the right class", chance="1/classes"),
            Metric(name="reciprocal", label="reciprocal rank of the right class"),
            Metric(name="worst", label="worst rank", unit="rank", better="lower", per_clip=False),
        ),
        primaries=(),
        target="task_file:test",
        description="probability of the right class",
        source="this test",
    )
    table = index_by_name([*TASKS.values(), row])
    for module in [m for m in sys.modules.values() if getattr(m, "TASKS", None) is TASKS]:
        monkeypatch.setattr(module, "TASKS", table)
    yield
    sys.modules.pop("task_file", None)


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    return lambda *overrides: load_study(str(path), overrides=overrides)


def test_a_task_of_one_file_and_one_row_is_swept_and_reported(new_task, study, tmp_path):
    out = tmp_path / "sweep"
    planned = make(study())
    summary = reported(run_study(study(), out=out, engine="local"))
    assert (summary.code, summary.done, summary.failed) == (0, 4, 0)
    for record in read_records(out):
        assert record.task == "trust"
        assert [score.condition for score in record.scores] == list(planned.conditions)
        assert list(record.scores[0].metrics) == ["trust", "reciprocal", "worst"]
        outcomes = Outcomes.load(out / "cells" / record.key / "outcomes.npz")
        for score in record.scores:
            assert 0 < score.accuracy < 100
            assert score.accuracy == pytest.approx(100 * outcomes.correct(score.condition).mean())
            found = outcomes.correct(f"reciprocal:{score.condition}")
            assert score.value("reciprocal") == pytest.approx(100 * found.mean())
        rows = [row for row in read_history(out / "cells" / record.key) if "validation" in row]
        assert [row["step"] for row in rows] == [2]
        assert list(rows[0]["validation"]) == ["trust", "reciprocal", "worst"]
    text = (out / "report" / "report.md").read_text()
    assert "Probability of the right class in percent" in text
    assert "mean reciprocal rank" in text
    assert "Retrieval" not in text


def test_few_clips_per_cell_are_estimated_for_it_too(new_task, study, tmp_path, undrawn):
    thin = study("evaluate.fidelity=probe", "evaluate.clips_per_cell=8")
    reported(run_study(thin, out=tmp_path / "thin", engine="local"))
    record = read_records(tmp_path / "thin")[0]
    assert record.fidelity["clips_per_cell"] == 8
    grid = record.estimates["grid"]
    assert grid["low"] <= grid["mean"] <= grid["high"]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("evaluate.task=trusst", "unknown task 'trusst'; did you mean 'trust'"),
        ("outcomes.clean=['recirpocal:clean']", "unknown metric of trust 'recirpocal'"),
        ("outcomes.clean=['worst:clean']", "unknown metric of trust 'worst'"),
        ("data.dataset=motes-vtt", "needs classes"),
    ],
)
def test_what_it_cannot_do_is_said_before_it_starts(new_task, study, override, words):
    with pytest.raises(ConfigError) as error:
        study(override)
    assert words in str(error.value)

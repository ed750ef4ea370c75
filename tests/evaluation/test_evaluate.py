"""Testing a model: what is measured, and what is not forwarded twice."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import models
from sweep.data.prepare import prepare
from sweep.evaluation.bench import TestBench as Bench
from sweep.evaluation.conditions import TestPlan as Plan
from sweep.evaluation.encoders import Encoders
from sweep.evaluation.forward import Forward, encode
from sweep.metrics.agreement import rank_distance
from sweep.metrics.calibration import calibration
from sweep.tasks.catalogue import TASKS

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def one_model():
    model = models.build("tiny", heads={"classes": 8}, seed=5)
    with torch.no_grad():  # as sure of itself as a trained one
        model.classifier.weight.mul_(40)
    return model


def bench_of(study):
    prepared = prepare(study.data)
    shifts = [name for name in prepared.evaluation if name != "clean"]
    clips = len(prepared.evaluation["clean"].ids)
    plan = Plan.of(study.evaluate, shifts, {"video"}, clips)
    return Bench(prepared, plan, frames=8), plan.rows


def encoders(model, bench):
    return Encoders(model, bench, features={"logits"}, precision="fp32", device=CPU)


def evaluate(model, bench, rows):
    task = TASKS["classification"]
    return task.load()(bench, encoders(model, bench), rows, task)


def logits_of(model, bench, row):
    forward = Forward(model, "fp32", CPU, bench.settings.batch)
    return encode(forward, bench.clips(row).frames, {"logits"})["logits"]


def test_probabilities_are_those_of_the_softmax(small, one_model):
    bench, rows = bench_of(small())
    found = evaluate(one_model, bench, rows)
    logits = {row.name: logits_of(one_model, bench, row) for row in rows}
    for row in rows:
        chance = np.exp(logits[row.name].astype(float))
        chance /= chance.sum(1, keepdims=True)
        truth = bench.prepared.evaluation[row.clips].labels
        kept = found.probabilities[row.name]
        wrong = (chance - np.eye(8)[truth]) ** 2
        assert kept["brier"] == pytest.approx(wrong.sum(1).mean(), abs=1e-5)
        likelihood = chance[np.arange(len(truth)), truth]
        assert kept["nll"] == pytest.approx(-np.log(likelihood).mean(), rel=1e-4)
        assert kept["ece"] == pytest.approx(calibration(chance, truth).ece, abs=1e-4)
        if row.category == "shift":  # other clips: there is no ranking to compare with
            assert "zipf" not in kept
            continue
        pair = np.stack([logits["clean"], logits[row.name]], 1)
        assert kept["zipf"] == pytest.approx(rank_distance(pair), abs=1e-5)
    assert found.probabilities["clean"]["zipf"] == 0 < found.probabilities["jumbling/5"]["zipf"]
    assert max(kept["brier"] for kept in found.probabilities.values()) > 1


def test_thinned_cells_are_ranked_against_their_own_clips(small, one_model):
    whole, rows = bench_of(small())
    few, _ = bench_of(small("evaluate.fidelity=probe", "evaluate.clips_per_cell=8"))
    thin = evaluate(one_model, few, rows)
    full = evaluate(one_model, whole, rows)
    assert thin.forwards["thinned"] == 8 * len(few.plan.table.rows)
    chosen = few.plan.table.rows["jumbling/5"]
    assert (thin.outcomes.predictions["jumbling/5"]
            == full.outcomes.predictions["jumbling/5"][chosen]).all()  # fmt: skip
    assert thin.probabilities["jumbling/5"]["zipf"] != full.probabilities["jumbling/5"]["zipf"] > 0


def test_temporal_cells_of_a_framewise_model_are_gathered_and_exact(small):
    """Frames are encoded once; features equal those of the clips themselves bit for bit."""
    cells = "{gaussian_noise: [3], freezing: [3], sampling: [5], jumbling: [5]}"
    bench, rows = bench_of(small(f"evaluate.conditions={cells}"))
    model = models.build("tiny_frames", heads={"classes": 8}, seed=3)
    quick = encoders(model, bench)
    temporal = 0
    for row in rows:
        found = quick.video(row, "logits").values
        slow = logits_of(model, bench, row)
        assert len(found) == 16
        np.testing.assert_array_equal(found, slow)
        temporal += row.category == "temporal"
    assert temporal == 5
    run, gathered = quick.forwards["evaluate"], quick.forwards["gathered"]
    assert run + gathered + quick.forwards["avoided"] == 16 * len(rows)
    # clean, three shifts and noise are whole; of the five others no stored frame is encoded twice
    assert 16 * 5 <= run <= 16 * (5 + 24 // 8 - 1)
    whole = evaluate(model, bench, rows)
    assert whole.forwards == quick.forwards
    reversal = whole.outcomes.predictions["reversal/1"]
    assert (reversal == whole.outcomes.predictions["clean"]).mean() > 0.8, "blind to order"


def test_a_model_that_diverged_has_no_probabilities(small, one_model):
    bench, rows = bench_of(small())
    broken = models.build("tiny", heads={"classes": 8})
    with torch.no_grad():
        broken.classifier.weight.fill_(float("nan"))
    found = evaluate(broken, bench, rows[:2])
    assert np.isnan(found.probabilities["clean"]["brier"])
    assert "zipf" not in found.probabilities["clean"]
    assert (found.outcomes.confidence["clean"] == 0).all()
    json.dumps(found.probabilities)

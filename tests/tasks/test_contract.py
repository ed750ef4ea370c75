"""What every task keeps to: the row says what its test gives, on the tiny model and small data."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from losses.catalogue import LOSSES
from models.catalogue import HEADS, MODELS
from sweep.cells.resolve import cells
from sweep.data.catalogue import DATASETS
from sweep.evaluation import forward
from sweep.evaluation.conditions import TestPlan as Plan
from sweep.planning import dry_step_worker
from sweep.planning.cost import planned_tests
from sweep.planning.plan import make
from sweep.records.condition import Condition
from sweep.records.outcomes import Outcomes
from sweep.records.record import comparable
from sweep.settings.evaluate import EvaluateSettings
from sweep.settings.section import ConfigError
from sweep.studies.load import load_study
from sweep.tasks.catalogue import TASKS, task_of
from sweep.trial import run_trial

STUDY = """
name: contract
title: Every task
question: Does every task keep to its row?
design: {kind: loo}
losses: {consistency: {}}
seeds: 1
data: {dataset: motes-ssv2, seed: 11, train_per_class: 4, val_per_class: 2, labelled_per_class: 2}
train: {steps: 3, batch: 6, warmup: 0, log_every: 1}
evaluate:
  profile: null
  ladder: small
  conditions: {gaussian_noise: [3], jumbling: [5]}
  captions: {typos: [1]}
  joint: [[jumbling, shuffle_order]]
outcomes: {clean: [clean]}
track: {wandb: disabled}
"""
NAMES = list(TASKS)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "study.yaml"
    path.write_text(STUDY)

    def of(task, *overrides):
        own = [f"evaluate.task={task}"]
        if "labels" not in TASKS[task].clips:
            own += ["primary=infonce", "data.labelled_per_class=null"]
        return load_study(str(path), overrides=[*own, *overrides])

    return of


@pytest.fixture(scope="module", params=NAMES)
def tested(request, study, tmp_path_factory):
    """A task, its study and the result of a trial of it."""
    one = study(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    return TASKS[request.param], one, run_trial(cells(one)[0], scratch=folder, reraise=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_row_names_what_exists(name):
    row = TASKS[name]
    assert len({metric.name for metric in row.metrics}) == len(row.metrics)
    assert row.headline.per_clip
    assert row.headline.better == "higher"
    assert all(metric.unit == "%" for metric in row.metrics if metric.per_clip)
    assert not any(set(metric.name) & set("/:") for metric in row.metrics)
    assert set(row.primaries) <= set(LOSSES)
    assert row.clips <= {"labels", "captions"}
    assert row.sides <= {"video", "text"}
    assert any(row.features <= model.features for model in MODELS.values())
    assert {h.gives for h in HEADS.values()} & row.features == {HEADS[h].gives for h in row.heads}
    assert row.description
    assert row.source
    assert callable(row.load())
    for primary in row.primaries:
        assert task_of(EvaluateSettings(), primary) is row


def test_every_primary_loss_tells_its_task():
    """Those that no row names as before there were rows: by labels or not."""
    for name, loss in LOSSES.items():
        found = task_of(EvaluateSettings(), name).name
        assert found == ("classification" if loss.primary else "retrieval")


def test_every_metric_of_every_condition_is_finite_clean_first(tested):
    task, _, result = tested
    record = result.record
    assert record.task == task.name
    assert record.scores[0].condition == "clean"
    for score in record.scores:
        assert list(score.metrics) == [metric.name for metric in task.metrics]
        assert all(map(math.isfinite, score.metrics.values()))
        assert score.accuracy == score.value(task.headline.name)


def test_the_mean_over_clips_is_the_score(tested):
    task, _, result = tested
    packed = Outcomes.unpack(result.outcomes.pack())
    for outcomes in (result.outcomes, packed):
        assert list(outcomes.values) == [metric.name for metric in task.metrics if metric.per_clip]
        for score in result.record.scores:
            assert len(outcomes.tested(score.condition)) == score.clips
            for metric in outcomes.values:
                values = outcomes.correct(f"{metric}:{score.condition}")
                assert values.shape == (score.clips,)
                assert score.value(metric) == pytest.approx(100 * values.mean())


def test_scores_say_what_their_names_say(tested):
    for score in tested[2].record.scores:
        condition = Condition.parse(score.condition)
        assert condition.name == score.condition
        assert (score.perturbation, score.severity, score.text, score.clip_set) == (
            condition.perturbation, condition.level, condition.text, condition.clips,
        )  # fmt: skip
        assert score.category == condition.category


def test_what_can_be_perturbed_is_perturbed(tested):
    task, one, result = tested
    categories = {score.category for score in result.record.scores}
    assert ({"captions", "joint"} <= categories) == ("text" in task.sides)
    assert [s.condition for s in result.record.scores] == list(make(one).conditions)


def test_plan_counts_the_forwards(tested):
    task, one, result = tested
    plan = make(one)
    rows = planned_tests(one, plan.data).of_videos
    clips = plan.data["evaluation_clips"]
    fitted = plan.data["train_clips"] if task.fits else 0
    assert plan.forwards.evaluate == len(plan.cells) * (clips * len(rows) + fitted)
    pixels = {score.pixels.partition("-")[0] for score in result.record.scores}
    assert result.record.forwards["evaluate"] == clips * len(pixels) + fitted
    assert len(pixels) <= len(rows)


def test_two_runs_are_equal(tested, tmp_path):
    _, one, result = tested
    again = run_trial(cells(one)[0], scratch=tmp_path, reraise=True)
    first, second = (comparable(r.record.to_json()) for r in (result, again))
    assert first == second
    for name, array in result.outcomes.arrays().items():
        assert np.array_equal(array, again.outcomes.arrays()[name]), name


def test_few_clips_per_cell_where_that_is_fair(tested, study, tmp_path):
    task = tested[0]
    thinner = ("evaluate.fidelity=probe", "evaluate.clips_per_cell=8")
    if not task.thins:
        with pytest.raises(ConfigError, match="needs 'full'"):
            study(task.name, *thinner)
        return
    result = run_trial(cells(study(task.name, *thinner))[0], scratch=tmp_path, reraise=True)
    whole = {score.condition: score for score in tested[2].record.scores}
    for score in result.record.scores:
        perturbed = score.perturbation != ""
        assert score.clips == (8 if perturbed else 16)
        assert perturbed or score.metrics == whole[score.condition].metrics
    assert result.record.estimates["grid"]["cells"] == 2


@pytest.mark.parametrize("name", NAMES)
def test_data_without_what_it_needs_is_refused(study, name):
    for dataset in DATASETS.values():
        have = {"labels": dataset.labelled, "captions": dataset.captions}
        if dataset.embedded and not all(have[kind] for kind in TASKS[name].clips):
            with pytest.raises(ConfigError, match=r"need|has no"):
                study(name, f"data.dataset={dataset.name}", "data.labelled_per_class=null")


def test_a_plan_of_tests_is_made_from_the_sides_of_a_task(study):
    settings = study("retrieval").evaluate
    both = Plan.of(settings, (), {"video", "text"}, 16)
    video = Plan.of(settings, (), {"video"}, 16)
    assert set(both.of_videos) >= set(video.rows)
    assert [row for row in video.rows if row.text] == []


def test_the_dry_step_times_what_the_task_reads(study, monkeypatch):
    """It asked for class scores whatever the task was."""
    asked = []
    real = forward.encode

    def seen(forward, frames, features):
        asked.append((set(features), forward.model.projection is not None))
        return real(forward, frames, features)

    monkeypatch.setattr(forward, "encode", seen)
    one = study("retrieval")
    dry_step_worker._forward(cells(one)[0], one.data, torch.device("cpu"), lambda: 0.0)
    assert asked == [({"video_embed", "text_embed"}, True)] * dry_step_worker.FORWARDS

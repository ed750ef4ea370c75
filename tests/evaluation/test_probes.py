"""Probes: what each fits, that it is the same twice, and what it may not look at."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn.linear_model import Ridge as Reference
from sklearn.linear_model import RidgeClassifier

from sweep.cells.resolve import cells
from sweep.data.prepare import prepare
from sweep.evaluation.bench import TestBench as Bench
from sweep.evaluation.conditions import TestPlan as Plan
from sweep.evaluation.probes import PENALTIES, PROBES, _ridge
from sweep.studies.load import load_study
from sweep.tasks import probing
from sweep.tasks.catalogue import TASKS
from sweep.trial import run_trial


def clusters(seed=0, clips=120, width=6, classes=4, spread=0.4):
    rng = np.random.default_rng(seed)
    labels = np.arange(clips) % classes
    centres = rng.standard_normal((classes, width))
    features = centres[labels] + spread * rng.standard_normal((clips, width))
    return (features * 7 + 3).astype(np.float32), labels


@pytest.mark.parametrize("name", list(PROBES))
def test_classes_that_lie_apart_are_told(name):
    features, labels = clusters()
    groups = [str(row) for row in range(len(labels))]
    scores = PROBES[name].load().fit(features[:60], labels[:60], groups[:60], 3)
    found = scores(features[60:])
    assert found.shape == (60, 4)
    assert (found.argmax(1) == labels[60:]).mean() > 0.9
    again = PROBES[name].load().fit(features[:60], labels[:60], groups[:60], 3)
    assert np.array_equal(again(features), scores(features))


@pytest.mark.parametrize("name", list(PROBES))
def test_features_that_are_always_equal_and_classes_without_clips_do_no_harm(name):
    features, labels = clusters()
    features[:, 2] = 5.0
    labels[labels == 1] = 2
    scores = PROBES[name].load().fit(features, labels, [str(row) for row in labels], 0)
    found = scores(features)
    assert np.isneginf(found[:, 1]).all()
    assert np.isfinite(np.delete(found, 1, axis=1)).all()


@pytest.mark.parametrize("penalty", PENALTIES)
def test_ridge_is_the_textbook_one(penalty):
    features, labels = clusters(clips=50)
    wanted = np.eye(4)[labels]
    standard = (features - features.mean(0)) / features.std(0)
    slow = Reference(alpha=50 * penalty).fit(standard, wanted).predict(standard)
    np.testing.assert_allclose(_ridge(features, wanted, penalty)(features), slow, atol=1e-4)
    told = RidgeClassifier(alpha=50 * penalty).fit(standard, labels).predict(standard)
    assert (slow.argmax(1) == told).mean() > 0.95


class Told:
    """Encoders that say of a training clip what its row is."""

    def __init__(self, features):
        self.features = features

    def training(self, feature):
        assert feature == probing.FEATURE
        return self.features


def test_only_labelled_training_clips_are_fitted(small, monkeypatch):
    study = small("evaluate.task=probing")
    prepared = prepare(study.data)
    bench = Bench(prepared, Plan.of(study.evaluate, (), {"video"}, 16), frames=8)
    assert 0 < prepared.labelled.sum() < len(prepared.labelled)
    seen = {}

    class Spy:
        def fit(self, features, labels, groups, seed):
            seen.update(rows=features[:, 0], labels=labels, groups=groups, seed=seed)

    monkeypatch.setattr(type(PROBES["linear"]), "load", lambda row: Spy())
    rows = np.arange(len(prepared.train.ids), dtype=np.float32)
    probing.fit(bench, Told(np.stack([rows, rows], axis=1)))
    known = np.flatnonzero(prepared.labelled)
    assert seen["rows"].tolist() == known.tolist()
    assert seen["labels"].tolist() == prepared.train.labels[known].tolist()
    assert seen["groups"] == [prepared.train.ids[row] for row in known]
    assert seen["seed"] == study.evaluate.seed
    with pytest.raises(ValueError, match="'video' of training clips is not finite"):
        probing.fit(bench, Told(np.full((len(rows), 2), np.nan)))


def test_tokens_are_averaged_and_ties_are_lost():
    tokens = np.arange(24.0).reshape(2, 3, 4)
    assert np.array_equal(probing.pooled(tokens), tokens.mean(1))
    scores = np.array([[0.0, 2.0, 2.0], [3.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    # the fourth class was never fitted
    assert probing._ranks(scores, np.array([1, 0, 3])).tolist() == [1, 0, 3]


def test_another_probe_is_another_cell_and_the_default_an_old_one(small):
    plain = small()
    assert cells(plain)[0].key == cells(small("evaluate.probe=linear"))[0].key
    linear, ridge = (
        cells(small("evaluate.task=probing", f"evaluate.probe={name}"))[0] for name in PROBES
    )
    assert len({linear.key, ridge.key, cells(plain)[0].key}) == 3


def test_both_probes_of_one_model_see_the_same_features(small, tmp_path):
    records = {}
    for name in PROBES:
        study = small("evaluate.task=probing", f"evaluate.probe={name}", "train.steps=2")
        trial = cells(study)[0]
        records[name] = run_trial(trial, scratch=tmp_path / name, reraise=True).record
    one, two = records.values()
    assert [s.pixels for s in one.scores] == [s.pixels for s in two.scores]
    assert one.forwards == two.forwards
    assert one.final == two.final
    for record in records.values():
        assert all(s.metrics["top5"] >= s.metrics["top1"] for s in record.scores)


def test_a_video_model_can_be_probed_whose_primary_loss_needs_captions():
    study = load_study(
        "quickstart",
        overrides=["primary=infonce", "losses.infonce=null", "evaluate.task=probing"],
    )
    assert dataclasses.asdict(TASKS["probing"])["fits"]
    assert study.evaluate.task == "probing"

"""Trials on real clips: many losses and every combiner, resuming, failing, sharing."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import torch

from losses.catalogue import LOSSES
from losses.combine.catalogue import COMBINERS
from losses.diversity import set_measures
from sweep.cells.resolve import cells, resolve
from sweep.data.prepare import prepare
from sweep.records.record import TrialRecord, comparable
from sweep.settings.losses import CombinerSettings
from sweep.statistics.diversity import POINTS
from sweep.trial import run_trial
from tests.assembled import assembled

EVERY_LOSS = tuple(
    f"losses.{name}.weight=1"
    for name in (
        "caption",
        "latent_prediction",
        "masked_frame",
        "masked_text",
        "variance_covariance",
    )
)


def trial(study, label="all"):
    return next(t for t in cells(study) if t.label == label)


def same(one: TrialRecord, two: TrialRecord) -> bool:
    texts = [json.dumps(comparable(r.to_json()), sort_keys=True) for r in (one, two)]
    return texts[0] == texts[1]


@pytest.mark.parametrize("combiner", COMBINERS)
def test_losses_train_under_every_combiner(small, tmp_path, combiner):
    study = small(*EVERY_LOSS, f"combiners={{{combiner}: {{}}}}", "train.steps=4")
    assert set(study.losses) <= {n for n, row in LOSSES.items() if not row.primary}
    result = run_trial(trial(study), scratch=tmp_path, reraise=True)
    record = result.record
    assert record.status == "done"
    assert set(record.weights) == {"classification", *study.losses}
    assert all(np.isfinite(v) for row in result.history for v in row["losses"].values())
    for row in result.history:  # the weights of every combiner over time, comparable
        assert set(row["slopes"]) == set(record.weights)
        assert all(np.isfinite(v) for v in row["slopes"].values())
    assert set(record.diversity["set"]) == set(set_measures(study.losses))
    for point in POINTS:
        found = record.diversity[point]
        assert set(found["weights"]) == set(record.weights)
        assert 1 <= found["measures"]["gradient/vendi"] <= len(study.losses)
    assert record.diversity["end"]["weights"] == pytest.approx(record.weights)
    assert [s.condition for s in record.scores][:4] == [
        "clean", "appearance", "viewpoint", "dynamics",
    ]  # fmt: skip
    perturbed = {"gaussian_noise/3", "jumbling/5", "frame_shuffle/1", "reversal/1"}
    assert perturbed <= set(record.accuracy)
    for score in record.scores:
        correct = result.outcomes.correct(score.condition)
        assert score.accuracy == pytest.approx(100 * correct.mean())
        assert score.clips == len(correct) == 16
    if combiner in {"meltr", "meta_linear", "meta_mlp"}:  # taught by a meta step
        assert record.final["meta_steps"] == 2
        judged = record.training["meta"]
        assert (judged["steps"], judged["skipped"]) == (2, 0)
        assert set(judged["signal_to_noise"]) == set(record.weights)
        assert all(np.isfinite(v) for v in judged["signal_to_noise"].values())
    else:
        assert "training" not in record.to_json()
    json.dumps(record.to_json(), allow_nan=False)


def test_meltr_is_moved_by_its_meta_steps_only(small, tmp_path):
    """Slopes start at the weights (residual output) and leave them."""
    study = small("combiners={meltr: {lr: 0.01}}", "train.steps=8", "train.log_every=1")
    rows = run_trial(trial(study), scratch=tmp_path, reraise=True).history
    first, last = rows[0]["slopes"], rows[-1]["slopes"]
    assert first["infonce"] == pytest.approx(0.25, abs=1e-5)
    assert first["pixel"] == pytest.approx(0.05, abs=1e-5)
    assert any(abs(last[n] - first[n]) > 1e-4 for n in first)


@pytest.mark.parametrize("combiner", ["static", "meltr", "uncertainty"])
def test_a_killed_trial_ends_with_the_same_numbers(small, tmp_path, combiner):
    study = small(*EVERY_LOSS, f"combiners={{{combiner}: {{}}}}", "train.steps=7")
    config = trial(study)
    quiet = run_trial(config, scratch=tmp_path / "quiet", reraise=True)

    def die(row):
        if row["step"] >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trial(config, scratch=tmp_path / "killed", on_metrics=die)
    assert (tmp_path / "killed" / "checkpoint" / "last.pt").is_file()
    again = run_trial(config, scratch=tmp_path / "killed", reraise=True)
    assert same(quiet.record, again.record)
    assert quiet.history == again.history
    # once more at the very end: nothing is trained, the numbers come again
    last = run_trial(config, scratch=tmp_path / "killed", reraise=True)
    assert same(quiet.record, last.record)


def test_a_torn_checkpoint_is_not_fatal(small, tmp_path):
    config = trial(small("train.steps=3"))
    quiet = run_trial(config, scratch=tmp_path / "a", reraise=True)
    (tmp_path / "b" / "checkpoint").mkdir(parents=True)
    (tmp_path / "b" / "checkpoint" / "last.pt").write_bytes(b"torn")
    assert same(quiet.record, run_trial(config, scratch=tmp_path / "b", reraise=True).record)


def test_a_b_a_in_one_process_gives_a_twice(small, tmp_path):
    study = small(*EVERY_LOSS, "combiners={meltr: {}, static: {}}", "train.steps=4")
    a, b = trial(study, "all [meltr]"), trial(study, "all - infonce [static]")
    first = run_trial(a, scratch=tmp_path / "1", reraise=True)
    run_trial(b, scratch=tmp_path / "2", reraise=True)
    torch.rand(17)
    np.random.rand(3)  # noqa: NPY002
    second = run_trial(a, scratch=tmp_path / "3", reraise=True)
    assert same(first.record, second.record)


def test_evaluation_batch_and_stored_clips_change_nothing(small, tmp_path):
    one = run_trial(trial(small("evaluate.batch=3")), scratch=tmp_path / "1", reraise=True)
    two = run_trial(
        trial(small("evaluate.keep_perturbed=false")), scratch=tmp_path / "2", reraise=True
    )
    assert one.record.accuracy == two.record.accuracy
    assert {s.condition: s.pixels for s in one.record.scores} == {
        s.condition: s.pixels for s in two.record.scores
    }


def test_equal_pixels_share_a_forward(small, tmp_path):
    """The first sampling strides keep all of the model's eight frames apart, or they do not."""
    study = small("evaluate.conditions={freezing: [1], static_rotation: [1]}")
    result = run_trial(trial(study, "none"), scratch=tmp_path, reraise=True)
    pixels = [s.pixels for s in result.record.scores]
    forwarded = result.record.forwards["evaluate"] // 16
    assert forwarded == len(set(pixels))
    assert result.record.forwards["avoided"] == 16 * (len(pixels) - len(set(pixels)))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("train.max_loss=0.1",), ["exceeds train.max_loss 0.1", "step 0"]),
        (("train.lr=1e30", "train.clip_norm=1e30"), ["not finite"]),
    ],
)
def test_divergence_is_a_failed_record_with_its_reason(small, tmp_path, overrides, words):
    result = run_trial(trial(small(*overrides)), scratch=tmp_path)
    record = result.record
    assert record.status == "failed"
    assert record.error["type"] == "Diverged"
    for word in words:
        assert word in record.error["message"]
    assert "Traceback" in record.error["traceback"]
    assert not record.scores


def test_another_data_set_than_planned_fails(small, tmp_path):
    config = trial(small()).model_copy(update={"fingerprint": "0123456789abcdef"})
    record = run_trial(config, scratch=tmp_path).record
    assert record.status == "failed"
    assert "0123456789abcdef" in record.error["message"]


def test_cells_share_initialisation_order_and_views(small):
    """Common random numbers: only the losses differ between cells of a seed."""
    study = small(*EVERY_LOSS)
    prepared = prepare(study.data)
    found = []
    for label in ("none", "all"):
        made = assembled(trial(study, label), prepared)
        found.append((made.learner, made.batches))
    (bare, few), (full, many) = found
    for name, weight in bare.model.trunk.state_dict().items():
        assert torch.equal(weight, full.model.trunk.state_dict()[name])
    for step in (0, 5, 11):
        one, two = few(step), many(step)
        assert torch.equal(one["pixels"], two["pixels"])
        assert torch.equal(one["labels"], two["labels"])
        assert not torch.equal(two["pixels"], two["pixels_b"])


def test_labels_beyond_the_given_number_are_hidden(small):
    study = small("data.labelled_per_class=1")
    prepared = prepare(study.data)
    batches = assembled(trial(study, "none"), prepared).batches
    shown = batches.clips.labels
    assert sorted(shown[shown >= 0].tolist()) == list(range(8))
    assert (shown < 0).sum() == 24
    batch = batches(0)
    assert (batch["labels"][:3] >= 0).all(), "the labelled half has labels"


def test_shared_forward_has_the_gradient_of_separate_ones(small):
    from sweep.bench.training import learner

    every = ("caption", "consistency", "infonce", "masked_text", "pixel")
    model, batches = learner(every, device="cpu", batch=6)
    batch = batches(0)
    grads = []
    for names in ([model.names], [(n,) for n in model.names]):
        model.zero_grad(set_to_none=True)
        for chosen in names:
            model(batch, only=chosen).sum().backward()
        grads.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys()
    total = sum(float(g.norm() ** 2) for g in grads[0].values()) ** 0.5
    error = sum(float((grads[0][n] - grads[1][n]).norm() ** 2) for n in grads[0]) ** 0.5
    assert error / total < 1e-5


def test_teacher_follows_slowly(small):
    from sweep.bench.training import learner

    model, _ = learner(("latent_prediction",), device="cpu")
    before = [p.clone() for p in model.teacher.parameters()]
    with torch.no_grad():
        for p in model.model.parameters():
            p.add_(1.0)
    model.update_teacher(0.9)
    for old, new in zip(before, model.teacher.parameters(), strict=True):
        assert torch.allclose(new, old + 0.1, atol=1e-6)
    assert not any(p.requires_grad for p in model.teacher.parameters())
    assert not any(n.startswith("teacher") for n in model.trained_parameters())


def test_combiner_knobs_reach_the_meta_optimiser(small):
    from sweep.training.assembly import build_combiner

    study = small("combiners={meltr: {interval: 5, method: loop, gamma: 0.3}}")
    config = trial(study)
    _, meta = build_combiner(config, ("classification", *sorted(config.losses)))
    assert (meta.interval, meta.method, meta.gamma) == (5, "loop", 0.3)
    plain = resolve(study, {}, CombinerSettings(name="meltr"), label="none", seed=1)
    assert build_combiner(plain, ("classification",))[1] is None


def test_weights_of_static_are_the_study_s(small, tmp_path):
    record = run_trial(trial(small("losses.pixel.weight=.3")), scratch=tmp_path).record
    assert record.weights["pixel"] == pytest.approx(0.3)
    assert replace(record).weights["classification"] == 1.0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_record_names_the_card(small, tmp_path):
    config = cells(small("train.steps=1", "seeds=1"))[0]
    run = run_trial(config, scratch=tmp_path, reraise=True).record.run
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True)
    assert run["device"] in listed.stdout
    assert run["device_uuid"] in listed.stdout


def test_a_record_of_a_cpu_names_no_card(small, tmp_path):
    config = cells(small("train.steps=1", "seeds=1"))[0]
    run = run_trial(config, scratch=tmp_path, device="cpu", reraise=True).record.run
    assert "device_uuid" not in run
    assert run["device"]

"""Combiners in the training loop: gradients, second looks, held-out clips, resuming."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from losses.combine.catalogue import COMBINERS
from losses.combine.slopes import slopes
from sweep.bench.training import learner as build_learner
from sweep.cells.resolve import cells
from sweep.data.prepare import prepare
from sweep.data.sources import StoredClips
from sweep.settings.section import ConfigError
from sweep.training.angles import ANGLE_BATCHES
from sweep.training.assembly import build_combiner
from sweep.training.finetune import finetune
from sweep.training.holdout import hold_out
from sweep.trial import run_trial
from tests.assembled import assembled

GRADIENT = [name for name, spec in COMBINERS.items() if spec.gradients]


def trial(study, label="all"):
    return next(t for t in cells(study) if t.label == label)


def train(config, folder, tmp_path):
    """Training alone, without evaluation: the combiner at its end and the progress."""
    made = assembled(config)
    progress = finetune(
        made.learner,
        made.combiner,
        made.batches,
        config.train,
        checkpoint=tmp_path / folder,
        meta=made.meta,
        holdout=made.judged_by,
    )
    return made.learner, made.combiner, progress


@pytest.mark.parametrize("name", GRADIENT)
def test_slopes_in_the_history_are_the_weights_used(small, tmp_path, name):
    study = small(f"combiners={{{name}: {{}}}}", "train.steps=3", "train.log_every=1")
    _, combiner, progress = train(trial(study), "a", tmp_path)
    assert len(progress.history) == 3
    last = list(progress.history[-1]["slopes"].values())
    if name == "gradnorm":  # its weights have moved on since
        assert sum(last) == pytest.approx(len(last), rel=1e-5)
    elif name == "imtl":
        factors = np.exp(combiner.log_factor.detach().numpy())
        assert last == pytest.approx(list(combiner.weights.numpy() * factors), rel=0.02)
    else:
        assert last == pytest.approx(combiner.weights.tolist(), rel=1e-5)
    assert np.ptp(last) > 1e-4


def test_levels_differ_and_share_one_loss_function(small, tmp_path):
    found = {}
    for level in ("representation", "full"):
        study = small(f"combiners={{mgda: {{level: {level}}}}}", "train.steps=1")
        _, _, progress = train(trial(study), level, tmp_path)
        found[level] = progress.history[0]
    one, two = found.values()
    assert one["losses"] == two["losses"]
    assert one["slopes"] != two["slopes"]
    assert one["gradients"] == two["gradients"]


# state is where these differ; that of the others is saved and restored in tests/losses
RESUMED = {
    "gradnorm": {},
    "famo": {},
    "meta_mlp": {"data": "holdout", "method": "auto"},
}


@pytest.mark.parametrize("name", RESUMED)
def test_a_killed_training_ends_with_the_same_numbers(small, tmp_path, name):
    knobs = "{" + ", ".join(f"{k}: {v}" for k, v in RESUMED[name].items()) + "}"
    study = small(f"combiners={{{name}: {knobs}}}", "train.steps=5", "train.log_every=1")
    config = trial(study)
    quiet, combiner, progress = train(config, "quiet", tmp_path)

    def die(row):
        if row["step"] == 3:
            raise KeyboardInterrupt

    made = assembled(config)
    other = made.combiner
    with pytest.raises(KeyboardInterrupt):
        finetune(
            made.learner,
            other,
            made.batches,
            config.train,
            checkpoint=tmp_path / "killed",
            meta=made.meta,
            holdout=made.judged_by,
            on_metrics=die,
        )
    again, resumed, repeated = train(config, "killed", tmp_path)
    assert repeated.history == progress.history
    for one, two in ((quiet, again), (combiner, resumed)):
        state = two.state_dict()
        assert all(torch.equal(value, state[key]) for key, value in one.state_dict().items())


def test_looking_at_gradients_changes_nothing(small, tmp_path, monkeypatch):
    study = small("train.steps=4", "train.log_every=1")
    config = trial(study)
    monkeypatch.setattr("sweep.training.angles.ANGLE_BATCHES", ANGLE_BATCHES)
    _, _, looked = train(config, "a", tmp_path)
    monkeypatch.setattr("sweep.training.finetune.angle_steps", lambda settings: set())
    _, _, without = train(config, "b", tmp_path)
    assert [row.pop("gradients", None) is not None for row in looked.history] == [
        True, False, True, True,
    ]  # fmt: skip
    assert looked.history == without.history
    model, batches = build_learner(("consistency", "infonce"), device="cpu", batch=6)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    monkeypatch.undo()
    monkeypatch.setattr("sweep.training.angles.ANGLE_BATCHES", ANGLE_BATCHES)
    from sweep.training.angles import measure_angles

    random = torch.get_rng_state()
    row = measure_angles(model, batches, config.train, 0)["gradients"]
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert set(row["cosines"]) == {
        "classification|consistency", "classification|infonce", "consistency|infonce",
    }  # fmt: skip
    assert all(-1 <= value <= 1 for value in row["cosines"].values())
    assert all(value > 0 for value in row["norms"].values())
    assert ANGLE_BATCHES >= 4


def test_famo_looks_again_at_the_same_batch(small, tmp_path):
    study = small("combiners={famo: {}}", "train.steps=3", "train.lr=0.01")
    learner, combiner, _ = train(trial(study), "a", tmp_path)
    assert int(combiner.count) == 3
    assert combiner.xi.detach().abs().max() > 0.01
    assert "famo" not in learner.names
    values = torch.ones(len(combiner.names))
    assert float(slopes(combiner, values).sum()) == pytest.approx(1, rel=1e-5)


def test_held_out_clips_are_labelled_and_never_trained_on(small):
    study = small("combiners={meltr: {data: holdout, holdout_share: 0.4}}")
    config = trial(study)
    prepared = prepare(config.data)
    made = assembled(config, prepared)
    kept, used = made.judged_by.clips, made.batches.clips
    assert (kept.labels >= 0).all()
    assert sorted(kept.labels.tolist()) == list(range(8))  # one of two per class
    assert len(kept.labels) + len(used.labels) == len(prepared.train.labels)
    assert kept.source is used.source, "rows are kept out, no frame is copied"
    assert not set(kept.rows) & set(used.rows)
    batch = made.judged_by(3)
    assert (batch["labels"] >= 0).all()
    assert torch.equal(batch["pixels"], made.judged_by(3)["pixels"])
    single = trial(small("combiners={meltr: {data: holdout}}", "data.labelled_per_class=1"))
    with pytest.raises(ValueError, match="single labelled clip"):
        assembled(single)


def test_shares_are_kept_class_by_class():
    from sweep.training.batches import Clips

    labels = np.array([0] * 10 + [1] * 3 + [2] + [-1] * 5)
    rows = np.arange(len(labels))
    words = rows[:, None]
    clips = Clips(StoredClips(words), rows, 1, labels, words, words > 0)
    rest, kept = hold_out(clips, 0.3, seed=1)
    assert np.bincount(kept.labels).tolist() == [3, 1]
    assert sorted([*rest.rows, *kept.rows]) == rows.tolist()
    assert (labels[kept.rows] == kept.labels).all()
    assert not np.array_equal(kept.rows, hold_out(clips, 0.3, seed=2)[1].rows)


def test_held_out_training_and_auto_through_a_trial(small, tmp_path):
    study = small("combiners={meta_linear: {data: holdout, method: auto}}", "train.steps=4")
    record = run_trial(trial(study), scratch=tmp_path, reraise=True).record
    assert record.status == "done"
    assert record.final["meta_steps"] == 2


def test_differences_are_refused_beside_losses_they_misjudge(small):
    with pytest.raises(ConfigError, match="fd does not see the derivative of consistency"):
        small("combiners={meltr: {method: fd}}")
    study = small("combiners={meltr: {method: fd}}", "losses.consistency=null")
    config = trial(study)
    names = ("classification", *sorted(config.losses))
    assert build_combiner(config, names)[1].method == "fd"
    with pytest.raises(ValueError, match="use jvp, loop or auto"):
        build_combiner(config, ("classification", "consistency"))


def test_a_model_that_names_nothing_shared_needs_the_full_level(small, tmp_path, monkeypatch):
    shared = property(lambda _model: (), lambda _model, _value: None)
    monkeypatch.setattr("models.assembled.AssembledModel.shared", shared, raising=False)
    study = small("combiners={mgda: {}}", "train.steps=1")
    with pytest.raises(ValueError, match="level: full"):
        train(trial(study), "a", tmp_path)
    full = small("combiners={mgda: {level: full}}", "train.steps=1")
    _, _, progress = train(trial(full), "b", tmp_path)
    assert "gradients" not in progress.history[0]


def test_all_cells_of_a_study_with_held_out_clips_train_on_the_same_ones(small):
    """Pairs differ in losses and combiner, not in clips; only the one with meta steps uses them."""
    study = small("combiners={static: {}, meltr: {data: holdout, holdout_share: 0.4}}", "seeds=2")
    planned = [c for c in cells(study) if c.seed == study.seed_list[0]]
    made = {config.label: assembled(config, prepare(config.data)) for config in planned}
    assert {"none", "all [static]", "all [meltr]"} <= set(made)
    rows = {name: one.batches.clips.rows.tolist() for name, one in made.items()}
    assert len(set(map(tuple, rows.values()))) == 1
    assert len(rows["none"]) == 32 - 8
    for step in (0, 3):
        pixels = [one.batches(step)["pixels"] for one in made.values()]
        assert all(torch.equal(pixels[0], other) for other in pixels[1:])
    assert {name for name, one in made.items() if one.judged_by is not None} == {
        name for name in made if name.endswith("[meltr]")
    }
    # without such a combiner nothing is left out, and no key changes
    plain = cells(small("seeds=2"))[0]
    content = plain.model_dump(mode="json")
    del content["train"]["withheld_share"]
    assert type(plain).model_validate(content).key == plain.key
    with pytest.raises(ConfigError, match=r"one share for all cells .*meltr 0.4, .*meta_mlp 0.1"):
        small("combiners={meltr: {data: holdout, holdout_share: 0.4}, meta_mlp: {data: holdout}}")


def test_a_search_that_may_hold_clips_out_leaves_them_out_of_every_trial(small):
    given = ("design.kind=search", "combiners={meltr: {}}", "search.objective=clean")
    study = small(*given, "search.space={combiners.meltr.data: [memory, holdout]}")
    assert {c.train.withheld_share for c in cells(study)} == {0.1}
    with pytest.raises(ConfigError, match="holdout_share: the same in every trial"):
        small(*given, "search.space={combiners.meltr.holdout_share: true}")

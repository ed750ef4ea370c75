"""Training on perturbed clips: settings and keys, views, resume, and what is said of the tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from perturb import MIXES
from sweep.cells.resolve import cells
from sweep.cells.search.dimensions import dimensions
from sweep.data.sampling import uniform_center
from sweep.data.sources import StoredClips
from sweep.evaluation.conditions import TestPlan as Plan
from sweep.evaluation.conditions import seen_in_training
from sweep.planning import cost
from sweep.planning.plan import make
from sweep.records.files import write_cell
from sweep.records.record import TrialRecord, comparable
from sweep.settings.section import ConfigError
from sweep.settings.train import TrainSettings
from sweep.studies.load import load_study
from sweep.training.batches import Batches, Clips
from sweep.trial import run_trial

STORED, TIME = 12, 4


def clips_of(count=8) -> Clips:
    rng = np.random.default_rng(3)
    stored = rng.integers(0, 256, (count, STORED, 3, 16, 16), dtype=np.uint8)
    labels, words = np.arange(count), np.zeros((count, 0, 0), dtype=np.int64)
    return Clips(StoredClips(stored), np.arange(count), TIME, labels, words, words > 0)


def batches_of(mix, clips=None, probability=0.75, seed=3):
    views = {"shift_px": 0, "gain": 0, "exposure": 0, "noise_b": 0}
    return Batches(
        clips or clips_of(),
        seed=seed,
        settings=TrainSettings(
            batch=6, labelled_share=1, perturb=mix, perturb_probability=probability, views=views
        ),
        needs={"pixels_b", "frame_mask", "pixels_masked"},
    )


def test_cell_keys_know_the_mix_and_not_that_there_is_a_choice():
    trial = cells(load_study("quickstart"))[0]
    content = trial.model_dump(mode="json")
    for name in ("perturb", "perturb_probability"):  # younger than the first records
        del content["train"][name]
    assert type(trial).model_validate(content).key == trial.key
    unused = cells(load_study("quickstart", overrides=["train.perturb_probability=.5"]))[0]
    assert unused.key == trial.key, "nothing is perturbed"
    found = {
        cells(load_study("quickstart", overrides=list(options)))[0].key
        for options in (
            *[[f"train.perturb={name}"] for name in MIXES],
            ["train.perturb=mixed", "train.perturb_probability=.5"],
        )
    }
    assert len(found | {trial.key}) == len(MIXES) + 2
    with pytest.raises(ConfigError, match=r"train\.perturb: .*'mixed', 'temporal'"):
        load_study("quickstart", overrides=["train.perturb=temporl"])


def test_the_mix_is_a_dimension_of_searches():
    space = "search.space={train.perturb: {choices: [none, temporal, mixed]}}"
    study = load_study("quickstart", overrides=["design.kind=search", space])
    (found,) = dimensions(study)
    assert found.choices == ("none", "temporal", "mixed")


@pytest.mark.parametrize("mix", MIXES)
def test_batches_are_functions_of_seed_and_step(mix):
    one, two = batches_of(mix), batches_of(mix)
    for step in (7, 0):
        before, now = one(step), two(step)
        for name in before:
            assert torch.equal(before[name], now[name]), name
    assert not torch.equal(one(1)["pixels"], batches_of("none")(1)["pixels"])


def test_a_rank_perturbs_its_part_as_one_process_does():
    batches = batches_of("mixed")
    rows = batches.rows(3)
    whole = batches._raw.view(rows, 3, "view_a")
    assert torch.equal(batches._raw.view(rows[2:4], 3, "view_a"), whole[2:4])


def test_view_b_draws_its_own_and_the_masked_view_is_view_a():
    plain = batches_of("none")(2)
    assert torch.equal(plain["pixels"], plain["pixels_b"]), "these views add nothing of their own"
    batch = batches_of("spatial", probability=1)(2)
    assert not torch.equal(batch["pixels"], batch["pixels_b"])
    shown = ~batch["frame_mask"]
    assert torch.equal(batch["pixels_masked"][shown], batch["pixels"][shown])


def test_probability_zero_is_the_plain_batch():
    plain, none = batches_of("none")(4), batches_of("mixed", probability=0)(4)
    assert torch.equal(plain["pixels"], none["pixels"])


def test_frames_are_reordered_on_the_stored_time_line():
    clips = clips_of()
    batches = batches_of("temporal", clips, probability=1)
    rows = batches.rows(0)
    made = batches._raw.view(rows, 0, "view_a").numpy()
    beyond = 0
    for row, clip in zip(rows, made, strict=True):
        known = {frame.tobytes(): n for n, frame in enumerate(clips.source.array[row])}
        shown = [known[frame.tobytes()] for frame in clip]  # each is a stored frame
        beyond += len(set(shown) - set(uniform_center(STORED, TIME).tolist()))
    assert beyond, "frames that the model does not see otherwise"


def test_a_held_out_clip_keeps_its_frames_and_draws():
    clips = clips_of()
    rows = np.array([5, 2, 7, 0, 1, 6])
    whole, some = batches_of("temporal", clips), batches_of("temporal", clips.part(rows))
    held = some.clips.rows  # of the same source
    assert torch.equal(whole._raw.view(rows, 3, "view_a"), some._raw.view(held, 3, "view_a"))


def test_the_share_of_perturbed_clips_is_that_of_the_settings():
    batches = batches_of("spatial", probability=0.4)
    changed = total = 0
    for step in range(60):
        rows = batches.rows(step)
        made = batches._raw.view(rows, step, "view_a").numpy()
        plain = batches.clips.source.frames(rows, uniform_center(STORED, TIME))
        changed += int((made != plain).any((1, 2, 3, 4)).sum())
        total += len(rows)
    assert changed / total == pytest.approx(0.4, abs=0.08)


@pytest.mark.parametrize("mix", ["temporal", "pixmix"])
def test_a_killed_trial_ends_with_the_same_numbers(small, tmp_path, mix):
    study = small(
        f"train.perturb={mix}",
        "train.steps=4",
        "combiners={meltr: {data: holdout}}",
        "evaluate.conditions={jumbling: [5]}",
        "evaluate.shifts=[]",
        "evaluate.temporal_checks=false",
    )
    config = next(t for t in cells(study) if t.label == "all")
    quiet = run_trial(config, scratch=tmp_path / "quiet", reraise=True)

    def die(row):
        if row["step"] >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trial(config, scratch=tmp_path / "killed", on_metrics=die)
    again = run_trial(config, scratch=tmp_path / "killed", reraise=True)
    texts = [json.dumps(comparable(r.record.to_json()), sort_keys=True) for r in (quiet, again)]
    assert texts[0] == texts[1]
    assert quiet.history == again.history
    plain = config.model_copy(update={"train": config.train.model_copy(update={"perturb": "none"})})
    other = run_trial(plain, scratch=tmp_path / "plain", reraise=True)
    assert other.history != quiet.history
    assert "seen_in_training" not in other.record.data
    seen = quiet.record.data.get("seen_in_training", {})
    assert seen == ({"jumbling/5": "kind"} if mix == "temporal" else {})


def test_the_tests_of_a_mix_are_a_profile_and_what_was_seen_is_said():
    study = load_study(
        "quickstart",
        overrides=["train.perturb=temporal", "evaluate.profile=mix:temporal"],
    )
    rows = Plan.of(study.evaluate, [], {"video"}, 1).rows
    named = {row.name for row in rows if row.perturbation}
    mix = MIXES["temporal"]
    assert {f"{name}/{s}" for name in mix.tested for s in (4, 5)} <= named
    seen = seen_in_training(study.train, rows)
    assert seen == {f"{name}/{s}": "kind" for name in mix.trained for s in (4, 5)}
    grid = load_study("quickstart", overrides=["train.perturb=spatial"])
    said = make(grid, own=Path("nowhere")).seen_in_training
    assert said["gaussian_noise/3"] == "condition"
    assert said["gaussian_noise/5"] == "kind"
    assert "static_rotation/1" not in said


def test_steps_on_plain_clips_do_not_tell_how_long_perturbed_ones_take(tmp_path):
    plain, perturbed = (
        cells(load_study("quickstart", overrides=[f"train.perturb={mix}"]))[:1]
        for mix in ("none", "mixed")
    )
    (config,) = plain
    record = TrialRecord(
        key=config.key, label=config.label, status="done", seed=config.seed, losses=(),
        combiner="static", config=config.model_dump(mode="json"), forwards={"evaluate": 10},
        run={"seconds": {"train": 4.0, "evaluate": 1.0, "all": 6.0}, "cpu_seconds": 6.0},
    )  # fmt: skip
    write_cell(tmp_path / "cells" / config.key, record, [], None)
    assert cost.from_cells(plain, [tmp_path]) is not None
    assert cost.from_cells(perturbed, [tmp_path]) is None

"""Clips that are decoded on demand give the bytes, batches and records of stored ones."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from sweep.cells.resolve import cells
from sweep.data.ahead import HungError, read_ahead
from sweep.data.decoding import index as indexing
from sweep.data.prepare import prepare
from sweep.evaluation import by_clip
from sweep.runtime.seeds import Seeds
from sweep.training.assembly import training_clips
from sweep.training.batches import Batches
from sweep.trial import run_trial
from tests.assembled import assembled

STREAM = "data.form=stream"


@pytest.fixture
def both(small):
    """The same small data set, stored and streamed."""
    stored, streamed = (cells(small(*more))[-1].data for more in ((), (STREAM,)))
    return prepare(stored), prepare(streamed)


def test_a_stream_has_the_frames_of_the_store_and_the_same_fingerprint(both):
    stored, streamed = both
    assert stored.fingerprint == streamed.fingerprint
    assert streamed.train.source.is_stream
    rng = np.random.default_rng(0)
    for one, two in zip(
        (stored.train, *stored.evaluation.values()),
        (streamed.train, *streamed.evaluation.values()),
        strict=True,
    ):
        assert one.source.shape == two.source.shape
        rows = rng.integers(0, len(one.ids), 3)
        for at in (np.array([5, 0, 23]), rng.integers(0, 24, (3, 4))):
            np.testing.assert_array_equal(two.source.frames(rows, at), one.source.frames(rows, at))
        part = np.array([2, 0])
        at = np.arange(24)
        np.testing.assert_array_equal(
            two.part(part).source.frames(np.arange(2), at), one.source.frames(part, at)
        )


def batches_of(prepared, small, *, mix="none", steps=5):
    trial = cells(small("train.perturb=" + mix, f"train.steps={steps}"))[-1]
    model = assembled(trial, prepared).learner.model
    needs = {"pixels_b", "pixels_masked", "frame_mask"}
    return Batches(
        training_clips(prepared, model), seed=Seeds.of(3).order, settings=trial.train, needs=needs
    )


@pytest.mark.parametrize(
    ("workers", "mix"),
    [
        (0, "none"),
        (1, "pixmix"),
        pytest.param(4, "none", marks=pytest.mark.slow),
    ],
)
def test_batches_are_bit_equal_whatever_the_form_and_the_workers(both, small, workers, mix):
    stored, streamed = (batches_of(one, small, mix=mix) for one in both)
    with streamed.read_ahead(workers):
        # meta steps look back, angles look ahead and beyond the end
        for step in (0, 1, 4, 2, 0, 3, 4, 5, 6):
            one, two = stored(step), streamed(step)
            assert one.keys() == two.keys()
            for name in one:
                assert torch.equal(one[name], two[name]), (step, name)
    assert streamed.warnings == []


def record_of(trial, folder):
    result = run_trial(trial, scratch=folder, device="cpu", reraise=True)
    content = result.record.to_json()
    for name in ("run", "config", "forwards", "data"):
        content.pop(name)
    return content, result


@pytest.mark.parametrize(
    "change",
    [("model.name=tiny_frames",), ("evaluate.fidelity=probe", "evaluate.clips_per_cell=8")],
    ids=["frame-wise", "thinned"],
)
def test_a_trial_on_a_stream_has_the_record_of_one_on_a_store(small, tmp_path, change):
    extra = ("train.steps=3", "combiners={meltr: {}}", *change)
    plain, streamed = (cells(small(*extra, *more))[-1] for more in ((), (STREAM, "data.workers=0")))
    assert plain.key == streamed.key
    one, first = record_of(plain, tmp_path / "one")
    two, second = record_of(streamed, tmp_path / "two")
    assert one == two
    forwards = dict(second.record.forwards)
    tested = prepare(plain.data).evaluation
    assert forwards.pop("decoded") == sum(len(clips.ids) for clips in tested.values())
    assert forwards["train"] == first.record.forwards["train"]
    for metric, rows in first.outcomes.values.items():
        for name, correct in rows.items():
            np.testing.assert_array_equal(correct, second.outcomes.values[metric][name])


def _pipe_in_place_of(path):
    """Let whoever opens the file wait for ever; returns what puts it back."""
    aside = path.with_suffix(".aside")
    path.rename(aside)
    os.mkfifo(path)

    def back():
        path.unlink()
        aside.rename(path)

    return back


def test_training_goes_on_when_a_file_starts_to_hang(both, small, monkeypatch):
    monkeypatch.setattr(indexing, "SILENCE_S", 1.5)
    stored, streamed = (batches_of(one, small, steps=6) for one in both)
    source = streamed.clips.source
    clip = int(stored._mine(5)[0])  # first seen in a later batch than the hang begins
    back = _pipe_in_place_of(source.set.records[clip].path)
    try:
        with streamed.read_ahead(1):
            made = [streamed(step)["pixels"] for step in range(6)]
    finally:
        back()
    (warning,) = streamed.warnings
    records = source.set.records
    other = source.lost[clip]
    assert records[other].label == records[clip].label
    assert str(records[clip].path) in warning
    assert f"clip {records[other].id} stands for {records[clip].id}" in warning
    same = [step for step in range(6) if clip not in stored._mine(step)]
    assert 0 < len(same) < 6
    for step in range(6):
        assert torch.equal(made[step], stored(step)["pixels"]) == (step in same)


def test_a_test_clip_that_hangs_fails_the_trial_by_name(small, tmp_path, monkeypatch):
    monkeypatch.setattr(indexing, "SILENCE_S", 1.5)
    trial = cells(small("train.steps=1", STREAM, "data.workers=1"))[0]
    clean = prepare(trial.data).evaluation["clean"]
    back = []

    def hang(row):  # the data was looked at before: the file was well when the trial began
        back or back.append(_pipe_in_place_of(clean.source.set.records[1].path))

    try:
        result = run_trial(trial, scratch=tmp_path, device="cpu", on_metrics=hang)
    finally:
        back[0]()
    assert result.record.status == "failed"
    assert (
        f"clean/{clean.ids[1]}: a test clip can no longer be read"
        in (result.record.error["message"])
    )


def die(item):
    """End the process at 1 always, at a path only where nobody did so before."""
    if item == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if isinstance(item, Path) and not item.exists():
        item.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"pid": torch.tensor(os.getpid()), "item": torch.tensor(len(str(item)))}


def test_a_reader_process_that_dies_is_replaced_once_and_none_is_left(both, tmp_path):
    flag = tmp_path / "died"
    made = list(read_ahead(die, [0, flag, 22, 333], both[1].train.source, workers=1))
    assert [int(one["item"]) for one in made] == [1, len(str(flag)), 2, 3]
    for one in made:
        with pytest.raises(ProcessLookupError):
            os.kill(int(one["pid"]), 0)
    with pytest.raises(HungError, match="a process that reads clips ended") as caught:
        list(read_ahead(die, [0, 1, 2], both[1].train.source, workers=1))
    assert caught.value.row is None


def fail(item):
    raise ValueError(f"no {item}")


def test_an_error_of_a_reader_comes_as_it_is(both):
    with pytest.raises(ValueError, match=r"^no 3$"):
        next(read_ahead(fail, [3], both[1].train.source, workers=1))


def test_clips_come_in_chunks_that_fit_into_memory():
    assert [len(c) for c in by_clip._chunks(slice(3, 70), (24, 3, 64, 64))] == [32, 32, 3]
    assert len(by_clip._chunks(slice(0, 2), (300, 3, 256, 340))) == 2


def test_auto_takes_the_store_where_it_fits(small):
    data = cells(small())[0].data
    assert not data.is_streamed(1000)
    tight = replace_data(data, store_gb=0.1)
    size = tight.stored_bytes(1)
    assert not tight.is_streamed(int(1e8 // size))
    assert tight.is_streamed(int(1e8 // size) + 1)
    assert replace_data(data, form="stream").is_streamed(1)
    assert not replace_data(tight, form="store").is_streamed(10**6)


def replace_data(data, **changes):
    return data.model_copy(update=changes)

"""Batches read the frames that they need, and are those of clips held in memory."""

import numpy as np
import pytest
import torch

from perturb import MIXES
from sweep.data.sampling import uniform_center
from sweep.data.sources import StoredClips
from sweep.settings.train import TrainSettings
from sweep.training.batches import Batches, Clips
from sweep.training.holdout import hold_out

CLIPS, STORED, TIME, BATCH = 40, 12, 4, 6


class Counting:
    """A source that says how many frames were asked for, and has no array to give away."""

    def __init__(self, array):
        self.inner, self.asked = StoredClips(array), 0

    is_stream = False

    @property
    def shape(self):
        return self.inner.shape

    def frames(self, rows, at):
        found = self.inner.frames(rows, at)
        self.asked += found.shape[0] * found.shape[1]
        return found


@pytest.fixture
def mapped(tmp_path):
    array = np.random.default_rng(3).integers(0, 256, (CLIPS, STORED, 3, 16, 16), dtype=np.uint8)
    np.save(tmp_path / "frames.npy", array)
    return np.load(tmp_path / "frames.npy", mmap_mode="r")


def clips_of(source, time=TIME):
    labels = np.arange(CLIPS) % 4
    captions = np.zeros((CLIPS, 0, 0), np.int64)
    return Clips(source, np.arange(CLIPS), time, labels, captions, captions > 0)


def batches_of(clips, mix="none"):
    settings = TrainSettings(batch=BATCH, labelled_share=1, perturb=mix)
    return Batches(clips, seed=3, settings=settings, needs={"pixels_b", "pixels_masked"})


def test_frames_are_those_of_the_array_and_memory_of_their_own(mapped):
    source = StoredClips(mapped)
    rows, at = np.array([7, 0, 7]), np.array([3, 3, 11, 0])
    found = source.frames(rows, at)
    np.testing.assert_array_equal(found, mapped[rows][:, at])
    each = np.array([[0, 1], [2, 3], [5, 4]])
    np.testing.assert_array_equal(source.frames(rows, each)[2], mapped[7][[5, 4]])
    assert found.dtype == np.uint8
    assert found.flags.writeable
    assert not np.shares_memory(found, mapped)


def test_plain_batches_have_the_bytes_of_clips_held_in_memory(mapped):
    held = StoredClips(np.ascontiguousarray(mapped[:, uniform_center(STORED, TIME)]))
    before, now = batches_of(clips_of(held)), batches_of(clips_of(StoredClips(mapped)))
    for step in (0, 1, 9):
        old, new = before(step), now(step)
        assert old.keys() == new.keys()
        assert all(torch.equal(old[name], new[name]) for name in old)


@pytest.mark.parametrize("mix", ["none", *MIXES])
def test_a_step_reads_its_own_frames_and_no_others(mapped, mix):
    source = Counting(mapped)
    batches = batches_of(clips_of(source), mix)
    assert source.asked == 0, "nothing is read before the first step"
    batches(0)
    views = 1 if mix == "none" else 2  # view b perturbs clips of its own
    again = 1 if mix == "none" else 2  # reordered clips are read once more
    assert BATCH * TIME <= source.asked <= views * again * BATCH * TIME
    assert source.asked < CLIPS * TIME


def test_holding_out_reads_nothing(mapped):
    source = Counting(mapped)
    rest, kept = hold_out(clips_of(source), 0.3, seed=1)
    assert source.asked == 0
    assert rest.source is kept.source is source
    assert sorted([*rest.rows, *kept.rows]) == list(range(CLIPS))
    batch = batches_of(kept)(2)
    assert source.asked == BATCH * TIME
    assert len(batch["pixels"]) == BATCH


def test_a_trial_s_batches_hold_no_copy_of_its_clips(small):
    from sweep.cells.resolve import cells
    from sweep.data.prepare import prepare
    from tests.assembled import assembled

    config = cells(small("combiners={meltr: {data: holdout}}"))[-1]
    prepared = prepare(config.data)
    made = assembled(config, prepared)
    for clips in (made.batches.clips, made.judged_by.clips):
        assert clips.source.array is prepared.train.source.array

"""Policies of the masked view: how many frames, which, and that nothing else moved."""

from __future__ import annotations

import typing

import pytest
import torch

from sweep.cells.resolve import cells
from sweep.cells.search.dimensions import dimensions
from sweep.data.sources import StoredClips
from sweep.runtime.seeds import generator
from sweep.settings.section import ConfigError
from sweep.settings.train import TrainSettings, ViewSettings
from sweep.studies.load import load_study
from sweep.training.batches import Batches, Clips
from sweep.training.frame_masks import frame_mask, frame_motion

POLICIES = typing.get_args(ViewSettings.model_fields["mask_policy"].annotation)
TIME = 12


def clips(size=200, moving=(5, 6, 7)):
    """Still clips with some noise in which single frames differ from the one before."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randint(0, 3, (size, TIME, 3, 8, 8), generator=rng, dtype=torch.uint8)
    for t in moving:
        x[:, t] += 100 * (t % 2)  # changes at 5, back at 6, again at 7, back at 8
    return x


def drawn(policy, seed=1, size=200, **knobs):
    views = ViewSettings(mask_policy=policy, **knobs)
    return frame_mask(size, clips(size), views, generator(seed, "frame_mask", 0))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("share", "count"), [(0, 1), (0.25, 3), (0.5, 6), (1, TIME - 1)])
def test_every_policy_hides_as_many_frames_as_asked(policy, share, count):
    mask = drawn(policy, size=20, mask_frames=share)
    assert mask.dtype == torch.bool
    assert (mask.sum(1) == count).all()
    assert torch.equal(mask, drawn(policy, size=20, mask_frames=share))


@pytest.mark.parametrize("policy", POLICIES)
def test_draws_differ_between_clips_and_seeds_but_for_the_future(policy):
    one, two = drawn(policy), drawn(policy, seed=2)
    alike = policy == "future"
    assert torch.equal(one, two) == alike
    assert (one == one[:1]).all() == alike
    rate = one.float().mean(0)
    assert alike or (rate > 0.05).all() or policy in {"motion", "aggressive"}


def test_future_and_block_hide_one_run():
    assert drawn("future", mask_frames=0.25)[:, -3:].all()
    mask = drawn("block", mask_frames=0.25).int()
    assert (mask.diff(dim=1).clamp(min=0).sum(1) + mask[:, 0] == 1).all()
    starts = mask.argmax(1).bincount(minlength=TIME)
    assert (starts[: TIME - 2] > 0).all()


def test_motion_policies_prefer_frames_that_change():
    change = frame_motion(clips())[:, :, 0, 0]
    torch.testing.assert_close(change.amax(1), torch.ones(200))
    assert (change[:, 5:9] > 0.9).all()
    assert (change[:, :5] < 0.1).all()
    share = {
        policy: drawn(policy, mask_frames=0.25)[:, 5:9].float().sum().item() / (3 * 200)
        for policy in ("random", "motion", "aggressive")
    }
    assert share["random"] == pytest.approx(4 / TIME, abs=0.05)
    assert share["random"] < share["motion"] < share["aggressive"]
    assert share["aggressive"] > 0.99
    loose = drawn("motion", mask_frames=0.25, mask_strength=0.0)[:, 5:9].float().mean(0)
    assert loose.mean().item() == pytest.approx(0.25, abs=0.05)
    uniform = drawn("aggressive", mask_frames=0.25, mask_random=1.0)[:, 5:9].float().mean().item()
    assert uniform == pytest.approx(0.25, abs=0.05)


def test_still_clips_are_masked_like_any():
    still = torch.zeros(200, TIME, 3, 4, 4, dtype=torch.uint8)
    views = ViewSettings(mask_policy="aggressive", mask_frames=0.5)
    mask = frame_mask(200, still, views, generator(1, "frame_mask", 0))
    assert (mask.sum(1) == 6).all()
    assert mask.float().mean(0).sub(0.5).abs().max() < 0.15


def test_the_default_is_the_draw_that_was_always_made():
    frames = clips(8).numpy()
    labels = torch.arange(8).numpy()
    words = torch.zeros(8, 0, 0).long().numpy()
    batches = Batches(
        Clips(StoredClips(frames), labels, TIME, labels, words, words > 0),
        seed=3,
        settings=TrainSettings(batch=4),
        needs={"frame_mask", "pixels_masked"},
    )
    score = torch.rand(4, TIME, generator=generator(3, "frame_mask", 7))
    expected = torch.zeros(4, TIME, dtype=torch.bool)
    expected.scatter_(1, score.argsort(1)[:, :6], value=True)
    batch = batches(7)
    assert torch.equal(batch["frame_mask"], expected)
    assert (batch["pixels_masked"][expected] == 0.5).all(), "mid-grey"


def test_keys_change_with_the_policy_and_not_with_its_existence():
    trial = cells(load_study("quickstart"))[0]
    content = trial.model_dump(mode="json")
    for name in ("mask_policy", "mask_strength", "mask_random"):  # younger than the first records
        del content["train"]["views"][name]
    assert type(trial).model_validate(content).key == trial.key
    others = {
        cells(load_study("quickstart", overrides=[f"train.views.{o}" for o in options]))[0].key
        for options in (
            ["mask_policy=motion"],
            ["mask_policy=motion", "mask_strength=3"],
            ["mask_policy=aggressive"],
            ["mask_policy=future"],
        )
    }
    assert len(others | {trial.key}) == 5


def test_knobs_of_motion_are_refused_where_nothing_looks_at_motion():
    overrides = ["train.views.mask_policy=future", "train.views.mask_random=.5"]
    with pytest.raises(ConfigError, match=r"mask_random: 0.5 given, .*'future'.*'motion'"):
        load_study("quickstart", overrides=overrides)


def test_the_policy_is_a_dimension_of_searches():
    space = "search.space={train.views.mask_policy: {choices: [random, motion, future]}}"
    study = load_study("quickstart", overrides=["design.kind=search", space])
    (found,) = dimensions(study)
    assert found.choices == ("random", "motion", "future")

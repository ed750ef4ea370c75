"""Perturbations that move smoothly: one thing that wanders, not a new one in every frame."""

import itertools
import math

import pytest
import torch

from perturb.apply import apply
from perturb.catalogue import PERTURBATIONS
from perturb.coherent import path

FRAMES = 12


def seen(name, severity, grey=128, size=(60, 80)):
    clip = torch.full((1, FRAMES, 3, *size), grey, dtype=torch.uint8)
    return apply(clip, name, severity, clip_ids=["c"])[0]


@pytest.mark.parametrize("length", [1, 2, 7, 300])
@pytest.mark.parametrize("turns", [0.5, 2.0])
def test_paths_stay_inside_and_never_jump(length, turns):
    courses = path(length, 50, turns, torch.Generator().manual_seed(3))
    assert courses.shape == (50, length)
    assert courses.abs().max() <= 1
    # the fastest a sum of sines of such periods can be
    steepest = 2 * math.pi * (turns + (turns + 1) / 2 + (turns + 2) / 3) / (1 + 1 / 2 + 1 / 3)
    assert (courses.diff() * (length - 1)).abs().amax() <= steepest if length > 1 else True
    assert courses[:, 0].std() > 0.2, "every clip begins elsewhere"


def test_noise_is_one_field_that_wanders():
    frames = seen("drifting_noise", 3)
    for before, after in itertools.pairwise(frames):
        steps = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        assert any(torch.equal(before.roll(step, (-2, -1)), after) for step in steps)
    assert not torch.equal(frames[0], frames[-1])


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_a_square_of_constant_size_wanders(severity):
    hidden = (seen("moving_occlusion", severity) == 0).all(1)
    share = PERTURBATIONS["moving_occlusion"].arguments(severity, "paper_fixed")["share"]
    assert hidden.double().mean((1, 2)) == pytest.approx(share, abs=0.02)
    for before, after in itertools.pairwise(hidden):
        assert (before & after).sum() > 0, "it does not jump over itself"


def test_light_is_one_factor_per_frame():
    frames = seen("lighting_drift", 4, grey=100).double()
    assert frames.flatten(1).std(1).max() == 0
    gain = PERTURBATIONS["lighting_drift"].arguments(4, "paper_fixed")["gain"]
    assert (frames.mean((1, 2, 3)) / 100 - 1).abs().max() <= gain
    assert frames.mean((1, 2, 3)).std() > 1


def test_streaks_fall_by_the_speed():
    level = PERTURBATIONS["falling_rain"].arguments(1, "paper_fixed")
    lit = (seen("falling_rain", 1, size=(120, 160)) > 150).all(1)
    fall = int(level["speed"])
    # away from both ends, where streaks leave and come in
    inner = slice(fall, 120 - fall)
    for before, after in itertools.pairwise(lit):
        assert torch.equal(before.roll(fall, 0)[inner], after[inner])
    assert lit.any()


def test_flakes_fall_by_the_speed_along_their_slant():
    speed = int(PERTURBATIONS["falling_snow"].arguments(2, "paper_fixed")["speed"])
    frames = seen("falling_snow", 2, grey=0)
    assert frames.float().std() > 10
    aside = []
    for before, after in itertools.pairwise(frames):
        steps = [dx for dx in range(-speed - 1, speed + 2)
                 if torch.equal(before.roll((speed, dx), (-2, -1)), after)]  # fmt: skip
        assert len(steps) == 1, "at most 45 degrees"
        aside += steps
    assert max(aside) - min(aside) <= 1, "a straight way"


def test_the_cloud_drifts_in_one_direction():
    speed = int(PERTURBATIONS["drifting_fog"].arguments(3, "paper_fixed")["speed"])
    frames = seen("drifting_fog", 3)[:, 0]
    inner = (slice(speed + 1, -speed - 1),) * 2
    steps = list(itertools.product(range(-speed, speed + 1), repeat=2))
    taken = set()
    for before, after in itertools.pairwise(frames):
        (step,) = (s for s in steps if torch.equal(before.roll(s, (0, 1))[inner], after[inner]))
        taken.add(step)
    down, right = zip(*taken, strict=True)
    assert max(down) - min(down) <= 1
    assert max(right) - min(right) <= 1
    assert {math.hypot(*s) > speed - 1.5 for s in taken} == {True}


def test_the_profile_holds_what_is_coherent():
    from perturb.catalogue import PROFILES

    names = {n for n, row in PERTURBATIONS.items() if row.target.startswith("perturb.coherent")}
    assert set(PROFILES["coherent"].conditions) == names
    assert all(PERTURBATIONS[name].moves for name in names)


def test_the_camera_sways_by_no_more_than_its_reach():
    size = (80, 100)
    clip = torch.zeros(1, FRAMES, 3, *size, dtype=torch.uint8)
    clip[..., 40, 50] = 255
    level = PERTURBATIONS["camera_drift"].arguments(2, "paper_fixed")
    frames = apply(clip, "camera_drift", 2, clip_ids=["c"])[0, :, 0].double()
    rows = (frames.sum(2) * torch.arange(size[0])).sum(1) / frames.sum((1, 2))
    assert ((rows - 40).abs() <= level["reach"] + 0.1).all()
    assert rows.std() > 0.3

"""Training mixes: complete tables, tests that training does not show, draws that depend on ids."""

import random
from collections import Counter

import pytest
import torch

from perturb import MIXES, PERTURBATIONS, PROFILES
from perturb.fractals import pictures
from perturb.mixes import PROBABILITY, TESTED_SEVERITIES, TRAINED_SEVERITIES
from perturb.pixmix import add, altered, multiply
from perturb.training import apply_mix, choose

IDS = ("0/3", "0/7", "1/3", "1/4", "2/0")
CLIPS = torch.randint(0, 256, (5, 6, 3, 32, 40), generator=torch.Generator().manual_seed(1)).byte()


@pytest.fixture(params=MIXES)
def mix(request):
    return MIXES[request.param]


def test_a_mix_names_what_exists_and_its_tests_are_a_profile(mix):
    assert set(mix.trained) | set(mix.tested) | set(mix.kin) <= set(PERTURBATIONS)
    profile = PROFILES[f"mix:{mix.name}"]
    assert set(profile.conditions) == set(mix.tested)
    assert set(profile.conditions.values()) == {TESTED_SEVERITIES}
    assert mix.meaning
    assert mix.source


def test_no_test_condition_is_trained_on(mix):
    assert not set(TRAINED_SEVERITIES) & set(TESTED_SEVERITIES)
    seen = {mix.seen(name, s) for name in mix.tested for s in TESTED_SEVERITIES}
    # `temporal` repeats its types at higher severities, all others test other types
    assert seen == ({"", "kind"} if mix.name == "temporal" else {""})
    for name in mix.trained:
        assert {mix.seen(name, s) for s in TRAINED_SEVERITIES} == {"condition"}
        assert {mix.seen(name, s) for s in TESTED_SEVERITIES} == {"kind"}


def test_shape_type_and_input_are_kept_and_the_result_repeats(mix):
    before = CLIPS.clone()
    made = apply_mix(CLIPS, mix.name, clip_ids=IDS, seed=1, probability=1)
    assert made.shape == CLIPS.shape
    assert made.dtype == torch.uint8
    assert torch.equal(CLIPS, before)
    torch.manual_seed(9)
    random.seed(9)
    again = apply_mix(CLIPS, mix.name, clip_ids=IDS, seed=1, probability=1)
    assert torch.equal(made, again)
    other = apply_mix(CLIPS, mix.name, clip_ids=IDS, seed=2, probability=1)
    assert not torch.equal(made, other)


def test_a_clip_does_not_depend_on_its_batch(mix):
    made = apply_mix(CLIPS, mix.name, clip_ids=IDS, seed=1)
    turned = apply_mix(CLIPS.flip(0), mix.name, clip_ids=IDS[::-1], seed=1)
    assert torch.equal(made, turned.flip(0))
    alone = apply_mix(CLIPS[2:3], mix.name, clip_ids=IDS[2:3], seed=1)
    assert torch.equal(made[2:3], alone)


def test_a_clip_of_one_frame(mix):
    for clip in CLIPS[:, :1].split(1):
        assert apply_mix(clip, mix.name, clip_ids=["c"], seed=4, probability=1).shape == clip.shape


def test_types_and_severities_are_drawn_as_often_as_they_should(mix):
    count = 6000
    drawn = [choose(mix.name, number, seed=5) for number in range(count)]
    given = [one for one in drawn if one is not None]
    assert len(given) / count == pytest.approx(PROBABILITY, abs=0.025)
    severities = Counter(severity for _, severity in given)
    assert set(severities) == set(TRAINED_SEVERITIES)
    names = Counter(name for name, _ in given)
    expected = {n: 1 / len(mix.groups) / len(g) for g in mix.groups for n in g} or {"pixmix": 1}
    assert set(names) == set(expected)
    for name, share in expected.items():
        assert names[name] / len(given) == pytest.approx(share, abs=0.03)
    for severity in TRAINED_SEVERITIES:
        assert severities[severity] / len(given) == pytest.approx(1 / 3, abs=0.03)


def test_probabilities_at_the_ends(mix):
    assert torch.equal(apply_mix(CLIPS, mix.name, clip_ids=IDS, seed=1, probability=0), CLIPS)
    assert all(choose(mix.name, n, seed=1, probability=1) for n in range(50))


def test_an_unknown_mix_is_named():
    with pytest.raises(ValueError, match="'temporl'; did you mean 'temporal'"):
        apply_mix(CLIPS, "temporl", clip_ids=IDS, seed=1)


# -------------------------------------------------------------------------------------- PixMix
def test_frames_are_mixed_one_by_one():
    still = CLIPS[:1, :1].expand(-1, 8, -1, -1, -1)
    made = apply_mix(still, "pixmix", clip_ids=["x"], seed=1, probability=1)[0]
    assert len({frame.numpy().tobytes() for frame in made}) > 4


def test_mid_grey_is_neutral_and_the_second_picture_may_weigh_nothing():
    one, grey = torch.rand(3, 5, 5), torch.full((3, 5, 5), 0.5)
    for blend in (add, multiply):
        assert torch.allclose(blend(one, grey, 1.0, 0.7), one)
        assert torch.allclose(blend(one, torch.rand(3, 5, 5), 1.0, 0.0), one)


def test_alterations_keep_the_frame_and_differ():
    frame = CLIPS[0, 0]
    made = [altered(frame, random.Random(n), 3) for n in range(60)]
    assert {m.shape for m in made} == {frame.shape}
    assert {m.dtype for m in made} == {torch.uint8}
    assert len({m.numpy().tobytes() for m in made}) > 12


def test_fractal_pictures_are_many_structured_and_larger_than_frames():
    found = pictures(32, 40)
    assert found.shape[1:] == (3, 36, 45)
    assert found.dtype == torch.uint8
    flat = found.float().flatten(1)
    assert flat.std(1).min() > 4, "none is of one colour"
    apart = torch.cdist(flat, flat) + torch.eye(len(flat)) * 1e9
    assert apart.min() > 500, "none is there twice"

"""What holds for every perturbation of the catalogue at every severity of every ladder."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from perturb import LADDERS, PERTURBATIONS
from perturb.apply import apply, frame_map, pixel_hash, unavailable
from perturb.video import FORMATS

NAMES = [name for name, spec in PERTURBATIONS.items() if not spec.missing]
IDS = ("clip a", 7, "c")
REPOSITORY = Path(__file__).parents[2]


def moving_clips(batch=3, frames=16, height=48, width=56):
    """Smooth pictures with texture and motion: every frame differs from every other."""
    generator = torch.Generator().manual_seed(5)
    coarse = torch.rand(batch, 3, 9, 10, generator=generator)
    fine = torch.rand(batch, 3, 24, 28, generator=generator)
    size = (height + frames, width + frames)
    scenes = 0.75 * torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")
    scenes += 0.25 * torch.nn.functional.interpolate(fine, size=size, mode="bilinear")
    cuts = [scenes[..., t : t + height, t : t + width] for t in range(frames)]
    return (torch.stack(cuts, 1) * 255).to(torch.uint8).contiguous()


CLIPS = moving_clips()


@pytest.fixture(params=NAMES)
def spec(request):
    found = PERTURBATIONS[request.param]
    reason = unavailable(found.name)
    if reason:
        pytest.skip(reason)
    return found


def severities_of(spec):
    """All, but the strongest alone where every call starts a process."""
    form = FORMATS.get(spec.name)
    return spec.severities[-1:] if form and form.is_apart else spec.severities


def tables_of(spec):
    """One ladder for each table that differs."""
    return list({spec.levels[ladder]: ladder for ladder in reversed(LADDERS)}.values())


@pytest.mark.parametrize("ladder", LADDERS)
def test_shape_type_and_input_are_kept_and_the_result_repeats(spec, ladder):
    before = CLIPS.clone()
    for severity in severities_of(spec) if ladder in tables_of(spec) else ():
        made = apply(CLIPS, spec.name, severity, clip_ids=IDS, ladder=ladder)
        assert made.shape == CLIPS.shape
        assert made.dtype == torch.uint8
        assert made.is_contiguous()
        assert torch.equal(CLIPS, before)
        again = apply(CLIPS, spec.name, severity, clip_ids=IDS, ladder=ladder)
        assert torch.equal(made, again)


def test_a_clip_does_not_depend_on_its_batch(spec):
    for severity in {severities_of(spec)[0], spec.severities[-1]}:
        together = apply(CLIPS, spec.name, severity, clip_ids=IDS)
        reversed_ = apply(CLIPS.flip(0), spec.name, severity, clip_ids=IDS[::-1])
        assert torch.equal(together, reversed_.flip(0))
        for index, clip_id in enumerate(IDS):
            one = CLIPS[index : index + 1]
            alone = apply(one, spec.name, severity, clip_ids=[clip_id])
            assert torch.equal(alone[0], together[index])


def test_a_strided_view_is_as_good_as_a_copy(spec):
    view = CLIPS.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    severity = spec.severities[-1]
    ours = apply(view, spec.name, severity, clip_ids=IDS)
    assert torch.equal(ours, apply(CLIPS, spec.name, severity, clip_ids=IDS))


def test_draws_depend_on_clip_seed_and_severity_and_on_nothing_else(spec):
    same = CLIPS[:1].expand(2, -1, -1, -1, -1)
    severity = spec.severities[-1]
    pair = apply(same, spec.name, severity, clip_ids=["one", "two"], ladder="small")
    other = apply(same, spec.name, severity, clip_ids=["one", "two"], ladder="small", seed=1)
    if spec.deterministic:
        assert torch.equal(pair[0], pair[1])
        assert torch.equal(pair, other)
    else:
        assert not torch.equal(pair[0], pair[1])
        assert not torch.equal(pair, other)
    torch.manual_seed(99)  # global generators play no part
    assert torch.equal(
        pair, apply(same, spec.name, severity, clip_ids=["one", "two"], ladder="small")
    )


def test_severity_zero_is_the_clip_itself(spec):
    assert apply(CLIPS, spec.name, 0, clip_ids=IDS) is CLIPS


ORDERED = [
    (spec, ladder)
    for spec in PERTURBATIONS.values()
    for ladder in tables_of(spec)
    if spec.has_severity and not spec.missing and ladder not in spec.not_monotone
]


@pytest.mark.parametrize(("spec", "ladder"), ORDERED, ids=[f"{s.name}-{n}" for s, n in ORDERED])
def test_severity_orders_the_distance_to_the_clean_clip(spec, ladder):
    if unavailable(spec.name):
        pytest.skip(unavailable(spec.name))
    batch = 1 if spec.deterministic else 6
    clips = moving_clips(batch=batch, frames=8, height=64, width=68)
    if spec.temporal:
        # displacement, over many draws and a clip that is longer than the longest window
        shown = [
            frame_map(spec.name, s, 100, clip_ids=range(200), ladder=ladder)
            for s in spec.severities
        ]
        distance = [(m - torch.arange(100)).abs().double().mean().item() for m in shown]
    else:
        distance = []
        for severity in spec.severities:
            made = apply(clips, spec.name, severity, clip_ids=range(batch), ladder=ladder)
            distance.append((made.double() - clips.double()).abs().mean().item())
    assert distance[0] > 0
    assert distance == sorted(distance), distance


def test_temporal_perturbations_are_their_frame_maps(spec):
    if not spec.temporal:
        with pytest.raises(ValueError, match="no frame map"):
            frame_map(spec.name, 1, 8, clip_ids=IDS)
        return
    for severity in spec.severities:
        shown = frame_map(spec.name, severity, CLIPS.shape[1], clip_ids=IDS)
        assert shown.dtype == torch.int64
        assert shown.shape == CLIPS.shape[:2]
        assert 0 <= shown.min() <= shown.max() < CLIPS.shape[1]
        made = apply(CLIPS, spec.name, severity, clip_ids=IDS)
        for clip, frames, picks in zip(CLIPS, made, shown, strict=True):
            assert torch.equal(frames, clip[picks])
    clean = frame_map(spec.name, 0, 5, clip_ids=IDS)
    assert clean.tolist() == [[0, 1, 2, 3, 4]] * 3


# ------------------------------------------------------------------------------------ mistakes
@pytest.mark.parametrize(
    ("name", "severity", "ladder", "message"),
    [
        ("gausian_noise", 1, "paper", "did you mean 'gaussian_noise'"),
        ("jpeg", 6, "paper", "no severity 6; allowed: 0, 1, 2, 3, 4, 5"),
        ("jpeg", 2.5, "paper", "no severity 2.5"),
        ("reversal", 2, "paper", "allowed: 0, 1 "),
        ("jpeg", 1, "papers", "unknown ladder 'papers'; did you mean 'paper'"),
        ("jpeg", 0, "papers", "unknown ladder"),
    ],
)
def test_what_does_not_exist_is_named(name, severity, ladder, message):
    with pytest.raises(ValueError, match=message):
        apply(CLIPS, name, severity, clip_ids=IDS, ladder=ladder)


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (CLIPS.float(), "uint8"),
        (CLIPS.numpy(), "torch tensor"),
        (CLIPS[0], r"clip\[None\]"),
        (CLIPS.permute(0, 1, 3, 4, 2), r"permute\(0, 1, 4, 2, 3\)"),
        (CLIPS.transpose(1, 2), r"transpose\(1, 2\)"),
        (CLIPS[:, :, :1], r"\(3, 16, 1, 48, 56\)"),
    ],
)
def test_what_is_not_a_clip_is_refused_with_a_hint(clip, message):
    with pytest.raises(ValueError, match=message):
        apply(clip, "jpeg", 0, clip_ids=IDS)


def test_ids_are_counted():
    with pytest.raises(ValueError, match="one id per clip: 3; got 2"):
        apply(CLIPS, "jpeg", 1, clip_ids=["a", "b"])
    with pytest.raises(ValueError, match="one string 'abc'"):
        apply(CLIPS, "jpeg", 1, clip_ids="abc")
    with pytest.raises(ValueError, match="at least 1 frame"):
        frame_map("sampling", 1, 0, clip_ids=["a"])


def test_an_integer_id_is_its_text():
    ours = apply(CLIPS[:1], "impulse_noise", 1, clip_ids=[np.int64(7)])
    assert torch.equal(ours, apply(CLIPS[:1], "impulse_noise", 1, clip_ids=["7"]))


def test_an_empty_batch_stays_empty():
    empty = CLIPS[:0]
    for name in ("jpeg", "jumbling", "gaussian_noise"):
        assert apply(empty, name, 3, clip_ids=[]).shape == empty.shape
    assert frame_map("jumbling", 1, 4, clip_ids=[]).shape == (0, 4)


def test_a_missing_codec_is_an_error_with_a_reason(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    monkeypatch.setitem(__import__("sys").modules, "av.codec", None)
    assert "PyAV" in unavailable("mpeg1")
    with pytest.raises(RuntimeError, match="PyAV"):
        apply(CLIPS, "mpeg2", 1, clip_ids=IDS)
    assert unavailable("jpeg") is None


def test_with_torch_alone_everything_runs_or_says_what_it_lacks():
    code = """
import sys
for name in ("cv2", "av", "torchvision", "PIL", "scipy"):
    sys.modules[name] = None
import torch
from perturb import PERTURBATIONS
from perturb.apply import apply, unavailable
clip = torch.arange(8 * 3 * 64 * 64).remainder(251).to(torch.uint8).view(1, 8, 3, 64, 64)
for name, spec in PERTURBATIONS.items():
    if reason := unavailable(name):
        print(name, reason, sep=": ")
    else:
        apply(clip, name, min(2, spec.severities[-1]), clip_ids=["c"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    coded = {name for name, spec in PERTURBATIONS.items() if spec.needs_codec}
    assert said.keys() == coded | {"jpeg"} | {n for n, s in PERTURBATIONS.items() if s.missing}
    assert said["jpeg"] == "jpeg needs Pillow, which is not installed: pip install pillow"


# ----------------------------------------------------------------------------------- the hash
def test_the_pixel_hash_tells_bytes_and_shapes_apart():
    assert pixel_hash(CLIPS) == pixel_hash(CLIPS.clone())
    assert len(pixel_hash(CLIPS)) == 16
    changed = CLIPS.clone()
    changed[0, 0, 0, 0, 0] ^= 1
    assert pixel_hash(changed) != pixel_hash(CLIPS)
    assert pixel_hash(CLIPS.flatten(0, 1)) != pixel_hash(CLIPS)
    strided = CLIPS.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    assert pixel_hash(strided) == pixel_hash(CLIPS)


def test_the_keyed_draws_do_not_drift():
    """Stored scores are comparable only while these bytes stay."""
    clip = (torch.arange(2 * 3 * 16 * 16) % 256).to(torch.uint8).view(1, 2, 3, 16, 16)
    shown = frame_map("jumbling", 2, 8, clip_ids=["x"]).tolist()
    assert sorted(shown[0]) == list(range(8))
    hashes = {
        name: pixel_hash(apply(clip, name, 3, clip_ids=["x"]))
        for name in ("impulse_noise", "random_rotation", "translation", "occlusion")
    }
    assert hashes == FROZEN, hashes
    assert shown == FROZEN_ORDER, shown


FROZEN = {
    "impulse_noise": "867a7f380aeaf28f",
    "random_rotation": "abd126e36a7c2348",
    "translation": "0ba9e93a0f530a31",
    "occlusion": "ae78874c6b68d8ec",
}
FROZEN_ORDER = [[5, 3, 7, 6, 4, 2, 1, 0]]

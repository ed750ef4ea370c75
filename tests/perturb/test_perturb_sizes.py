"""Small, odd and large frames, short and long clips: they work, or are refused with a reason."""

import pytest
import torch

from perturb import PERTURBATIONS
from perturb.apply import apply, frame_map, unavailable
from perturb.video import FORMATS

SIZES = [(32, 32), (33, 47), (112, 112), (256, 340)]
LENGTHS = [1, 2, 8, 32]


def clip_of(frames, height, width):
    generator = torch.Generator().manual_seed(1)
    size = (1, frames, 3, height, width)
    return torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)


@pytest.fixture(params=[name for name, spec in PERTURBATIONS.items() if not spec.missing])
def spec(request):
    reason = unavailable(request.param)
    if reason:
        pytest.skip(reason)
    return PERTURBATIONS[request.param]


def ladders_of(spec):
    return ("paper", "small") if spec.levels["paper"] != spec.levels["small"] else ("paper",)


def severities_of(spec):
    """All, but the strongest alone where every call starts a process."""
    form = FORMATS.get(spec.name)
    return spec.severities[-1:] if form and form.is_apart else spec.severities


def test_frame_sizes(spec):
    for height, width in SIZES:
        clip = clip_of(2, height, width)
        for ladder in ladders_of(spec):
            for severity in {1, spec.severities[-1]} & set(severities_of(spec)):
                made = apply(clip, spec.name, severity, clip_ids=["c"], ladder=ladder)
                assert made.shape == clip.shape


def test_clip_lengths(spec):
    for frames in LENGTHS:
        clip = clip_of(frames, 32, 40)
        for ladder in ladders_of(spec):
            for severity in severities_of(spec):
                made = apply(clip, spec.name, severity, clip_ids=["c"], ladder=ladder)
                assert made.shape == clip.shape
                if spec.temporal:
                    shown = frame_map(spec.name, severity, frames, clip_ids=["c"], ladder=ladder)
                    assert shown.shape == (1, frames)


def test_frames_too_small_to_reflect_are_refused():
    with pytest.raises(ValueError, match="at least 11 px; got 12 x 9"):
        apply(clip_of(1, 9, 12), "defocus_blur", 5, clip_ids=["c"])
    assert apply(clip_of(1, 12, 12), "defocus_blur", 5, clip_ids=["c"]).shape[-1] == 12


def test_frames_too_small_for_an_encoder_are_refused():
    if unavailable("mpeg1"):
        pytest.skip("no encoder")
    with pytest.raises(ValueError, match="at least 2 x 2 px; got 5 x 1"):
        apply(clip_of(1, 1, 5), "mpeg1", 1, clip_ids=["c"])

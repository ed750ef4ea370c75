"""Decoding: the right frames from every kind of file, and a plain word on those that have none."""

import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sweep.data.decoding.decode import (
    DecodeError,
    is_seek_exact,
    probe_file,
    read_clip,
    read_frames,
)
from sweep.data.decoding.resize import fit
from sweep.data.sampling import segment_mid, segment_rand, uniform_center

VIDEOS = Path(__file__).resolve().parents[3] / "shared" / "videos"
needs_videos = pytest.mark.skipif(not VIDEOS.is_dir(), reason="no folder of real clips")

# container, codec, options, whether random access through decord was seen to be right
FORMS = {
    "closed": ("mp4", "libx264", {"g": "12"}, True),
    "no B-frames": ("mp4", "libx264", {"bf": "0"}, True),
    "open groups": ("mp4", "libx264", {"x264-params": "open-gop=1:keyint=12:bframes=3"}, False),
    "avi x264": ("avi", "libx264", {"g": "12"}, False),
    "avi mpeg2": ("avi", "mpeg2video", {"bf": "2", "g": "12"}, False),
    "avi mpeg4": ("avi", "mpeg4", {"bf": "0"}, True),
    "webm vp9": ("webm", "libvpx-vp9", {"cpu-used": "8", "deadline": "realtime"}, True),
}


def encode(path, codec, options, *, frames=150, size=(48, 64)):
    """A video whose frames all differ: a bright bar that moves over noise of a slow rhythm."""
    import av

    rng = np.random.default_rng(0)
    grain = rng.integers(0, 60, (*size, 3)).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(25), options=options)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        for index in range(frames):
            pixels = np.roll(grain, index, axis=1)
            pixels[:, (3 * index) % size[1] :][:, :6] = 255
            pixels[: 1 + index % size[0], :4] = 180
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("videos")


@pytest.mark.parametrize("form", FORMS)
def test_every_access_that_we_use_gives_the_frames_of_a_sequential_pass(folder, form):
    container, codec, options, is_usually_exact = FORMS[form]
    path = folder / f"{form.replace(' ', '_')}.{container}"
    encode(path, codec, options)
    info = probe_file(path)
    assert info.is_whole
    assert info.num_frames >= 148  # AVI with B-frames may drop one at its ends
    every = range(info.num_frames)
    true = read_frames(path, every, info=replace(info, backend="pyav"))
    assert len(np.unique(true.reshape(len(true), -1), axis=0)) > 140, "frames differ"
    wanted = [0, 70, 3, 70, info.num_frames - 1, 64, 63]

    def assert_close(ours, theirs):
        # The two FFmpeg versions round the transform of the MPEG codecs differently.
        gap = np.abs(ours.astype(int) - theirs)
        assert gap.max() <= (2 if "mpeg" in codec else 0)

    assert_close(read_frames(path, wanted, info=info), true[wanted])
    if info.backend == "decord":
        assert_close(read_frames(path, every, info=info), true)
        if is_seek_exact(path):
            seek = replace(info, access="seek")
            uniform = uniform_center(info.num_frames, 8)
            assert_close(read_frames(path, uniform, info=seek), true[uniform])
        else:
            assert not is_usually_exact


def test_the_probe_of_random_access_finds_a_form_that_is_wrong(folder):
    path = folder / "probe.avi"
    encode(path, *FORMS["avi mpeg2"][1:3])
    assert not is_seek_exact(path)


@needs_videos
@pytest.mark.parametrize(
    ("name", "frames", "size", "fps", "status"),
    [
        ("flipping_a_pancake.mkv", 310, (240, 426), 30.0, "ok"),
        ("h265_video.mp4", 10, (128, 128), 10.0, "ok"),
        ("video_90.mov", 3, (568, 320), 30.0, "ok"),
        ("unordered.mov", 4, (50, 50), 32.0, "ok"),
        ("nasa_13013.mp4", 390, (270, 480), 29.97, "ok"),
        ("ucf_style_test.avi", 164, (240, 320), 25.0, "ok"),
        ("h265_10bits.mp4", 30, (200, 200), 30.0, "ok"),
        ("av1_video.mkv", 125, (360, 640), 25.0, "fallback"),
        ("corrupted.mp4", 28, (720, 1280), 10.0, "partial"),
    ],
)
def test_real_clips(name, frames, size, fps, status):
    info = probe_file(VIDEOS / name)
    assert (info.num_frames, (info.height, info.width), info.status) == (frames, size, status)
    assert info.fps == pytest.approx(fps, abs=0.01)
    clip, about = read_clip(VIDEOS / name, frames=8, size_px=48)
    assert clip.shape == (8, 48, 48, 3)
    assert clip.dtype == np.uint8
    assert about["status"] == status
    assert bool(about["note"]) == (status != "ok")


@needs_videos
def test_av1_through_the_fallback_has_the_published_means():
    frames = read_frames(VIDEOS / "av1_video.mkv", range(125))
    means = frames.mean(axis=(0, 1, 2), dtype=np.float64)
    np.testing.assert_allclose(means, [121.498, 126.445, 126.517], atol=0.5)
    info = probe_file(VIDEOS / "av1_video.mkv", backend="decord")
    assert (info.status, info.num_frames) == ("corrupt", 0)


@needs_videos
def test_a_damaged_stream_gives_its_whole_frames_under_both_backends():
    path = VIDEOS / "corrupted.mp4"
    for backend in ("decord", "pyav"):
        info = probe_file(path, backend=backend)
        assert (info.status, info.num_frames, info.announced) == ("partial", 28, 50)
        assert not info.is_whole
    with pytest.raises(DecodeError, match="no frame 28; there are 28"):
        read_frames(path, [28])


def test_files_without_frames_say_why(tmp_path):
    assert probe_file(None).status == "missing"
    assert probe_file(tmp_path / "none.mp4").status == "missing"
    (tmp_path / "empty.mp4").touch()
    assert probe_file(tmp_path / "empty.mp4").status == "empty"
    os.mkfifo(tmp_path / "pipe.mp4")
    assert probe_file(tmp_path / "pipe.mp4").status == "empty"
    (tmp_path / "text.mp4").write_text("not a video " * 100)
    assert probe_file(tmp_path / "text.mp4").status == "corrupt"
    with pytest.raises(DecodeError, match=r"text\.mp4: corrupt: neither"):
        read_clip(tmp_path / "text.mp4", frames=4, size_px=32)


def test_a_cut_file_is_partial_or_corrupt(tmp_path):
    encode(tmp_path / "whole.mkv", "libx264", {"g": "12", "bf": "0"})
    content = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(content[: len(content) // 3])
    assert (
        not probe_file(tmp_path / "cut.mkv").is_whole
        or probe_file(tmp_path / "cut.mkv").num_frames < 75
    )
    (tmp_path / "cut.mp4").write_bytes(content[:40])
    assert probe_file(tmp_path / "cut.mp4").status == "corrupt"


@pytest.mark.parametrize(
    ("height", "width"), [(240, 426), (426, 240), (64, 64), (50, 51), (33, 90)]
)
@pytest.mark.parametrize("size_px", [64, 48])
def test_resizing_is_that_of_torch(height, width, size_px):
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    short = min(height, width)
    full = [size_px if s == short else int(size_px * s / short) for s in (height, width)]
    tensor = torch.from_numpy(frames).permute(0, 3, 1, 2).double()
    wide = F.interpolate(tensor, full, mode="bilinear", antialias=True).permute(0, 2, 3, 1)
    top, left = (round((side - size_px) / 2) for side in full)
    expected = wide[:, top : top + size_px, left : left + size_px].numpy()
    assert np.abs(fit(frames, size_px) - expected).max() < 0.51


@pytest.mark.parametrize("n", [1, 2, 7, 24, 310])
@pytest.mark.parametrize("count", [1, 3, 8, 24])
def test_samplers_stay_in_range_and_in_order(n, count):
    uniform = uniform_center(n, count)
    assert uniform.tolist() == [int((i + 0.5) * n / count) for i in range(count)]
    for indices in (segment_mid(n, count), segment_rand(n, count, np.random.default_rng(0))):
        assert len(indices) == min(n, count)
        assert indices.min() >= 0
        assert indices.max() < n
        assert (np.diff(indices) > 0).all()
    with pytest.raises(ValueError, match="at least 1"):
        uniform_center(0, count)

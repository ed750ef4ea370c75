"""Decoding: the right frames from every kind of file, and a plain word on those that have none."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sweep.data.decoding.decode import read_clip, read_frames
from sweep.data.decoding.errors import DecodeError
from sweep.data.decoding.probe import probe_file
from sweep.data.decoding.resize import fit
from sweep.data.sampling import segment_mid, segment_rand, uniform_center

VIDEOS = Path(__file__).resolve().parents[3] / "shared" / "videos"
needs_videos = pytest.mark.skipif(not VIDEOS.is_dir(), reason="no folder of real clips")


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
        ("av1_video.mkv", 125, (360, 640), 25.0, "ok"),
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
def test_av1_has_the_published_means_and_decord_says_that_it_cannot():
    frames = read_frames(VIDEOS / "av1_video.mkv", range(125))
    means = frames.mean(axis=(0, 1, 2), dtype=np.float64)
    np.testing.assert_allclose(means, [121.498, 126.445, 126.517], atol=0.5)
    info = probe_file(VIDEOS / "av1_video.mkv", backend="decord")
    assert (info.status, info.is_readable) == ("refused", False)
    assert "PyAV gives 125 frames" in info.error


@needs_videos
def test_a_damaged_stream_gives_its_whole_frames_and_is_not_whole():
    path = VIDEOS / "corrupted.mp4"
    info = probe_file(path)
    assert (info.status, info.num_frames, info.announced) == ("partial", 28, 50)
    assert not info.is_whole
    assert len(read_frames(path, range(28), info=info)) == 28
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
    with pytest.raises(DecodeError, match=r"text\.mp4: corrupt: Invalid data"):
        read_clip(tmp_path / "text.mp4", frames=4, size_px=32)


@pytest.mark.parametrize(
    ("height", "width"), [(240, 426), (426, 240), (64, 64), (50, 51), (33, 90)]
)
@pytest.mark.parametrize("size_px", [64, 48])
def test_resizing_is_that_of_torch_up_to_rounding(height, width, size_px):
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    short = min(height, width)
    full = [size_px if s == short else int(size_px * s / short) for s in (height, width)]
    tensor = torch.from_numpy(frames).permute(0, 3, 1, 2).double()
    wide = F.interpolate(tensor, full, mode="bilinear", antialias=True).permute(0, 2, 3, 1)
    top, left = (round((side - size_px) / 2) for side in full)
    expected = wide[:, top : top + size_px, left : left + size_px].numpy()
    gap = fit(frames, size_px) - expected
    assert np.abs(gap).max() < 1.01  # both passes round, one after the other
    assert np.abs(gap.mean()) < 0.25  # halves are rounded up
    assert gap.std() < 0.5


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

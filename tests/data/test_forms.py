"""Right frames from every form of file: each frame carries its number, so that wrong ones show."""

import gc
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from sweep.data.decoding import pool
from sweep.data.decoding.decode import read_frames
from sweep.data.decoding.probe import probe_file
from sweep.data.sampling import uniform_center
from tests.data.numbered import copy, cut, numbers, write

FRAMES = 60
OPEN = {"x264-params": "open-gop=1:keyint=12:bframes=3"}
FAST = {"cpu-used": "8", "deadline": "realtime"}
TRANSPORT = {"form": "mpegts"}
PAUSES = [40 * i if i < 50 else 2000 + (i - 50) * 500 for i in range(FRAMES)]

#: Name -> suffix and how it is written.
WHOLE = {
    f"{suffix} h264 {name}": (suffix, how)
    for suffix in ("mp4", "mov", "mkv", "avi", "ts", "flv")
    for name, how in {
        "without B-frames": {"b_frames": 0},
        "B-frames": {"b_frames": 3},
        "open groups": {"options": OPEN},
    }.items()
} | {
    f"{suffix} mpeg4 {b_frames} B-frames": (suffix, {"codec": "mpeg4", "b_frames": b_frames})
    for suffix in ("mp4", "avi", "mkv", "3gp", "m4v")
    for b_frames in (0, 2)
} | {
    f"{suffix} mpeg2": (suffix, {"codec": "mpeg2video", "b_frames": 2})
    for suffix in ("mpg", "ts", "avi", "mkv")
} | {
    "mpeg mpeg1": ("mpeg", {"codec": "mpeg1video", "b_frames": 2}),
    "webm vp8": ("webm", {"codec": "libvpx", "options": FAST}),
    "webm vp9": ("webm", {"codec": "libvpx-vp9", "options": FAST}),
    "mkv av1": ("mkv", {"codec": "libsvtav1", "options": {"preset": "12"}}),
    "gif": ("gif", {"codec": "gif", "pixels": "rgb8"}),
    "mkv ffv1": ("mkv", {"codec": "ffv1"}),
    "avi mjpeg": ("avi", {"codec": "mjpeg", "pixels": "yuvj420p"}),
    "wmv": ("wmv", {"codec": "wmv2"}),
    "mov prores 10 bits": ("mov", {"codec": "prores_ks", "pixels": "yuv422p10le"}),
    "one group": ("mp4", {"gop": 250, "b_frames": 3}),
    "key frames alone": ("mp4", {"gop": 1, "b_frames": 0}),
    "fragmented": ("mp4", {"muxer": {"movflags": "frag_keyframe+empty_moov"}}),
    "10 bits": ("mp4", {"pixels": "yuv420p10le"}),
    "4:4:4": ("mp4", {"pixels": "yuv444p"}),
    "pauses": ("mp4", {"times_ms": PAUSES}),
    "slower and slower": ("mkv", {"times_ms": [5 * i * i for i in range(FRAMES)]}),
    "odd size": ("mkv", {"size": (63, 47), "codec": "ffv1", "pixels": "yuv444p"}),
    "transport stream named mp4": ("mp4", TRANSPORT),
    "transport stream named mkv": ("mkv", TRANSPORT),
    "mpeg2 transport stream named mp4": ("mp4", TRANSPORT | {"codec": "mpeg2video", "b_frames": 2}),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("forms")


def test_there_are_enough_forms():
    assert len(WHOLE) >= 40


@pytest.mark.parametrize("name", WHOLE)
def test_every_frame_of_a_whole_file_is_the_one_that_was_asked_for(name, folder):
    suffix, how = WHOLE[name]
    if how.get("codec", "libx264") not in av.codecs_available:
        pytest.skip(f"PyAV has no {how['codec']}")
    path = folder / f"{name.replace(' ', '-').replace(':', '')}.{suffix}"
    write(path, frames=FRAMES, **how)
    info = probe_file(path)
    assert (info.status, info.num_frames, info.note) == ("ok", FRAMES, "")
    wanted = [31, 0, 59, 7, 31, 24]
    assert numbers(read_frames(path, wanted, info=info)) == wanted
    small = read_frames(path, uniform_center(FRAMES, 24), info=info, size_px=32)
    assert small.shape == (24, 32, 32, 3)

    by_decord = probe_file(path, backend="decord")
    assert by_decord.status in ("ok", "refused")
    if by_decord.is_readable:
        assert numbers(read_frames(path, wanted, info=by_decord)) == wanted
    else:
        assert "PyAV" in by_decord.error


@pytest.mark.parametrize("b_frames", [0, 3])
@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("shift_s", [-0.8, -0.4, -0.16, 1.0])
def test_what_a_player_shows_counts_not_the_packets(suffix, b_frames, shift_s, folder):
    source = folder / f"source-{b_frames}.mp4"
    if not source.exists():
        write(source, frames=FRAMES, b_frames=b_frames)
    path = folder / f"moved-{b_frames}{shift_s}.{suffix}"
    copy(source, path, shift_s=shift_s, muxer={"avoid_negative_ts": "disabled"})
    hidden = 0 if suffix == "mkv" else max(0, round(-25 * shift_s))  # by an edit list
    info = probe_file(path)
    assert (info.status, info.num_frames) == ("ok", FRAMES - hidden)
    shown = numbers(read_frames(path, range(info.num_frames), info=info))
    assert shown == list(range(hidden, FRAMES))
    if hidden or (suffix == "mkv" and shift_s < 0):
        refused = probe_file(path, backend="decord")
        assert refused.status == "refused"
        assert str(info.num_frames) in refused.error


CUT = {
    "mp4": {"muxer": {"movflags": "faststart"}, "b_frames": 0},
    "mkv": {"b_frames": 3},
    "webm": {"codec": "libvpx-vp9", "options": FAST},
    "flv": {"b_frames": 0},
}


@pytest.mark.parametrize("suffix", CUT)
@pytest.mark.parametrize("share", [0.6, 0.9])
def test_a_file_that_breaks_off_is_partial_in_every_container_that_says_its_length(
    suffix, share, folder
):
    whole, path = folder / f"whole.{suffix}", folder / f"cut-{share}.{suffix}"
    if not whole.exists():
        write(whole, frames=FRAMES, **CUT[suffix])
    cut(whole, path, share)
    info = probe_file(path)
    assert info.status == "partial"
    assert not info.is_whole
    assert 0 < info.num_frames < FRAMES
    assert info.announced == pytest.approx(FRAMES, abs=2)
    assert info.error == f"{info.num_frames} of {info.announced} frames can be decoded"
    shown = numbers(read_frames(path, range(info.num_frames - 2), info=info))
    assert shown == list(range(info.num_frames - 2))


def test_a_hole_in_the_middle_is_partial_and_a_long_pause_is_not(folder):
    path = folder / "hole.webm"
    write(path, frames=FRAMES, codec="libvpx-vp9", options=FAST, size=(128, 96))
    content = bytearray(path.read_bytes())
    start, end = len(content) * 4 // 10, len(content) * 5 // 10
    content[start:end] = bytes(end - start)
    path.write_bytes(content)
    info = probe_file(path)
    assert (info.status, info.announced) == ("partial", FRAMES)
    pause = [40 * i if i < 30 else 4000 + 40 * i for i in range(FRAMES)]
    write(folder / "pause.webm", frames=FRAMES, codec="libvpx-vp9", options=FAST, times_ms=pause)
    assert probe_file(folder / "pause.webm").status == "ok"


def test_sound_that_is_longer_than_the_pictures_makes_no_file_partial(folder):
    path = folder / "sound.mkv"
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("libx264", 25)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        for index in range(25):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), index, np.uint8), "rgb24")
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode(None))
        for index in range(16):
            block = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.int16), "s16", "mono")
            block.sample_rate, block.pts = 8000, 1000 * index
            container.mux(sound.encode(block))
        container.mux(sound.encode(None))
    with av.open(str(path)) as container:
        assert container.duration > 1_900_000
    assert (probe_file(path).status, probe_file(path).num_frames) == ("ok", 25)


PLAIN = {
    f"{width} x {height}, group of {gop}": ((width, height), gop)
    for width, height in ((64, 48), (66, 50), (46, 200), (18, 34), (176, 144), (320, 240))
    for gop in (1, 12, 250)
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_files_give_the_same_bytes_by_both_libraries_and_any_access(name, folder):
    from sweep.data.decoding.by_decord import load_decord

    size, gop = PLAIN[name]
    path = folder / f"plain-{size[0]}-{gop}.mp4"
    write(path, frames=30, gop=gop, b_frames=0, size=size)
    info = probe_file(path)
    assert info.is_plain
    ours = read_frames(path, range(30), info=info)
    theirs = read_frames(path, range(30), info=replace(info, backend="decord"))
    np.testing.assert_array_equal(ours, theirs)
    wanted = [29, 3, 17, 3, 0]
    sought = load_decord().VideoReader(str(path), num_threads=1).get_batch(wanted).asnumpy()
    np.testing.assert_array_equal(ours[wanted], sought)


@pytest.mark.parametrize(
    "how",
    [
        {"b_frames": 2}, {"pixels": "yuv444p"}, {"pixels": "yuv420p10le"}, {"codec": "mpeg4"},
        {"form": "mpegts"}, {"form": "matroska"}, {"options": {"x264-params": "fullrange=on"}},
        {"options": {"x264-params": "colormatrix=bt709"}},
    ],
)  # fmt: skip
def test_files_that_libraries_may_read_differently_are_not_plain(how, folder):
    path = folder / "not-plain.mp4"
    write(path, frames=30, **{"b_frames": 0} | how)
    assert not probe_file(path).is_plain


def turned(source, target, matrix):
    """A copy with another display matrix in its track header."""
    content = bytearray(source.read_bytes())
    start = content.find(b"tkhd")
    at = start + 4 + (36 if content[start + 4] else 24) + 16
    a, b, c, d = (value << 16 for value in matrix)
    rows = (a, b, 0, c, d, 0, 0, 0, 1 << 30)
    content[at : at + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in rows)
    target.write_bytes(content)


#: Matrix -> where the red top and the dark left of the picture go.
TURNS = {
    (1, 0, 0, 1): lambda x: x,
    (0, 1, -1, 0): lambda x: np.rot90(x, 3),
    (-1, 0, 0, -1): lambda x: np.rot90(x, 2),
    (0, -1, 1, 0): lambda x: np.rot90(x, 1),
    (-1, 0, 0, 1): lambda x: x[:, ::-1],
    (1, 0, 0, -1): lambda x: x[::-1],
    (0, 1, 1, 0): lambda x: x.transpose(1, 0, 2),
    (0, -1, -1, 0): lambda x: np.rot90(x, 2).transpose(1, 0, 2),
}


@pytest.mark.parametrize("matrix", TURNS)
def test_the_display_matrix_turns_mirrors_and_transposes(matrix, folder):
    source, path = folder / "upright.mp4", folder / "turned.mp4"
    write(source, frames=3, b_frames=0, first=0b00100101, size=(128, 96))
    turned(source, path, matrix)
    upright = read_frames(source, [0, 2])
    info = probe_file(path)
    shown = read_frames(path, [0, 2], info=info)
    np.testing.assert_array_equal(shown, [TURNS[matrix](frame) for frame in upright])
    assert (info.height, info.width) == shown.shape[1:3]
    is_mirrored = matrix[0] * matrix[3] - matrix[1] * matrix[2] < 0
    assert bool(info.note) == is_mirrored
    by_decord = probe_file(path, backend="decord")
    assert by_decord.status == ("refused" if is_mirrored else "ok")
    if not is_mirrored:
        np.testing.assert_allclose(read_frames(path, [0, 2], info=by_decord), shown, atol=1)


def test_frames_of_another_size_are_resized_to_the_first_and_noted(folder):
    path = folder / "sizes.webm"
    parts = [folder / "small.ivf", folder / "large.ivf"]
    for number, (part, size) in enumerate(zip(parts, ((64, 48), (96, 64)), strict=True)):
        write(
            part, frames=12, codec="libvpx-vp9", options=FAST, size=size, form="ivf",
            first=12 * number,
        )  # fmt: skip
    with av.open(str(path), "w") as new, av.open(str(parts[0])) as old:
        copied = new.add_stream_from_template(old.streams.video[0])
        for number, part in enumerate(parts):
            with av.open(str(part)) as source:
                for packet in source.demux(source.streams.video[0]):
                    if packet.dts is not None:
                        packet.stream = copied
                        packet.pts = packet.dts = packet.pts + 12 * number
                        new.mux(packet)
    info = probe_file(path)
    assert (info.status, info.num_frames, info.height, info.width) == ("ok", 24, 48, 64)
    assert info.note == "12 of 24 frames have another size than 64 x 48"
    assert numbers(read_frames(path, range(24), info=info)) == list(range(24))


@pytest.mark.parametrize(
    "name",
    ["2024-01-01T10:30:00.mp4", "-dash.mp4", "100%d.mp4", "a[1] 'b' \"c\"#.mp4", "é\udce9.mp4"],
)
def test_odd_names_are_names_and_no_protocols(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "plain.mp4", frames=5)
    (tmp_path / "plain.mp4").rename(tmp_path / name)
    info = probe_file(Path(name))
    assert (info.status, info.num_frames) == ("ok", 5)
    assert numbers(read_frames(Path(name), range(5), info=info)) == list(range(5))


def test_a_cover_picture_is_no_video(folder):
    path = folder / "song.mp4"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=44100)
        cover = container.add_stream("mjpeg", 25)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        silence = np.zeros((2, 1024), np.float32)
        for index in range(20):
            block = av.AudioFrame.from_ndarray(silence, format="fltp", layout="stereo")
            block.sample_rate, block.pts = 44100, 1024 * index
            container.mux(sound.encode(block))
        container.mux(sound.encode(None))
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        container.mux(cover.encode(picture.reformat(format="yuvj420p")))
        container.mux(cover.encode(None))
    info = probe_file(path)
    assert (info.status, info.error) == ("corrupt", "only a cover picture")


def test_nothing_is_printed_about_bad_files(folder):
    path = folder / "noise.ts"
    write(path, frames=30)
    content = bytearray(path.read_bytes())
    content[2000:2600] = np.random.default_rng(0).bytes(600)
    path.write_bytes(content)
    code = (
        "from sweep.data.decoding.probe import probe_file; import sys, logging; "
        "probe_file(sys.argv[1]); probe_file(sys.argv[1]); "
        "import av.logging; assert av.logging.get_level() is None"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path],
        cwd=Path(__file__).resolve().parents[2], capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == done.stdout == ""


def test_reading_says_at_every_frame_that_it_goes_on(folder, monkeypatch):
    """However long a file takes, its worker is not silent."""
    sent = []
    path = folder / "beats.mp4"
    write(path, frames=40)
    monkeypatch.setattr(pool, "_BEAT_EVERY_S", 0.0)
    monkeypatch.setattr(pool._here, "say", lambda: sent.append(None))
    assert probe_file(path).num_frames == len(sent) == 40


def test_frames_are_let_go_as_they_come(folder):
    """A long recording must not fill the memory, whatever the collector of garbage is at."""
    path = folder / "let-go.mp4"
    write(path, frames=40, b_frames=0)
    gc.collect()
    gc.disable()
    try:
        info = probe_file(path)
        read_frames(path, range(40), info=info)
        held = sum(type(one) is av.VideoFrame for one in gc.get_objects())
    finally:
        gc.enable()
    assert info.is_readable
    assert held <= 4  # the first one of each pass shows the display matrix

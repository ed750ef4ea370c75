"""The `perturb` verb on a real encoded video: sheets, clips, page, and readable refusals."""

from pathlib import Path

import numpy as np
import pytest

from sweep.commands.contact_sheet import Row, Tile, draw_sheet
from sweep.commands.perturb import run

av = pytest.importorskip("av")
from PIL import Image  # noqa: E402

from tests.data.numbered import write  # noqa: E402

VIDEOS = Path(__file__).resolve().parents[2] / ".." / "shared" / "videos"


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "moving & square.mp4"
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", 10)
        stream.width, stream.height, stream.pix_fmt = 80, 64, "yuv420p"
        for time in range(12):
            frame = np.full((64, 80, 3), 60, np.uint8)
            frame[20:40, 4 * time : 4 * time + 20] = (220, 120, 40)
            target.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        target.mux(stream.encode(None))
    return path


def test_every_perturbation_is_shown(video, tmp_path, capsys):
    out = tmp_path / "new" / "folder"
    code = run(
        video, out, names=None, severities=[1, 5], ladder="small", frames=6, size=32, clips=False
    )
    assert code == 0
    sheets = sorted(path.stem for path in (out / "sheets").glob("*.png"))
    assert {"noise", "blur", "digital", "temporal", "camera"} <= set(sheets)
    for path in (out / "sheets").glob("*.png"):
        with Image.open(path) as sheet:
            assert sheet.width > 600
            assert sheet.height > 200
            assert len(sheet.getcolors(1 << 24)) > 50
    page = (out / "index.html").read_text()
    assert all(f"sheets/{name}.png" in page for name in sheets)
    assert "moving &amp; square.mp4" in page
    printed = capsys.readouterr().out
    assert "6 of 12 frames" in printed
    assert str(out / "index.html") in printed


def test_clips_play_and_the_page_links_them(video, tmp_path):
    names = ["jumbling", "jpeg", "reversal"]
    assert (
        run(video, tmp_path, names=names, severities=[1, 3], ladder="paper", frames=8, size=33) == 0
    )
    clips = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.mp4"))
    assert clips == [
        "clips/clean.mp4",
        "clips/jpeg/severity_1.mp4",
        "clips/jpeg/severity_3.mp4",
        "clips/jumbling/severity_1.mp4",
        "clips/jumbling/severity_3.mp4",
        "clips/reversal/severity_1.mp4",
    ]
    page = (tmp_path / "index.html").read_text()
    for clip in clips:
        assert f'src="{clip}"' in page
        with av.open(str(tmp_path / clip)) as film:
            assert sum(1 for _ in film.decode(video=0)) == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ["jpgg"]}, "did you mean 'jpeg'"),
        ({"ladder": "papr"}, "did you mean 'paper"),
        ({"severities": [0]}, "severities are 1 to 5"),
        ({"frames": 0}, "at least 1 frame"),
    ],
)
def test_mistakes_are_named_without_a_traceback(video, tmp_path, capsys, change, message):
    options = {"names": None, "severities": [1], "ladder": "paper"} | change
    assert run(video, tmp_path, **options) == 2
    assert message in capsys.readouterr().err


def test_what_cannot_be_read_or_written_is_said(video, tmp_path, capsys):
    options = {"names": ["jpeg"], "severities": [1], "ladder": "paper"}
    assert run(tmp_path / "none.mp4", tmp_path / "out", **options) == 2
    text = tmp_path / "text.mp4"
    text.write_text("no video at all")
    assert run(text, tmp_path / "out", **options) == 2
    assert run(video, text, **options) == 2
    printed = capsys.readouterr().err
    assert "missing" in printed
    assert "text.mp4" in printed
    assert "cannot write" in printed
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "name", ["corrupted.mp4", "av1_video.mkv", "h265_10bits.mp4", "video_90.mov"]
)
def test_difficult_files_are_decoded_and_explained(name, tmp_path, capsys):
    path = VIDEOS / name
    if not path.is_file():
        pytest.skip("no such videos here")
    options = {"names": ["static_rotation"], "severities": [3], "ladder": "paper", "clips": False}
    assert run(path, tmp_path, frames=4, size=48, **options) == 0
    printed = capsys.readouterr().out
    if name == "corrupted.mp4":
        assert "28 of 50 frames can be decoded" in printed
    if name == "av1_video.mkv":
        assert "125 frames, 48 px, decoded by pyav" in printed


@pytest.mark.parametrize("name", ["2024-01-01T10:30:00.mp4", "caf\udce9.mp4"])
def test_odd_names_of_files_are_read_and_shown(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "plain.mp4", frames=5)
    (tmp_path / "plain.mp4").rename(tmp_path / name)
    options = {"names": ["static_rotation"], "severities": [3], "ladder": "paper", "clips": False}
    assert run(Path(name), tmp_path / "out", frames=4, size=48, **options) == 0
    assert "4 of 5 frames" in capsys.readouterr().out
    shown = name.replace("\udce9", "\ufffd")
    assert shown in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


def test_a_skipped_cell_says_why():
    frames = np.zeros((3, 32, 32, 3), np.uint8)
    cells = (Tile(frames, ""), Tile(None, "quantiser 5", note="skipped: no encoder here"))
    sheet = draw_sheet("Digital", "x", [Row("mpeg1", "text", cells)], severities=[1])
    red = np.all(np.asarray(sheet) == (176, 58, 30), axis=-1)
    assert red.sum() > 20

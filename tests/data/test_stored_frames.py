"""Stored frames, from a folder of odd files to the cache: are they those that were asked for?

`verify` must say when they are not. Files that others made are in `../shared`, where it exists.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path

import av
import numpy as np
import pytest
from rich.console import Console

from sweep.commands import data as command
from sweep.data.decoding import index as indexing
from sweep.data.decoding.resize import fit
from sweep.data.prepare import index, prepare
from sweep.data.sampling import uniform_center
from sweep.data.verify import verify
from sweep.settings.data import DataSettings
from tests.data.numbered import copy, numbers, write
from tests.data.test_forms import CUT, WHOLE

SHARED = Path(__file__).resolve().parents[3] / "shared"
CASES = SHARED / "cases" / "video"
needs_shared = pytest.mark.skipif(not CASES.is_dir(), reason="no folder of odd videos")


def lists(root, names, label=lambda name: len(name) % 2):
    """SSv2 form by lists: all files in training, the first two in validation as well."""
    rows = [f"{name}::{label(name)}\n" for name in names]
    (root / "train.csv").write_text("".join(rows))
    (root / "validation.csv").write_text("".join(rows[:2]))


def of(root, dataset="ssv2", **changes):
    cache = root.parent / f"{root.name}-cache"
    settings = {"dataset": dataset, "root": str(root), "cache_dir": str(cache)}
    return DataSettings(
        **{"workers": 0, "max_bad_fraction": 0.99, "max_overlap": 1} | settings | changes
    )


def decoded(path):
    """Frames one by one by a plain loop, up to the first error; never all of them in memory."""
    with (
        contextlib.suppress(av.error.FFmpegError),
        av.open(str(path), metadata_errors="ignore") as container,
    ):
        yield from container.decode(container.streams.best("video"))


def independent(path, count, size_px):
    """So many of them, uniform in time, as pictures of the first one's size; upright files only."""
    wanted = uniform_center(sum(1 for _ in decoded(path)), count).tolist()
    pictures, size = {}, {}
    for number, frame in enumerate(decoded(path)):
        size = size or {"height": frame.height, "width": frame.width}
        if number in wanted:
            shown = frame.reformat(**size).to_ndarray(format="rgb24")
            pictures[number] = fit(np.rot90(shown, frame.rotation // 90 % 4)[None], size_px)[0]
    return np.stack([pictures[number] for number in wanted])


def wrong_frames(options, prepared, *, upright=lambda path: True):
    """`set/id: number` of stored frames that differ from the independent ones by 3 grey levels."""
    survey = index(options, is_strict=False)
    wrong = []
    for one, clips in zip(
        survey.stored, (prepared.train, *prepared.evaluation.values()), strict=True
    ):
        for record, stored in zip(one.records, clips.source.array, strict=True):
            if not upright(record.path):
                continue
            true = independent(record.path, len(stored), stored.shape[-1]).astype(int)
            gap = np.abs(stored.transpose(0, 2, 3, 1) - true).mean(axis=(1, 2, 3))
            if (gap > 3).any():
                wrong.append(f"{one.name}/{record.id}: {int((gap > 3).sum())}")
    return wrong


def run(action, options):
    out = StringIO()
    code = command.run(action, options, console=Console(file=out, width=200))
    return code, out.getvalue()


@pytest.fixture(scope="module")
def odd_folder(tmp_path_factory):
    """A folder of forty forms of file, and its frames."""
    root = tmp_path_factory.mktemp("odd") / "videos"
    names = []
    for number, (name, (suffix, how)) in enumerate(WHOLE.items()):
        if how.get("codec", "libx264") in av.codecs_available:
            names.append(f"{number:02}-{name.replace(' ', '-').replace(':', '')}.{suffix}")
            write(root / names[-1], frames=60, **how)
    lists(root, names)
    return root


@pytest.fixture(scope="module")
def stored(odd_folder):
    options = of(odd_folder, workers=1)
    return options, prepare(options)


def test_stored_frames_of_forty_forms_are_those_that_were_asked_for(stored):
    options, prepared = stored
    assert prepared.excluded == ()
    assert len(prepared.train.ids) >= 40
    wanted = uniform_center(60, 24).tolist()
    wrong = [
        name
        for name, clip in zip(prepared.train.ids, prepared.train.source.array, strict=True)
        if numbers(clip.transpose(0, 2, 3, 1)) != wanted
    ]
    assert wrong == []
    assert wrong_frames(options, prepared) == []


def test_verify_asks_the_other_library(stored, monkeypatch):
    monkeypatch.setattr("sweep.data.verify._AT_LEAST", 99)
    options, prepared = stored
    verdict = verify(options, index(options))
    assert verdict.passed
    assert verdict.compared == len(prepared.train.ids) + 2
    assert verdict.agreed + len(verdict.unheard) == verdict.compared
    assert verdict.disputed == ()
    assert verdict.agreed > 30
    assert any("av1: decord cannot read it" in line for line in verdict.unheard)
    code, text = run("verify", options)
    assert code == 0
    assert f"{verdict.agreed} of {verdict.compared} clips show the same frames" in text


def test_verify_finds_a_store_into_which_wrong_frames_were_written(odd_folder, stored, monkeypatch):
    monkeypatch.setattr("sweep.data.verify._AT_LEAST", 99)
    shutil.copytree(stored[0].cache_dir, odd_folder.parent / "wrong")
    options = of(odd_folder, cache_dir=str(odd_folder.parent / "wrong"))
    prepared = prepare(options)
    path = Path(prepared.train.source.array.filename)
    frames = np.lib.format.open_memmap(path, mode="r+")
    row = prepared.train.ids.index(next(i for i in prepared.train.ids if "mov-h264-B" in i))
    frames[row, 5:] = np.array(frames[row, 4:-1])  # shifted by one from there on
    frames.flush()
    verdict = verify(options, index(options))
    assert not verdict.passed
    (line,) = verdict.different
    assert line.startswith(f"train/{prepared.train.ids[row]}: 19 of 24 stored frames have other")
    code, text = run("verify", options)
    assert code == 1
    assert "differs: train/" in text


def test_a_file_of_which_decord_shows_other_frames_is_disputed_and_no_failure(
    odd_folder, monkeypatch
):
    """decord made to be wrong without saying so, as random access on open groups is."""
    from sweep.data.decoding import by_decord

    right = by_decord.frames
    monkeypatch.setattr("sweep.data.verify._AT_LEAST", 99)
    options = of(odd_folder)
    prepare(options)

    def shifted(path, wanted):
        is_asked = "open-groups" in path.name and len(wanted) < 60
        return right(path, [min(i + 2, 59) for i in wanted] if is_asked else wanted)

    monkeypatch.setattr(by_decord, "frames", shifted)
    verdict = verify(options, index(options))
    assert verdict.passed
    assert verdict.disputed
    assert all("open-groups" in line and "decord shows" in line for line in verdict.disputed)
    assert "look at the disputed ones" in run("verify", options)[1]


def test_verify_finds_a_changed_file_of_equal_size_and_time(tmp_path):
    root = tmp_path / "own"
    for number in range(4):
        write(root / f"{number}.mp4", frames=30, b_frames=0)
    lists(root, [f"{number}.mp4" for number in range(4)])
    options = of(root)
    prepare(options)
    path = root / "3.mp4"
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    verdict = verify(options, index(options))
    assert not verdict.passed
    assert verdict.files_changed == ("3.mp4",)
    code, text = run("verify", options)
    assert code == 1
    assert "1 of 4 files changed\n  changed: 3.mp4" in text


def test_verify_finds_a_file_with_other_pictures_under_the_same_name_size_and_time(tmp_path):
    root = tmp_path / "own"
    for number in range(2):
        write(root / f"{number}.mp4", frames=30, b_frames=0, first=20 * number)
    size = max((root / f"{number}.mp4").stat().st_size for number in range(2))
    for number in range(2):  # boxes that hold nothing
        path = root / f"{number}.mp4"
        free = size + 8 - path.stat().st_size
        with path.open("ab") as file:
            file.write(free.to_bytes(4, "big") + b"free" + bytes(free - 8))
    lists(root, ["0.mp4", "1.mp4"])
    options = of(root)
    prepare(options)
    before = (root / "1.mp4").stat()
    (root / "1.mp4").write_bytes((root / "0.mp4").read_bytes())
    os.utime(root / "1.mp4", ns=(before.st_atime_ns, before.st_mtime_ns))
    verdict = verify(options, index(options))
    assert verdict.files_changed == ("1.mp4",)
    assert len(verdict.different) == 2
    assert all("/1: decodes to other pictures" in line for line in verdict.different)


def test_a_clip_that_can_no_longer_be_stored_is_named_in_one_line(tmp_path, monkeypatch):
    from sweep.data.decoding import by_pyav

    root = tmp_path / "own"
    for number in range(2):
        write(root / f"{number}.mp4", frames=12)
    lists(root, ["0.mp4", "1.mp4"])
    options = of(root)
    index(options)

    def gone(path, wanted):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(by_pyav, "frames", gone)
    with pytest.raises(ValueError, match=r"0\.mp4 could be decoded when .* Input/output error"):
        prepare(options)


def test_decord_as_backend_refuses_what_it_reads_wrongly_and_names_both_counts(tmp_path):
    root = tmp_path / "own"
    write(root / "whole.mp4", frames=60)
    copy(
        root / "whole.mp4", root / "trim.mp4", shift_s=-0.4,
        muxer={"avoid_negative_ts": "disabled"},
    )  # fmt: skip
    write(root / "other.mp4", frames=60, codec="mpeg4", b_frames=2)
    lists(root, ["whole.mp4", "other.mp4", "trim.mp4"])
    options = of(root, backend="decord")
    prepared = prepare(options)
    assert prepared.train.ids == ("whole", "other")
    (row,) = prepared.excluded
    assert row["reason"] == "refused: decord counts 52 frames, PyAV 50"
    assert prepared.counts["train"]["n_refused"] == 1
    assert wrong_frames(options, prepared) == []
    assert verify(options, index(options, is_strict=False)).agreed == 4
    code, text = run("index", options.model_copy(update={"max_bad_fraction": 0.02}))
    assert code == 1
    assert "refused" in text
    assert prepare(options.model_copy(update={"backend": "auto"})).excluded == ()


def test_the_access_setting_of_older_studies_is_read_and_changes_no_frame(tmp_path):
    root = tmp_path / "own"
    for name in ("a", "b"):
        write(root / f"{name}.mp4", frames=40, codec="mpeg4", b_frames=2)
    lists(root, ["a.mp4", "b.mp4"])
    prepared = [prepare(of(root, access=access)) for access in ("auto", "seek", "sequential")]
    for other in prepared[1:]:
        np.testing.assert_array_equal(other.train.source.array, prepared[0].train.source.array)
    assert len({one.fingerprint for one in prepared}) == 1, "nothing depends on it"


def test_files_of_any_extension_are_found_at_their_place(tmp_path):
    root = tmp_path / "own"
    suffixes = ("m4v mpg mpeg ts mts m2ts wmv flv 3gp 3g2 ogv MP4 dat").split()  # noqa: SIM905
    made = {"wmv": {"codec": "wmv2"}, "3gp": {"codec": "mpeg4"}, "3g2": {"codec": "mpeg4"}}
    for suffix in suffixes:
        form = {"ogv": "matroska", "dat": "mpegts", "MP4": "mp4"}.get(suffix)
        write(root / f"clip-{suffix}.{suffix}", frames=12, form=form, **made.get(suffix, {}))
    write(root / "no-suffix", frames=12, form="mp4")
    lists(root, [*(f"clip-{suffix}.{suffix}" for suffix in suffixes), "no-suffix"])
    prepared = prepare(of(root))
    assert prepared.excluded == ()
    assert prepared.counts["train"]["n_used"] == 14
    assert prepared.train.ids[0] == "clip-m4v"


def test_what_the_index_shows_of_odd_files(tmp_path):
    root = tmp_path / "own"
    write(root / "a.mp4", frames=40)
    write(root / "b.mkv", frames=40)
    whole = (root / "b.mkv").read_bytes()
    (root / "b.mkv").write_bytes(whole[: int(0.7 * len(whole))])
    write(root / "c.flv", frames=40, **CUT["flv"])
    lists(root, ["a.mp4", "c.flv", "b.mkv"])
    code, text = run("index", of(root))
    assert code == 0
    assert "partial: " in text
    assert " of 40 frames can be decoded" in text
    assert "fallback" not in text


# ------------------------------------------------------------------- files that others have made


def make_case(number, tmp_path):
    (script,) = CASES.glob(f"{number}-*/make.py")
    root = tmp_path / "input"
    subprocess.run([sys.executable, script, root], check=True, capture_output=True)
    return root


#: Case -> data set, frames of each clip where the header says otherwise, what is left out.
EXPECTED = {
    "01": ("ssv2", {}, {}),
    "02": ("ssv2", dict.fromkeys("abcde", 60), {}),
    "03": ("ssv2", {"trim10": 50, "phone": 50, "trim4": 56, "whole": 60}, {}),
    "04": ("ssv2", {"a": 17, "b": 30, "trim20": 40, "c": 30}, {}),
    "06": (
        "ssv2",
        {"4": 60, "5": 60},
        {
            "1": "partial: 15 of 60 frames can be decoded",
            "2": "partial: 16 of 60 frames can be decoded",
            "3": "partial: 34 of 60 frames can be decoded",
        },
    ),
    "08": ("ssv2", {"1": 30}, {}),
    "15": ("ucf101", {}, {}),
    "16": ("ssv2", {"b": 12, "c": 12}, {"song": "corrupt: only a cover picture"}),
    "22": ("ssv2", {}, {}),
    "23": ("ucf101", {}, {}),
    "26": ("ucf101", {"a": 41}, {}),
}


@needs_shared
@pytest.mark.parametrize("number", EXPECTED)
def test_cases(number, tmp_path):
    dataset, counts, left_out = EXPECTED[number]
    root = make_case(number, tmp_path)
    options = of(root, dataset)
    if number == "06":
        with pytest.raises(ValueError, match="too many unusable"):
            prepare(options.model_copy(update={"max_bad_fraction": 0.02}))
        (root / "something-something-v2-validation.json").write_text(
            (root / "something-something-v2-train.json").read_text()
        )
        rows = json.loads((root / "something-something-v2-train.json").read_text())
        for name in ("train", "validation"):
            more = [{**rows[0], "id": key} for key in ("4", "5")]
            (root / f"something-something-v2-{name}.json").write_text(json.dumps(rows + more))
    prepared = prepare(options)
    assert {row["id"]: row["reason"] for row in prepared.excluded} == left_out
    survey = index(options, is_strict=False)
    found = {
        Path(record.id).name: info.num_frames
        for one in survey.stored
        for record, info in zip(one.records, one.files, strict=True)
    }
    for name, count in counts.items():
        assert found[name] == count
    assert wrong_frames(options, prepared) == []
    verdict = verify(options, survey)
    assert verdict.passed
    assert verdict.disputed == ()


@needs_shared
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_case_09_a_long_recording_is_looked_at_stored_and_verified(tmp_path, monkeypatch):
    """9,000 frames in 2 MiB take minutes: longer than any silence that is allowed."""
    monkeypatch.setattr(indexing, "SILENCE_S", 10.0)
    root = make_case("09", tmp_path)
    options = of(root, "ssv2", workers=1)
    prepared = prepare(options)
    assert prepared.excluded == ()
    survey = index(options, is_strict=False)
    assert max(info.num_frames for one in survey.stored for info in one.files) == 9000
    assert wrong_frames(options, prepared) == []
    assert verify(options, survey).passed


@needs_shared
def test_case_17_mirrored_pictures(tmp_path):
    from sweep.data.decoding.decode import read_clip

    root = make_case("17", tmp_path)

    def quadrants(name):
        clip, about = read_clip(root / f"{name}.mp4", frames=1, size_px=64)
        assert about["status"] == "ok"
        return np.stack([clip[0, y, x].astype(int) for y in (16, 48) for x in (16, 48)])

    plain = quadrants("plain")
    for name, order in {
        "turn90": (2, 0, 3, 1), "turn180": (3, 2, 1, 0), "turn270": (1, 3, 0, 2),
        "mirror_left_right": (1, 0, 3, 2), "mirror_up_down": (2, 3, 0, 1),
        "transposed": (0, 2, 1, 3),
    }.items():  # fmt: skip
        np.testing.assert_allclose(quadrants(name), plain[list(order)], atol=6, err_msg=name)


@needs_shared
def test_original_and_odd_videos_have_right_frames(tmp_path):
    root = tmp_path / "own"
    root.mkdir()
    names = []
    for path in sorted((SHARED / "videos").rglob("*")):
        is_video = path.suffix.lower() not in (".txt", ".csv", ".md") and path.is_file()
        if is_video and path.stat().st_size < 3e7:
            names.append(f"{len(names):02}_{path.name}")
            shutil.copy(path, root / names[-1])
    lists(root, names)
    options = of(root, workers=2)
    prepared = prepare(options)
    reasons = {row["id"][3:]: row["reason"] for row in prepared.excluded}
    assert reasons == {
        "corrupted": "partial: 28 of 50 frames can be decoded",
        "no-initial-keyframe": "partial: 15 of 79 frames can be decoded",
    }
    assert wrong_frames(options, prepared) == []
    survey = index(options, is_strict=False)
    counts = {
        record.id[3:].partition("_")[0]: info.num_frames
        for record, info in zip(survey.stored[0].records, survey.stored[0].files, strict=True)
    }
    assert (counts["RATRACE"], counts["SchoolRulesHowTheyHelpUs"]) == (72, 74)
    verdict = verify(options, survey)
    assert verdict.passed
    assert verdict.disputed == ()

"""Example frames of a sweep: the pixels that were tested, small, and never a reason to fail."""

import io
import json
import logging
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from sweep.commands import examples
from sweep.commands.examples import keep_examples, strips
from sweep.data.prepare import prepare, stored
from sweep.evaluation.bench import TestBench as Bench
from sweep.evaluation.conditions import TestPlan as Plan
from sweep.records.condition import Condition
from sweep.records.examples import has_examples, read_examples
from sweep.report.evidence import collect
from sweep.report.page import Gallery
from sweep.report.sections.examples import example_section
from sweep.studies.load import dump_study


@pytest.fixture(scope="module")
def study(small):
    return small(
        "evaluate.conditions={gaussian_noise: [1, 3], jumbling: [5], jpeg: [3]}",
        "outcomes={clean: [clean], noise: ['gaussian_noise/*']}",
        "primary_outcome=null",
    )


@pytest.fixture(scope="module")
def prepared(study):
    return prepare(study.data)


def folder_of(study, fingerprint, target):
    target.mkdir(exist_ok=True)
    (target / "sweep.yaml").write_text(dump_study(study))
    plan = {"cells": [], "data": {"fingerprint": fingerprint}}
    (target / "plan.json").write_text(json.dumps(plan))
    return target


@pytest.fixture(scope="module")
def kept(study, prepared, tmp_path_factory):
    sweep = folder_of(study, prepared.fingerprint, tmp_path_factory.mktemp("kept"))
    keep_examples(sweep)
    return sweep


def test_clean_clips_come_first_then_shifts_then_each_perturbation_at_its_strongest(kept):
    rows = [example for example, _ in read_examples(kept)]
    assert [row.condition for row in rows] == [
        *["clean"] * 4, "appearance", "viewpoint", "dynamics",
        "gaussian_noise/3", "jpeg/3", "jumbling/5", "reversal/1", "frame_shuffle/1",
    ]  # fmt: skip
    assert len({row.label for row in rows[:4]}) == 4
    assert {row.label for row in rows[4:]} == {rows[0].label}
    assert {row.clip for row in rows[7:]} == {rows[0].clip}


def test_the_frames_are_those_that_were_tested(study, prepared):
    shifts = [name for name in prepared.evaluation if name != "clean"]
    plan = Plan.of(study.evaluate, shifts, {"video"}, len(prepared.evaluation["clean"].ids))
    bench = Bench(prepared, plan, frames=8)
    for example, frames in strips(study, prepared):
        condition = Condition.parse(example.condition)
        row = prepared.evaluation[condition.clips].ids.index(example.clip)
        tested = bench.clips(condition).frames[row][list(example.frames)]
        np.testing.assert_array_equal(frames, tested.transpose(0, 2, 3, 1))
        if example.shown:
            index = bench.shown(condition)[row][list(example.frames)]
            assert example.shown == tuple(index)


def test_pictures_are_small_and_look_like_the_frames(study, prepared, kept):
    pictures = read_examples(kept)
    assert sum(len(content) for _, content in pictures) <= examples.MOST_BYTES
    for (_, frames), (example, content) in zip(strips(study, prepared), pictures, strict=True):
        image = Image.open(io.BytesIO(content))
        assert image.format == "WEBP"
        assert image.size == (4 * 64 + 3 * 2, 64)
        shown = np.asarray(image.convert("RGB"), dtype=float)[:, :64]
        error = np.sqrt(np.mean((shown - frames[0]) ** 2))
        assert error < 30, example.condition  # noise does not survive compression whole


def test_where_they_do_not_fit_the_quality_falls(study, prepared, tmp_path, monkeypatch):
    asked = []

    def heavy(frames, quality):
        asked.append(quality)
        return b"x" * (quality * 500)

    monkeypatch.setattr(examples, "_picture", heavy)
    keep_examples(folder_of(study, prepared.fingerprint, tmp_path))
    assert sorted(set(asked), reverse=True) == [80, 60, 40, 20]
    monkeypatch.setattr(examples, "MOST_BYTES", 10**9)
    asked.clear()
    keep_examples(folder_of(study, prepared.fingerprint, tmp_path / "roomy"))
    assert set(asked) == {80}


def test_without_the_very_clips_nothing_is_kept_and_nothing_is_made(
    study, tmp_path, monkeypatch, caplog
):
    caplog.set_level(logging.WARNING)
    other = folder_of(study, "0" * 16, tmp_path / "other data")
    keep_examples(other)
    monkeypatch.setenv("AUXSWEEP_CACHE", str(tmp_path / "empty"))
    assert stored(study.data) is None
    moved = folder_of(study, "0" * 16, tmp_path / "moved")
    keep_examples(moved)
    assert not has_examples(other)
    assert not has_examples(moved)
    assert not (tmp_path / "empty").exists()
    assert not caplog.records


def test_a_failure_is_told_and_is_none_of_the_report(
    study, prepared, tmp_path, monkeypatch, caplog
):
    def broken(*_):
        raise RuntimeError("no such codec")

    monkeypatch.setattr(examples, "strips", broken)
    keep_examples(folder_of(study, prepared.fingerprint, tmp_path))
    assert "no example frames: RuntimeError: no such codec" in caplog.text
    assert not has_examples(tmp_path)


def test_data_that_lie_ready_are_the_data_that_are_prepared(study, prepared):
    found = stored(study.data)
    assert found.fingerprint == prepared.fingerprint
    assert list(found.evaluation) == list(prepared.evaluation)


# ------------------------------------------------------------------------------------ the page


def test_the_section_reads_a_copied_folder(kept, tmp_path):
    sweep = tmp_path / "copy"
    shutil.copytree(kept, sweep)
    section = example_section(collect(sweep))
    (gallery,) = [block for block in section.blocks if isinstance(block, Gallery)]
    first, noise = gallery.strips[0], gallery.strips[7]
    assert first.title == "clean"
    assert first.caption
    assert noise.title == "gaussian noise, severity 3"
    assert "std" in noise.caption
    jumbled = gallery.strips[9].caption
    assert re.search(r"shows frames [\d, ]+ of 24", jumbled)
    for strip in gallery.strips:
        assert (sweep / "report" / strip.path).resolve().is_file()
        assert strip.address.startswith("data:image/webp;base64,")


@pytest.mark.parametrize("damage", ["{", '{"examples": 3}', '{"examples": [{"file": "x"}, 7]}'])
def test_a_damaged_list_shows_nothing(kept, tmp_path, damage):
    sweep = tmp_path / "copy"
    shutil.copytree(kept, sweep)
    (sweep / "examples" / "index.json").write_text(damage)
    assert example_section(collect(sweep)) is None


def test_a_list_names_no_file_outside_its_folder(kept, tmp_path):
    sweep = tmp_path / "copy"
    shutil.copytree(kept, sweep)
    index = sweep / "examples" / "index.json"
    content = json.loads(index.read_text())
    content["examples"][0]["file"] = "../sweep.yaml"
    index.write_text(json.dumps(content))
    assert len(read_examples(sweep)) == len(content["examples"]) - 1

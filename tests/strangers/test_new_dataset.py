"""A new data set is one file and one row: written while the program runs, then swept for real."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sweep.commands.reporting import reported
from sweep.data.catalogue import DATASETS
from sweep.data.motes.make import encode
from sweep.engine.run import run_study
from sweep.records.files import read_records
from sweep.settings.section import ConfigError
from sweep.studies.load import load_study

FILE = '''
"""A folder per split and class, and a text file that says which of two cameras to use."""

from sweep.data.label_maps import LabelMap
from sweep.data.readers.annotation import VideoFolder, require
from sweep.data.records import Record


def splits(root, options):
    camera = require(root, [options["camera"]], "camera")
    return {name: camera / f"{name}.txt" for name in ("train", "test", "night")}


def read(root, split, options):
    path = splits(root, options)[split]
    videos = VideoFolder(root / "videos")
    names = ("falls", "rises")
    records = []
    for line in path.read_text().split():
        name = line.split("/")[0]
        records.append(Record(line, videos.find(line), names.index(name), group=line))
    return records, LabelMap.of(names)
'''
STUDY = """
name: new-dataset
title: Does a data set of one file run?
question: Does it?
design: {kind: loo}
losses: {consistency: {}}
seeds: 1
data: {dataset: lifts, root: ROOT, size_px: 64, cache_frames: 8, workers: 1}
train: {steps: 4, batch: 4, warmup: 0, log_every: 1}
evaluate: {profile: null, conditions: {gaussian_noise: [3]}, temporal_checks: false}
outcomes: {clean: [clean]}
track: {wandb: disabled}
"""


def clips(root):
    """A square that falls or rises, by the sun and by night, filmed by two cameras."""
    rng = np.random.default_rng(4)
    lists = {}
    for split, count in (("train", 4), ("test", 2), ("night", 2)):
        for name, way in (("falls", 1), ("rises", -1)):
            for number in range(count):
                frames = np.full((8, 64, 64, 3), 60 if split == "night" else 160, np.uint8)
                left = rng.integers(0, 40)
                for time, frame in enumerate(frames[::way]):
                    frame[6 * time : 6 * time + 16, left : left + 16] = 255
                path = root / "videos" / name / f"{split}-{number}.mp4"
                path.parent.mkdir(parents=True, exist_ok=True)
                encode(frames, path)
                lists.setdefault(split, []).append(f"{name}/{split}-{number}.mp4")
    for camera, every in (("front", 1), ("side", 2)):
        (root / camera).mkdir()
        for split, names in lists.items():
            (root / camera / f"{split}.txt").write_text("\n".join(names[::every]))


@pytest.fixture
def new_dataset(tmp_path, write, add_row):
    """A study on a data set of one file, one row and a folder of real videos."""
    clips(tmp_path / "lifts")
    write("lifts_reader", FILE)
    row = dataclasses.replace(
        DATASETS["ucf101"],
        name="lifts",
        reader="lifts_reader",
        classes=2,
        clean="test",
        options={"camera": "front"},
        shifts=("night",),
    )
    add_row("DATASETS", DATASETS, row)
    study = tmp_path / "study.yaml"
    study.write_text(STUDY.replace("ROOT", str(tmp_path / "lifts")))
    return str(study)


def test_a_data_set_of_one_file_and_one_row_is_swept(new_dataset, tmp_path, undrawn):
    out = tmp_path / "sweep"
    overrides = ["data.validation_share=.25", "train.validate_every=2"]
    study = load_study(new_dataset, overrides=overrides)
    summary = reported(run_study(study, out=out, engine="local"))
    assert (summary.code, summary.done, summary.failed) == (0, 2, 0)
    for record in read_records(out):
        assert [s.condition for s in record.scores] == ["clean", "night", "gaussian_noise/3"]
        assert {s.clips for s in record.scores} == {4}
        used = {name: count["n_used"] for name, count in record.data["counts"].items()}
        assert used == {"train": 6, "validation": 2, "clean": 4, "night": 4}
    assert "lifts" in (out / "report" / "report.md").read_text()


def test_its_options_are_known_and_change_what_is_read(new_dataset):
    from sweep.data.survey import read_sets

    front = read_sets(load_study(new_dataset).data)
    side = read_sets(load_study(new_dataset, overrides=["data.options.camera=side"]).data)
    assert {n: len(r) for n, r in front.records.items()} == {"train": 8, "clean": 4, "night": 4}
    assert {n: len(r) for n, r in side.records.items()} == {"train": 4, "clean": 2, "night": 2}
    with pytest.raises(ConfigError, match=r"no option 'camra'; did you mean 'camera'"):
        load_study(new_dataset, overrides=["data.options.camra=side"])

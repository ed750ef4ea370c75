"""Readers of captions and questions on annotation files that are really in circulation.

Counts are those of the files (some are cut, see their PROVENANCE.md); a side that the files lack is
written here.
"""

import json
import shutil
from pathlib import Path

import pytest

from sweep.data.catalogue import find
from sweep.data.readers import (
    activitynet,
    crosstask,
    didemo,
    howto100m,
    msrvtt,
    msrvtt_full,
    msvd,
    tgifqa,
    tgifqa_count,
    tgifqa_frameqa,
    youcook2,
)
from tests.data.caption_forms import table, write

REAL = Path(__file__).resolve().parents[3] / "shared" / "annotations"
pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason="no real annotation files here")


@pytest.fixture
def real(tmp_path):
    """A function that gives a writable folder with the real files of a data set."""

    def copy(name, *files):
        for path in sorted((REAL / name).iterdir()):
            if not files or path.name in files:
                shutil.copyfile(path, tmp_path / path.name)
        return tmp_path

    return copy


def captions_for(root, *lists):
    """A file of captions that names every video of the lists twice."""
    names = dict.fromkeys(name for path in lists for name in (root / path).read_text().split()[1:])
    rows = [{"video_id": name, "caption": f"{name} {i}"} for name in names for i in (0, 1)]
    write(root / "MSRVTT_data.json", {"sentences": rows})


def test_msrvtt(real):
    root = real("msrvtt")
    captions_for(root, "MSRVTT_train.9k.csv", "MSRVTT_train.7k.csv", "MSRVTT_test.full.csv")
    test = msrvtt.read(root, "test", {})[0]
    assert len(test) == 1000
    assert len({r.captions[0] for r in test}) == 995
    (root / "MSRVTT_JSFUSION_test.csv").unlink()
    assert msrvtt.read(root, "test", {})[0] == test, "the file of VT-TWINS is the same"
    trained = {size: msrvtt.read(root, "train", {"split": size})[0] for size in ("9k", "7k")}
    assert {size: len(rows) for size, rows in trained.items()} == {"9k": 9000, "7k": 7010}
    tested = {r.id for r in test}
    assert all(not tested & {r.id for r in rows} for rows in trained.values())


def test_msrvtt_full(real):
    root = real("msrvtt")
    captions_for(root, *(f"MSRVTT_{side}.full.csv" for side in ("train", "val", "test")))
    found = {side: msrvtt_full.read(root, side, {})[0] for side in ("train", "val", "test")}
    assert {s: len(rows) for s, rows in found.items()} == {"train": 6513, "val": 497, "test": 2990}


def test_msvd(real):
    root = real("msvd")
    content = json.loads((root / "captions_msvd.json").read_text())
    sides = {"train": (1200, 40), "val": (100, 10), "test": (670, 20)}
    with pytest.raises(
        ValueError, match=r"captions_msvd\.json: no caption of 1160 videos of train"
    ):
        msvd.read(root, "train", {})
    lists = {side: (root / f"{side}_list.txt").read_text().split() for side in sides}
    assert {side: len(names) for side, names in lists.items()} == {
        side: size for side, (size, _) in sides.items()
    }
    for side, names in lists.items():
        other = (root / f"clip2video_{side}_list.txt").read_text()
        assert other.split() == names
        write(root / f"{side}_list.txt", "\n".join(name for name in names if name in content))
        records = msvd.read(root, side, {})[0]
        assert len(records) == sides[side][1]
        assert all(r.captions == tuple(one.strip() for one in content[r.id]) for r in records)
    counts = [len(told) for told in content.values()]
    assert (sum(counts), min(counts) >= 18, max(counts) <= 81) == (2904, True, True)


def test_didemo(real):
    root = real("didemo")
    write(root / "train_data.json", [{"video": "a_1.mov", "description": "x"}])
    for side, videos, names in (("val", 47, 51), ("test", 43, 47)):
        rows = json.loads((root / f"{side}_data.json").read_text())
        assert len({row["video"] for row in rows}) == names
        records = didemo.read(root, side, {})[0]
        assert len(records) == videos
        words = sorted(w for row in rows for w in row["description"].split())
        assert sorted(w for r in records for w in " ".join(r.captions).split()) == words
        assert all(r.captions[0] == r.captions[0].strip() for r in records)
        assert all("\n" not in r.captions[0] for r in records)


@pytest.mark.parametrize(("val", "count"), [(1, 91), (2, 116)])
def test_activitynet(real, val, count):
    root = real("activitynet")
    train = activitynet.read(root, "train", {})[0]
    assert len(train) == 99, "15 ids have no captions"
    test = activitynet.read(root, "test", {"val": val})[0]
    wanted = set(json.loads((root / "val_ids.json").read_text()))
    content = json.loads((root / f"val_{val}.json").read_text())
    assert [r.id for r in test] == [name for name in content if name in wanted]
    (root / "val_ids.json").unlink()
    everything = activitynet.read(root, "test", {"val": val})[0]
    assert len(everything) == count
    for record in train + everything:
        assert all(start <= end for start, end in record.meta["segments"])
        assert all(one == one.strip() for one in record.meta["sentences"])
        assert record.captions == (" ".join(record.meta["sentences"]),)
    odd = {name for name, item in json.loads((root / "train.json").read_text()).items()
           if any(start > end for start, end in item["timestamps"])}  # fmt: skip
    assert len(odd) == 2


def test_youcook2(real):
    root = real("youcook2")
    train = youcook2.read(root, "train", {})[0]
    test = youcook2.read(root, "test", {})[0]
    assert len({r.group for r in train}) == 27
    assert (len(test), len({r.group for r in test})) == (3350, 436)
    assert len({r.meta["task"] for r in test}) == 89
    assert sum(r.id.startswith("-") for r in test) == 59
    (root / "validation_youcook.csv").unlink()
    official = youcook2.read(root, "test", {})[0]
    assert len({r.group for r in official}) == 27
    assert len(official) + len(train) == 423
    told = {(r.group, r.start, r.end): r.captions for r in test}
    both = [r for r in official if (r.group, r.start, r.end) in told]
    assert len(both) > 150
    assert all(r.captions == told[r.group, r.start, r.end] for r in both)


def test_crosstask(real):
    root = real("crosstask")
    head = ("end", "start", "task_id", "text", "video_id")
    write(root / "train_crosstask.csv", table(head, (2, 1, 7, "cut", "a")))
    write(root / "train.csv", table(("video_path",), ("a.mp4",)))
    write(root / "captions" / "a.json", {"start": [0], "end": [1], "text": ["hello"]})
    test = crosstask.read(root, "test", {})[0]
    assert (len(test), len({r.group for r in test})) == (2640, 331)
    assert len({r.meta["task"] for r in test}) == 18
    assert (test[0].start, test[0].end, test[0].captions) == (53.72, 56.12, ("add ham",))
    assert howto100m.read(root, "test", {})[0] == test


def test_tgifqa(real):
    root = real("tgifqa")
    for side, task, count in (("train", "action", 120), ("test", "action", 120),
                              ("test", "transition", 122)):  # fmt: skip
        for name in ("Train_transition_question.csv", "Train_frameqa_question.csv"):
            shutil.copyfile(root / name.replace("Train", "Test"), root / name)
        records = tgifqa.read(root, side, {"task": task})[0]
        assert len({r.id for r in records}) == len(records) == count
        assert all(len(r.meta["options"]) == 5 for r in records)
        assert all(0 <= r.meta["answer"] < 5 for r in records)
    quoted = [one for r in records for one in r.meta["options"] if '"' in one]
    assert 'respond "no"' in quoted
    test = tgifqa_frameqa.read(root, "test", {})[0]
    assert (len(test), len({r.group for r in test})) == (120, 119)
    assert min(r.meta["answer_id"] for r in test) == 0
    for side in ("train", "test"):
        counts = [r.meta["count"] for r in tgifqa_count.read(root, side, {})[0]]
        assert len(counts) == 120
        assert 2 <= min(counts) <= max(counts) <= 10


def test_every_reader_of_captions_or_questions_is_tested_here_or_has_no_real_file():
    """So that a file that turns up later is not forgotten."""
    without = {"lsmdc", "howto100m", "msvdqa", "mosi"}
    assert not any((REAL / name).exists() for name in without)
    for name in ("msrvtt", "msvd", "didemo", "activitynet", "youcook2", "crosstask", "tgifqa"):
        assert (REAL / name).is_dir()
        assert not find(name).embedded

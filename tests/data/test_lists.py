"""Annotation files as people have them: what is read, and what is refused and how."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sweep.data.readers import hmdb51, msrvtt, ssv2, ucf101
from sweep.data.readers.annotation import VideoFolder

CASES = Path(__file__).resolve().parents[3].joinpath("shared", "cases", "video")
CLASSES = ["Pushing something left", "Pushing something right"]


def put(path, content, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    path.write_bytes(text.encode(encoding))


def ucf_folder(root, train, test, **how):
    classes = sorted({name.split("/")[0] for name in train})
    lists = root / "ucfTrainTestlist"
    put(lists / "classInd.txt", "".join(f"{i} {c}\n" for i, c in enumerate(classes, 1)), **how)
    numbered = (f"{name} {classes.index(name.split('/')[0]) + 1}\n" for name in train)
    put(lists / "trainlist01.txt", "".join(numbered), **how)
    put(lists / "testlist01.txt", "".join(f"{name}\n" for name in test), **how)
    for name in (*train, *test):
        put(root / "UCF-101" / name, "")
    return lists


def ssv2_folder(root):
    put(root / "labels.json", {name: str(i) for i, name in enumerate(CLASSES)})
    row = {"label": "a cup", "placeholders": ["cup"]}
    put(root / "train.json", [{"id": str(i), "template": c, **row} for i, c in enumerate(CLASSES)])
    put(root / "validation.json", [{"id": "9", "template": CLASSES[0], **row}])


def msrvtt_folder(root):
    said = [{"video_id": f"video{i}", "caption": f"clip {i}"} for i in range(3)]
    put(root / "MSRVTT_data.json", {"sentences": said})
    put(root / "MSRVTT_train.9k.csv", "video_id\nvideo0\nvideo1\n")
    put(root / "MSRVTT_JSFUSION_test.csv", "key,video_id,sentence\nret0,video2,a dog\n")


# ----------------------------------------------------------------------------------- equal stems


def test_equal_stems_in_two_folders_are_two_clips(tmp_path):
    ucf_folder(
        tmp_path,
        ["Run/001.avi", "Walk/001.avi", "Run/v_Run_g01_c01.avi"],
        ["Run/003.avi", "Walk/003.avi"],
    )
    train, _ = ucf101.read(tmp_path, "train", {})
    assert [r.id for r in train] == ["Run/001", "Walk/001", "v_Run_g01_c01"]
    assert [r.path.parent.name for r in train] == ["Run", "Walk", "Run"]
    assert len({r.group for r in train}) == 3
    assert [r.id for r in ucf101.read(tmp_path, "validation", {})[0]] == ["Run/003", "Walk/003"]


def test_one_id_never_means_a_clip_of_each_side(tmp_path):
    ucf_folder(tmp_path, ["Run/1.avi", "Walk/2.avi"], ["Walk/1.avi", "Run/2.avi"])
    sides = [{r.id for r in ucf101.read(tmp_path, s, {})[0]} for s in ("train", "validation")]
    assert sides == [{"Run/1", "Walk/2"}, {"Walk/1", "Run/2"}]


def test_equal_stems_of_two_classes_of_hmdb51_are_two_clips(tmp_path):
    for name in ("run", "walk"):
        put(tmp_path / f"{name}_test_split1.txt", f"001.avi 1 \n{name}.avi 1 \n002.avi 2 \n")
        for file in ("001.avi", "002.avi"):
            put(tmp_path / name / file, "")
    train, _ = hmdb51.read(tmp_path, "train", {})
    assert [r.id for r in train] == ["run/001", "run", "walk/001", "walk"]
    assert [r.label for r in train] == [0, 0, 1, 1]


# ------------------------------------------------------------------------------------ letter case


def test_case_is_ignored_where_one_candidate_remains(tmp_path):
    put(tmp_path / "HandstandPushups" / "v_HandStandPushups_g01_c01.avi", "")
    videos = VideoFolder(tmp_path)
    assert videos.find("HandStandPushups/v_HandstandPushups_g01_c01.avi") is not None
    put(tmp_path / "aBcD.mp4", "")
    put(tmp_path / "AbCd.mp4", "")
    assert VideoFolder(tmp_path).find("aBcD").name == "aBcD.mp4"
    assert VideoFolder(tmp_path).find("ABCD") is None  # two candidates


def test_an_exact_name_elsewhere_wins_over_a_similar_one(tmp_path):
    put(tmp_path / "a" / "AbCd.mp4", "")
    put(tmp_path / "b" / "aBcD.mp4", "")
    assert VideoFolder(tmp_path / "a", tmp_path / "b").find("aBcD").parent.name == "b"


# ------------------------------------------------------------------------------ columns, encodings


@pytest.mark.parametrize("line", ["frames/1 120 0", "frames/1\t120\t0", "frames/1::120::0"])
def test_a_frame_list_is_refused_by_name(tmp_path, line):
    put(tmp_path / "train.txt", f"\n1.mp4 0\n{line}\n")
    put(tmp_path / "val.txt", "1.mp4 0\n")
    with pytest.raises(ValueError, match=r"train\.txt:3: three columns: is this a frame list\?"):
        ssv2.read(tmp_path, "train", {})


def test_a_frame_list_is_refused_by_name_in_other_forms(tmp_path):
    lists = ucf_folder(tmp_path, ["Run/1.avi", "Walk/2.avi"], ["Run/3.avi"])
    put(lists / "trainlist01.txt", "Run/1 30 1\nWalk/2 30 2\n")
    with pytest.raises(ValueError, match=r"trainlist01\.txt:1: three columns: is this a frame"):
        ucf101.read(tmp_path, "train", {})
    put(tmp_path / "h" / "run_test_split1.txt", "001 30 1\n")
    with pytest.raises(ValueError, match=r"run_test_split1\.txt:1: three columns"):
        hmdb51.read(tmp_path / "h", "train", {})


@pytest.mark.parametrize(("encoding", "end"), [("utf-8", "\n"), ("utf-8-sig", "\r\n")])
def test_marks_and_ends_of_lines_do_not_matter(tmp_path, encoding, end):
    put(tmp_path / "train.txt", end.join(("é.mp4 0", "b.mp4 1", "")), encoding)
    put(tmp_path / "val.txt", "1.mp4 0\n")
    assert [r.id for r in ssv2.read(tmp_path, "train", {})[0]] == ["é", "b"]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_another_encoding_is_named_by_line_and_can_be_told(tmp_path, encoding):
    lists = ucf_folder(tmp_path, ["Run/a.avi", "Walk/é.avi"], ["Run/b.avi"], encoding=encoding)
    with pytest.raises(ValueError, match=r"\.txt:\d: not text in utf-8.*data\.options\.encoding"):
        ucf101.read(tmp_path, "train", {})
    train, _ = ucf101.read(tmp_path, "train", {"encoding": encoding})
    assert [r.path.name for r in train] == ["a.avi", "é.avi"]
    with pytest.raises(ValueError, match=r"data\.options\.encoding: unknown 'klingon'"):
        ucf101.read(tmp_path, "train", {"encoding": "klingon"})
    put(lists / "classInd.txt", "1 Run\n2 Walk\n")
    put(lists / "trainlist01.txt", "Run/a.avi 1\nWalk/é.avi 2\n", "latin-1")
    with pytest.raises(ValueError, match=r"trainlist01\.txt:2: not text in utf-8 \(byte 0xe9\)"):
        ucf101.read(tmp_path, "train", {})


@pytest.mark.parametrize(
    "content",
    [
        "video_id\nvideo0\nvideo1\n",
        '"video_id"\r\n"video0"\r\n"video1"\r\n',
        ",video_id\n0,video0\n1,video1\n",
        " video_id\nvideo0\nvideo1\n",
        "video_id,split\nvideo0.mp4,train\nvideo1.mp4,train\n",
        "video0\nvideo1",
    ],
)
def test_training_lists_of_msrvtt_are_read_by_column(tmp_path, content):
    msrvtt_folder(tmp_path)
    put(tmp_path / "MSRVTT_train.9k.csv", content)
    assert [r.id for r in msrvtt.read(tmp_path, "train", {})[0]] == ["video0", "video1"]


@pytest.mark.parametrize("label", ["9" * 6000, "999999999", "-1", "1.5", "Run"])
def test_a_label_that_is_no_index_names_its_line(tmp_path, label):
    put(tmp_path / "train.txt", f"1.mp4 0\n2.mp4 {label}\n")
    put(tmp_path / "val.txt", "1.mp4 0\n")
    with pytest.raises(ValueError, match=r"train\.txt:2: label"):
        ssv2.read(tmp_path, "train", {})


def test_a_path_that_no_disk_can_hold_is_a_missing_video(tmp_path):
    put(tmp_path / "train.txt", f"{'d' * 300}/{'f' * 300}.mp4 0\na\0/b.mp4 0\n")
    put(tmp_path / "val.txt", "1.mp4 0\n")
    assert [r.path for r in ssv2.read(tmp_path, "train", {})[0]] == [None, None]


# -------------------------------------------------------------------------------------- JSON shapes

ODD = (None, 7, True, [], {}, "", " ", "\0")


def row(**more):
    return [{"id": "1", "template": CLASSES[0], **more}]


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        *(("train.json", row(label=odd), r"item 1: label: .*allowed: a text") for odd in ODD),
        *(
            ("train.json", row(placeholders=odd), "item 1: placeholders: ")
            for odd in (None, 3, "a")
        ),
        *(("train.json", row(placeholders=[odd]), "item 1: placeholders: ") for odd in ODD),
        *(("train.json", [{"id": odd, "template": CLASSES[0]}], "id: ") for odd in (None, [], "")),
        *(("train.json", [{"id": "1", "template": odd}], "item 1: template: ") for odd in ODD),
        *(("train.json", [odd], r"item 0: .*allowed: an object") for odd in (None, 7, "a", [])),
        *(("train.json", odd, "allowed: a list") for odd in ({}, 7, None)),
        *(("labels.json", odd, "allowed: an object") for odd in ([], CLASSES, 7, None)),
        ("labels.json", {CLASSES[0]: "class0"}, "class 'Pushing.*'class0'.*allowed: its index"),
        ("labels.json", {CLASSES[0]: 1.5}, "1.5"),
        ("captions.json", [], "allowed: an object"),
        ("captions.json", {"1": "a cup"}, r'item 1: "a cup" \(allowed: a list'),
        *(("captions.json", {"1": [odd]}, "item 1: .*allowed: a text") for odd in ODD),
        ("train.json", '[{"id": "\\ud800", "template": "a"}]', "item 0: id: "),
        ("labels.json", {CLASSES[0]: "9" * 6000}, "allowed: its index"),
        ("train.json", "[" * 100_000, "cannot be read|not JSON"),
        ("train.json", "[" + "9" * 6000 + "]", "cannot be read"),
    ],
)
def test_json_of_another_shape_names_file_item_and_what_is_allowed(tmp_path, file, content, said):
    ssv2_folder(tmp_path)
    put(tmp_path / file, content)
    with pytest.raises(ValueError, match=f"{file}: .*{said}"):
        ssv2.read(tmp_path, "train", {})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        *(
            ({"sentences": [{"video_id": "video0", "caption": odd}]}, r"caption 0 \(video0\): ")
            for odd in ODD
        ),
        *(({"sentences": [{"video_id": odd, "caption": "a"}]}, "video_id: ") for odd in (None, [])),
        *(({"sentences": [odd]}, "caption 0: .*an object") for odd in (None, 7, "a")),
        *(({"sentences": odd}, "captions: .*a list") for odd in (7, "a", {})),
        *((odd, "allowed: an object") for odd in ([], 7, None)),
    ],
)
def test_captions_of_another_shape_name_file_item_and_what_is_allowed(tmp_path, content, said):
    msrvtt_folder(tmp_path)
    put(tmp_path / "MSRVTT_data.json", content)
    with pytest.raises(ValueError, match=f"MSRVTT_data.json: .*{said}"):
        msrvtt.read(tmp_path, "train", {})


# ------------------------------------------------------------------------------------ shared cases


def case(number, tmp_path):
    """Inputs of a shared case, made by its own program."""
    made = sorted(CASES.glob(f"{number}-*/make.py"))
    if not made:
        pytest.skip("no shared cases here")
    folder = tmp_path / "input"
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, str(made[0]), str(folder)]
    subprocess.run(command, check=True, env=env, capture_output=True)
    return folder


def test_the_shared_case_of_equal_stems(tmp_path):
    records, _ = ucf101.read(case(10, tmp_path), "train", {})
    assert [r.id for r in records] == ["Run/001", "Run/002", "Walk/001", "Walk/002"]


def test_the_shared_case_of_json_shapes(tmp_path):
    folder = case(12, tmp_path)
    for place in sorted(folder.iterdir()):
        reader = msrvtt if place.name.startswith("msrvtt") else ssv2
        with pytest.raises(ValueError, match=r"\.json: .*allowed: "):
            reader.read(place, "train", {})


def test_the_shared_case_of_odd_captions(tmp_path):
    for place in sorted(case(19, tmp_path).iterdir()):
        with pytest.raises(ValueError, match=r"caption 1 \(video0\): .*allowed: a text"):
            msrvtt.read(place, "train", {})

"""Readers of SSv2, UCF101 and MSR-VTT folders, on tiny folders of the official forms."""

import json
import pickle

import pytest

from sweep.data import catalogue
from sweep.data.label_maps import LabelMap
from sweep.data.readers import msrvtt, ssv2, ucf101
from sweep.data.readers.annotation import VideoFolder, read_path_labels

TEMPLATES = (
    "Pushing [something] from left to right",
    "Pushing [something] from right to left",
    "Showing [something] behind [something]",
)


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")


def ssv2_folder(root, pattern="{}.json", videos="20bn-something-something-v2", suffix=".webm"):
    names = [template.replace("[", "").replace("]", "") for template in TEMPLATES]
    # A permuted class file: the index is what it says, not its place.
    write(root / pattern.format("labels"), {names[2]: "2", names[0]: "0", names[1]: "1"})
    for split, ids in (("train", (7, 8, 9)), ("validation", (4, 5))):
        rows = [
            {
                "id": str(key),
                "label": TEMPLATES[place].replace("[something]", "a cup").lower(),
                "template": TEMPLATES[place],
                "placeholders": ["a cup"],
            }
            for place, key in enumerate(ids)
        ]
        write(root / pattern.format(split), rows)
        for key in ids:
            touch(root / videos / f"{key}{suffix}")


@pytest.mark.parametrize("pattern", ["{}.json", "something-something-v2-{}.json", "labels/{}.json"])
@pytest.mark.parametrize("suffix", [".webm", ".mp4", ".MKV"])
def test_ssv2_names_of_both_releases_and_any_extension(tmp_path, pattern, suffix):
    ssv2_folder(tmp_path, pattern, suffix=suffix)
    assert list(ssv2.splits(tmp_path, {})) == ["train", "validation"]
    records, labels = ssv2.read(tmp_path, "train", {})
    assert [(r.id, r.label, r.path.suffix) for r in records] == [
        ("7", 0, suffix),
        ("8", 1, suffix),
        ("9", 2, suffix),
    ]
    assert labels.names[0] == "Pushing something from left to right"
    assert dict(labels.flip_map) == {0: 1, 1: 0, 2: 2}
    assert records[0].captions == ("pushing a cup from left to right",)
    assert records[0].meta["placeholders"] == ("a cup",)


def test_ssv2_shifts_captions_missing_videos_and_crlf(tmp_path):
    ssv2_folder(tmp_path, videos="videos")
    write(tmp_path / "validation-fog.json", (tmp_path / "validation.json").read_text())
    write(tmp_path / "captions.json", {"7": ["one", "two"]})
    (tmp_path / "videos" / "8.webm").unlink()
    for path in tmp_path.glob("*.json"):
        path.write_bytes(path.read_bytes().replace(b"}, {", b"},\r\n {"))
    assert list(ssv2.splits(tmp_path, {})) == ["train", "validation", "fog"]
    records, _ = ssv2.read(tmp_path, "train", {})
    assert records[0].captions == ("one", "two")
    assert records[1].captions == ("pushing a cup from right to left",)
    assert records[1].path is None, "a missing video is a record, not a gap"
    assert ssv2.read(tmp_path, "fog", {}) == ssv2.read(tmp_path, "validation-fog", {})


def test_ssv2_mistakes_name_file_and_item(tmp_path):
    with pytest.raises(ValueError, match=r"is not a folder.*train\.json"):
        ssv2.splits(tmp_path / "nowhere", {})
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(ValueError, match=r"looked for train\.json.*holiday\.jpg"):
        ssv2.splits(tmp_path, {})
    ssv2_folder(tmp_path)
    with pytest.raises(ValueError, match="did you mean 'validation'"):
        ssv2.read(tmp_path, "validaton", {})
    rows = json.loads((tmp_path / "train.json").read_text())
    write(
        tmp_path / "train.json", [*rows, {**rows[0], "id": "10", "template": "Pushin [something]"}]
    )
    with pytest.raises(ValueError, match=r"train\.json: item 10: unknown template 'Pushin"):
        ssv2.read(tmp_path, "train", {})
    write(tmp_path / "train.json", [*rows, rows[0]])
    with pytest.raises(ValueError, match="'7' stands there twice"):
        ssv2.read(tmp_path, "train", {})
    write(tmp_path / "train.json", [{"name": 1}])
    with pytest.raises(ValueError, match="item 0 has no id or template"):
        ssv2.read(tmp_path, "train", {})
    write(tmp_path / "train.json", "[{")
    with pytest.raises(ValueError, match=r"train\.json: not JSON"):
        ssv2.read(tmp_path, "train", {})
    ssv2_folder(tmp_path)
    write(tmp_path / "labels.json", {"a": "0", "b": "2"})
    with pytest.raises(ValueError, match=r"not 0\.\.1"):
        ssv2.read(tmp_path, "train", {})


def test_path_label_lists_stand_in_for_the_json_files(tmp_path):
    for name in ("a/1.mp4", "b/1.mp4", "two words.mp4"):
        touch(tmp_path / "videos" / name)
    write(tmp_path / "train.csv", "a/1.mp4 0\r\nb/1.avi 4\r\n")
    write(tmp_path / "val.csv", "two words.mp4::1\na/9.mp4 0\n")
    records, labels = ssv2.read(tmp_path, "train", {})
    assert [(r.id, r.label) for r in records] == [("a/1", 0), ("b/1", 4)]
    assert all(record.path is not None for record in records)
    assert len(labels.names) == 5, "the training list says how many classes there are"
    records, labels = ssv2.read(tmp_path, "validation", {})
    assert [(r.id, r.label, r.path is None) for r in records] == [
        ("two words", 1, False),
        ("a/9", 0, True),
    ]
    assert len(labels.names) == 5
    write(tmp_path / "val.csv", "a/1.mp4\n")
    with pytest.raises(ValueError, match=r"val\.csv:1: not a path and a label"):
        ssv2.read(tmp_path, "validation", {})
    write(tmp_path / "val.csv", "a/1.mp4 7\n")
    with pytest.raises(ValueError, match=r"val\.csv:1: label '7'"):
        ssv2.read(tmp_path, "validation", {})


def test_path_label_lists_take_class_names_and_absolute_paths(tmp_path):
    touch(tmp_path / "x" / "1.mkv")
    write(tmp_path / "list.txt", f"{tmp_path}/x/1.mp4 Jump\n")
    (record,) = read_path_labels(tmp_path / "list.txt", VideoFolder(tmp_path), ["Run", "Jump"], {})
    assert record.label == 1
    assert record.path == tmp_path / "x" / "1.mkv"


def ucf_folder(root, lists="ucfTrainTestlist", suffix=".avi", end="\n"):
    names = ("Archery", "HandstandPushups", "YoYo")
    write(
        root / lists / "classInd.txt", end.join(f"{i + 1} {n}" for i, n in enumerate(names)) + end
    )
    train = [
        "Archery/v_Archery_g08_c01.avi 1",
        "HandStandPushups/v_HandStandPushups_g09_c02.avi 2",
        "YoYo/v_YoYo_g10_c01.avi 3",
    ]
    test = ["YoYo/v_YoYo_g01_c01.avi", "Archery/v_Archery_g01_c07.avi"]
    for fold in (1, 2):
        write(root / lists / f"trainlist0{fold}.txt", end.join(train[: 4 - fold]) + end + end)
        write(root / lists / f"testlist0{fold}.txt", end.join(test) + end)
    for line in (*train, *test):
        folder, stem = line.split()[0].removesuffix(".avi").split("/")
        stem = stem.replace("HandStand", "Handstand")  # as in the archive
        touch(root / "UCF-101" / folder.replace("HandStand", "Handstand") / f"{stem}{suffix}")


@pytest.mark.parametrize("lists", ["ucfTrainTestlist", "."])
@pytest.mark.parametrize(("suffix", "end"), [(".avi", "\n"), (".mp4", "\r\n")])
def test_ucf101_official_form(tmp_path, lists, suffix, end):
    ucf_folder(tmp_path, lists, suffix, end)
    records, labels = ucf101.read(tmp_path, "train", {})
    assert labels.names == ("Archery", "HandstandPushups", "YoYo")
    assert [record.label for record in records] == [0, 1, 2]
    assert all(record.path.is_file() for record in records)
    assert records[1].path.stem == "v_HandstandPushups_g09_c02"
    assert records[0].group == "Archery_g08"
    test, _ = ucf101.read(tmp_path, "test", {})
    assert [(r.id, r.label) for r in test] == [("v_YoYo_g01_c01", 2), ("v_Archery_g01_c07", 0)]
    assert test == ucf101.read(tmp_path, "validation", {})[0]
    assert len(ucf101.read(tmp_path, "train", {"fold": 2})[0]) == 2


def test_ucf101_shifts_and_a_split_that_lacks_a_class(tmp_path):
    ucf_folder(tmp_path)
    write(tmp_path / "ucfTrainTestlist" / "testlist-rain.txt", "YoYo/v_YoYo_g02_c01.avi\n")
    assert list(ucf101.splits(tmp_path, {})) == ["train", "validation", "rain"]
    (record,), labels = ucf101.read(tmp_path, "test-rain", {})
    assert record.path is None
    assert record.label == 2, "labels never depend on the split that is read"
    (tmp_path / "ucfTrainTestlist" / "classInd.txt").unlink()
    (record,), labels = ucf101.read(tmp_path, "rain", {})
    assert (record.label, len(labels.names)) == (2, 3), "the training list stands in"


def test_ucf101_mistakes_name_file_and_line(tmp_path):
    ucf_folder(tmp_path)
    lists = tmp_path / "ucfTrainTestlist"
    with pytest.raises(ValueError, match=r"no train list.*trainlist03\.txt"):
        ucf101.read(tmp_path, "train", {"fold": 3})
    write(lists / "trainlist01.txt", "Archery/v_Archery_g08_c01.avi 3\n")
    with pytest.raises(ValueError, match=r"trainlist01\.txt:1: label 3 is not.*1"):
        ucf101.read(tmp_path, "train", {})
    write(lists / "testlist01.txt", "Chess/v_Chess_g01_c01.avi\n")
    with pytest.raises(ValueError, match=r"testlist01\.txt:1: 'Chess/.*no known class"):
        ucf101.read(tmp_path, "test", {})
    write(lists / "classInd.txt", "1 Archery\n3 YoYo\n")
    with pytest.raises(ValueError, match=r"classInd\.txt: the classes are not numbered"):
        ucf101.read(tmp_path, "test", {})


def msrvtt_folder(root, place="", form="sentences"):
    """Nine thousand of ten in small: training videos stand in both folders."""
    rows = [(f"video{n}", f"caption {i} of {n}") for n in (0, 7011, 7012) for i in range(3)]
    if form == "sentences":
        content = {
            "info": {},
            "videos": [
                {"video_id": f"video{n}", "category": 3, "split": "train", "id": n}
                for n in (0, 7011, 7012)
            ],
            "sentences": [
                {"caption": text, "video_id": name, "sen_id": i}
                for i, (name, text) in enumerate(rows)
            ],
        }
        write(root / place / "MSRVTT_data.json", content)
    else:
        annotations = [{"image_id": name, "caption": text} for name, text in rows]
        write(root / place / "MSR_VTT.json", {"images": [], "annotations": annotations})
    write(root / place / "MSRVTT_train.9k.csv", "video_id\r\nvideo0\r\nvideo7011\r\n")
    pairs = [
        "key,vid_key,video_id,sentence",
        "ret0,msr7012,video7012,a man is talking",
        'ret1,msr9000,video9000,"one, ""two"" and three"',
    ]
    write(root / place / "MSRVTT_JSFUSION_test.csv", "\n".join(pairs) + "\n")
    for path in ("TrainValVideo/video0.mp4", "TestVideo/video7011.mp4", "TestVideo/video7012.mp4"):
        touch(root / path)


@pytest.mark.parametrize(
    ("place", "form"), [("", "sentences"), ("annotation", "sentences"), ("", "annotations")]
)
def test_msrvtt_official_forms(tmp_path, place, form):
    msrvtt_folder(tmp_path, place, form)
    assert list(msrvtt.splits(tmp_path, {})) == ["train", "validation"]
    train, labels = msrvtt.read(tmp_path, "train", {})
    assert labels.names == ()
    assert [(r.id, r.label, r.path.parent.name) for r in train] == [
        ("video0", -1, "TrainValVideo"),
        ("video7011", -1, "TestVideo"),
    ]
    assert train[1].captions == tuple(f"caption {i} of 7011" for i in range(3))
    test, _ = msrvtt.read(tmp_path, "test", {})
    assert [r.captions for r in test] == [("a man is talking",), ('one, "two" and three',)]
    assert test[1].path is None


def test_msrvtt_shifts_and_mistakes(tmp_path):
    msrvtt_folder(tmp_path)
    lines = (tmp_path / "MSRVTT_JSFUSION_test.csv").read_text()
    write(tmp_path / "test-fog.csv", lines)
    assert msrvtt.read(tmp_path, "fog", {}) == msrvtt.read(tmp_path, "test-fog", {})
    write(tmp_path / "test-torn.csv", lines + "ret2,msr1,video1\n")
    with pytest.raises(ValueError, match=r"test-torn\.csv:4: no video_id or sentence"):
        msrvtt.read(tmp_path, "torn", {})
    write(tmp_path / "test-twice.csv", lines + lines.splitlines()[1] + "\n")
    with pytest.raises(ValueError, match="'video7012' stands there twice with the same sentence"):
        msrvtt.read(tmp_path, "twice", {})
    key, name = lines.splitlines()[1].split(",")[0], "video7012"
    write(tmp_path / "test-more.csv", lines + f"{key},msr0,{name},another sentence\n")
    told = {r.id: r.captions for r in msrvtt.read(tmp_path, "more", {})[0]}
    assert told[name][1:] == ("another sentence",)
    assert {len(own) for other, own in told.items() if other != name} == {1}
    write(tmp_path / "MSRVTT_train.9k.csv", "video_id\nvideo0\nvideo5\n")
    with pytest.raises(ValueError, match=r"no caption of 1 videos .* such as video5"):
        msrvtt.read(tmp_path, "train", {})
    (tmp_path / "MSRVTT_data.json").write_text('{"videos": []}')
    with pytest.raises(ValueError, match="neither `sentences` nor `annotations`"):
        msrvtt.read(tmp_path, "train", {})
    (tmp_path / "MSRVTT_JSFUSION_test.csv").unlink()
    with pytest.raises(ValueError, match="has no list of test pairs: looked for MSRVTT_JSFUSION"):
        msrvtt.splits(tmp_path, {})


def test_flip_map_is_an_involution_and_survives_pickling():
    names = ("Left turn", "Right turn", "Jump", "Step left", "Move left to right")
    labels = LabelMap.of(names)
    assert all(labels.flip_map[labels.flip_map[label]] == label for label in range(len(names)))
    assert dict(labels.flip_map) == {0: 1, 1: 0, 2: 2, 3: 3, 4: 4}
    assert pickle.loads(pickle.dumps(labels)) == labels


def test_every_row_of_the_catalogue_has_a_reader():
    assert len(catalogue.DATASETS) >= 20
    for row in catalogue.DATASETS.values():
        reader = row.load()
        assert callable(reader.read)
        assert callable(reader.splits)
    with pytest.raises(ValueError, match="did you mean 'motes-ssv2'"):
        catalogue.find("mote-ssv2")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.json", ["a"]),
        ("labels.json", {"a": {}}),
        ("train.json", {}),
        ("captions.json", ["a"]),
        ("captions.json", {"7": [1]}),
    ],
)
def test_ssv2_refuses_json_of_another_shape_by_file(tmp_path, name, content):
    ssv2_folder(tmp_path)
    write(tmp_path / name, content)
    with pytest.raises(ValueError, match=name):
        ssv2.read(tmp_path, "train", {})


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"sentences": 3},
        {"sentences": [None]},
        {"sentences": [{"video_id": "video7", "caption": None}]},
        {"sentences": [{"video_id": ["video7"], "caption": "x"}]},
    ],
)
def test_msrvtt_refuses_captions_of_another_shape_by_file(tmp_path, content):
    msrvtt_folder(tmp_path)
    write(tmp_path / "MSRVTT_data.json", content)
    with pytest.raises(ValueError, match=r"MSRVTT_data\.json"):
        msrvtt.read(tmp_path, "train", {})

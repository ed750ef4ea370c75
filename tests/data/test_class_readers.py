"""Readers of classes on small folders: their other forms, and what they refuse and how."""

import json

import pytest

from sweep.data.readers import diving48, kinetics, path_list, ssv2, table, ucf101
from sweep.data.readers.annotation import Classes, read_class_names
from sweep.data.survey import read_sets
from sweep.settings.data import DataSettings


def put(path, content=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


# -------------------------------------------------------------------------------------------- SSv2


def test_ssv2_tables_of_the_robustness_study(tmp_path):
    """Classes by name: a test table that lacks one moves no number."""
    put(tmp_path / "train.csv", "filename,label,classname\n1,7,Lifting [something]\n2,3,Closing\n")
    put(tmp_path / "test.csv", "idx,filename,label,classname\n0,9,7,Lifting [something]\n")
    put(tmp_path / "videos" / "9.webm")
    (record,), labels = ssv2.read(tmp_path, "validation", {})
    assert labels.names == ("Closing", "Lifting something")
    assert (record.id, record.label, record.path.name) == ("9", 1, "9.webm")
    put(tmp_path / "labels.json", {"Lifting something": "0", "Closing": "1"})
    assert ssv2.read(tmp_path, "validation", {})[0][0].label == 0, "a class file goes first"
    put(tmp_path / "test.csv", "filename,classname\n9,Liftin something\n")
    with pytest.raises(
        ValueError, match=r"test\.csv:2: unknown class 'Liftin .*did you mean 'Lift"
    ):
        ssv2.read(tmp_path, "validation", {})
    put(tmp_path / "test.csv", "filename,classname\n,Closing\n")
    with pytest.raises(ValueError, match=r"test\.csv:2: no filename or classname"):
        ssv2.read(tmp_path, "validation", {})


def test_ssv2_test_answers_are_tested_on_where_asked_for(tmp_path):
    put(tmp_path / "labels" / "labels.json", {"Closing something": "0", "Opening something": "1"})
    row = {"id": "1", "template": "Closing [something]", "label": "closing a box"}
    put(tmp_path / "labels" / "train.json", [row])
    put(tmp_path / "labels" / "validation.json", [{**row, "id": "2"}])
    put(tmp_path / "labels" / "test.json", [{"id": "3"}])
    with pytest.raises(
        ValueError, match=r"answers of the test clips: looked for test-answers\.csv"
    ):
        ssv2.splits(tmp_path, {"tested_on": "test"})
    put(tmp_path / "labels" / "test-answers.csv", "3;Opening something\n")
    (record,), _ = ssv2.read(tmp_path, "validation", {"tested_on": "test"})
    assert (record.id, record.label, record.captions) == ("3", 1, ())
    assert ssv2.read(tmp_path, "validation", {})[0][0].id == "2"
    put(tmp_path / "labels" / "test-answers.csv", "3;Opening nothing\n")
    with pytest.raises(ValueError, match=r"test-answers\.csv:1: not an id and a template"):
        ssv2.read(tmp_path, "validation", {"tested_on": "test"})
    with pytest.raises(ValueError, match=r"tested_on: 'tests' \(allowed: validation, test\)"):
        ssv2.splits(tmp_path, {"tested_on": "tests"})


def test_ssv2_label_that_is_a_number_names_file_and_id(tmp_path):
    put(tmp_path / "labels.json", {"a": "0"})
    put(tmp_path / "train.json", [{"id": "5", "template": "a", "label": 3}])
    put(tmp_path / "validation.json", [{"id": "6", "template": "a"}])
    with pytest.raises(ValueError, match=r"train\.json: item 5: label: 3 \(allowed: a text"):
        ssv2.read(tmp_path, "train", {})


# ------------------------------------------------------------------------------------- UCF101, -DS


def ucf(root):
    put(root / "ucfTrainTestlist" / "classInd.txt", "1 Archery\n2 YoYo\n")
    put(root / "ucfTrainTestlist" / "trainlist01.txt", "Archery/v_Archery_g02_c01.avi 1\n")
    put(root / "ucfTrainTestlist" / "testlist01.txt", "YoYo/v_YoYo_g01_c01.avi\n")


def test_ucf101_ds_is_a_test_set_per_category_or_shift(tmp_path):
    ucf(tmp_path)
    with pytest.raises(ValueError, match=r"no table of UCF101-DS: looked for ucf101-ds\.csv"):
        ucf101.splits(tmp_path, {"shifts": "category"})
    lines = [
        "YoYo/1.mp4,YoYo,night,light",
        "YoYo/2.mp4,2,rain,weather",
        "x/1.mp4,archery,dusk,light",
    ]
    put(tmp_path / "ucf101-ds.csv", "path,label,shift,category\n" + "\n".join(lines))
    put(tmp_path / "UCF101-DS" / "YoYo" / "2.webm")
    names = {kind: list(ucf101.splits(tmp_path, {"shifts": kind}))[2:]
             for kind in ("category", "shift", "all")}  # fmt: skip
    assert names == {
        "category": ["ds-light", "ds-weather"],
        "shift": ["ds-night", "ds-rain", "ds-dusk"],
        "all": ["ds"],
    }
    records, labels = ucf101.read(tmp_path, "ds-light", {"shifts": "category"})
    assert [(r.id, r.label, r.path) for r in records] == [
        ("ds/YoYo/1", 1, None), ("ds/x/1", 0, None),
    ]  # fmt: skip
    assert labels == ucf101.read(tmp_path, "train", {})[1]
    (rain,), _ = ucf101.read(tmp_path, "ds-weather", {"shifts": "category"})
    assert rain.path == tmp_path / "UCF101-DS" / "YoYo" / "2.webm"
    sets = read_sets(DataSettings(dataset="ucf101-ds", root=str(tmp_path)))
    assert list(sets.records) == ["train", "clean", "ds-light", "ds-weather"]
    assert list(ucf101.splits(tmp_path, {})) == ["train", "validation"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a/1.mp4,3,n,l", r"label '3' \(allowed: a class name, or its number in the class file"),
        ("a/1.mp4,0,n,l", "label '0'"),
        ("YoYo/1.mp4,1,n,l", "label 1 is not that of the folder, 2"),
        (",1,n,l", "no path or label"),
    ],
)
def test_ucf101_ds_mistakes_name_their_line(tmp_path, row, said):
    ucf(tmp_path)
    put(tmp_path / "ucf101-ds.csv", f"path,label,shift,category\nx/0.mp4,1,n,l\n{row}\n")
    with pytest.raises(ValueError, match=rf"ucf101-ds\.csv:3: {said}"):
        ucf101.read(tmp_path, "ds-l", {"shifts": "category"})
    put(tmp_path / "ucf101-ds.csv", "path,label\nx/0.mp4,1\n")
    with pytest.raises(ValueError, match="looked for a column category; `all` needs none"):
        ucf101.splits(tmp_path, {"shifts": "category"})
    with pytest.raises(
        ValueError, match=r"data\.options\.shifts: 'each' \(allowed: category, shift"
    ):
        ucf101.splits(tmp_path, {"shifts": "each"})


# --------------------------------------------------------------------------------------- Kinetics


@pytest.mark.parametrize(
    "place",
    [
        "val/massaging person's head/{}_000005_000015.mp4",
        "val/massaging_persons_head/{}_000005_000015.mkv",
        "massaging_person's_head/{}.mp4",
        "val/{}_000005_000015.mp4",
        "videos/{}.webm",
        "{}.mp4",
        "rawframes_val/massaging_persons_head/{}_000005_000015/img_00001.jpg",
    ],
)
def test_kinetics_videos_are_found_in_all_layouts_and_by_exact_id(tmp_path, place):
    header = "label,youtube_id,time_start,time_end,split,is_cc\n"
    row = "massaging person's head,aB-_c,5,15,val,0\n"
    put(tmp_path / "kinetics_train.csv", header + row.replace("aB", "ab"))
    put(tmp_path / "kinetics_val.csv", header + row)
    put(tmp_path / place.format("aB-_c"))
    (record,), _ = kinetics.read(tmp_path, "validation", {})
    found = tmp_path / place.format("aB-_c")
    assert record.path == (found.parent if "rawframes" in place else found)
    (other,), _ = kinetics.read(tmp_path, "train", {})
    assert other.path is None, "ids that differ in case alone are two videos"


def test_kinetics_lists_of_the_robustness_study_and_mistakes(tmp_path):
    header = "label,youtube_id,start,end,filename,split,is_cc\n"
    put(
        tmp_path / "train.csv", header + "yoga,a,0,10,a.mp4,train,0\nzumba,b,0.0,10,b.mp4,train,0\n"
    )
    put(tmp_path / "val.csv", header + "zumba,c,1,11,c.mp4,val,0\n")
    (record,), labels = kinetics.read(tmp_path, "validation", {})
    assert (record.id, record.label, labels.names) == ("c_000001_000011", 1, ("yoga", "zumba"))
    for row, said in (
        ("zumab,c,1,11,c,val,0", "unknown class 'zumab'; did you mean 'zumba'"),
        ("zumba,c,x,11,c,val,0", r"time_start: 'x' \(allowed: whole seconds\)"),
        ("zumba,c,1,,c,val,0", "no end"),
        ("zumba,,1,2,c,val,0", "no youtube_id"),
    ):
        put(tmp_path / "val.csv", header + row + "\n")
        with pytest.raises(ValueError, match=rf"val\.csv:2: {said}"):
            kinetics.read(tmp_path, "validation", {})


# ------------------------------------------------------------------------------- Diving-48 mistakes


@pytest.mark.parametrize("label", [2, -1, "0", None, True, 0.5])
def test_diving48_labels_are_those_of_the_vocabulary(tmp_path, label):
    put(tmp_path / "Diving48_vocab.json", [["a", "b"], ["a", "c"]])
    put(tmp_path / "Diving48_V2_test.json", [{"vid_name": "x_1", "label": 1}])
    put(tmp_path / "Diving48_V2_train.json", [{"vid_name": "y_1", "label": label}])
    assert diving48.read(tmp_path, "validation", {})[1].names == ("a+b", "a+c")
    with pytest.raises(ValueError, match=r"train\.json: item y_1: label: .* \(allowed: 0 to 1\)"):
        diving48.read(tmp_path, "train", {})
    put(tmp_path / "Diving48_vocab.json", [["a", "b"], ["a", "b"]])
    with pytest.raises(ValueError, match=r"class 1: 'a\+b' stands there twice"):
        diving48.read(tmp_path, "validation", {})


# ------------------------------------------------------------------------------- tables and lists


def sets(dataset, root, **options):
    return read_sets(DataSettings(dataset=dataset, root=str(root), options=options)).records


def test_tables_say_split_captions_and_recordings(tmp_path):
    rows = ["a/1.mp4\trun\ttrain\ta dog runs\tr1", "a/1.mp4\trun\ttrain\tit runs\tr1",
            "a/2.mp4\twalk\ttrain\t\tr1", "3.mp4\twalk\ttest\t\t", "4.mp4\trun\tval\t\t",
            "5.mp4\trun\tfog\t\t", "6.mp4\tswim\tfog\t\t"]  # fmt: skip
    put(tmp_path / "clips.tsv", "Path\tlabel\tsplit\tcaption\tgroup\n" + "\n".join(rows))
    found = sets("table", tmp_path)
    assert {name: [r.id for r in rows] for name, rows in found.items()} == {
        "train": ["a/1", "a/2"], "clean": ["3"], "fog": ["5", "6"], "val": ["4"],
    }  # fmt: skip
    assert found["train"][0].captions == ("a dog runs", "it runs")
    assert [r.group for r in (*found["train"], *found["clean"])] == ["r1", "r1", "3"]
    assert [r.label for r in found["fog"]] == [0, -1], "a class that training lacks"
    with pytest.raises(ValueError, match=r"data\.options\.test_share: of no effect"):
        sets("table", tmp_path, test_share=0.3)


def test_a_table_per_split_and_a_table_of_another_name(tmp_path):
    put(tmp_path / "train.csv", "path,label\n1.mp4,0\n2.mp4,3\n")
    put(tmp_path / "val.csv", "path,label\n3.mp4,1\n")
    put(tmp_path / "test-fog.csv", "path,label\n4.mp4,2\n")
    assert list(sets("table", tmp_path)) == ["train", "clean", "fog"]
    assert table.read(tmp_path, "train", {})[1].names == tuple(f"class {i}" for i in range(4))
    put(tmp_path / "classes.txt", "a\nb\nc\nd\n")
    assert table.read(tmp_path, "fog", {})[1].names == ("a", "b", "c", "d")
    put(
        tmp_path / "mine.csv",
        "path,label\n" + "".join(f"{i}.mp4,{'ab'[i % 2]}\n" for i in range(9)),
    )
    found = sets("table", tmp_path, file="mine.csv")
    assert [len(rows) for rows in found.values()] == [7, 2]
    with pytest.raises(ValueError, match=r"data\.options\.file: looked for .*other\.csv"):
        sets("table", tmp_path, file="other.csv")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("path\n1.mp4\n", r"clips\.csv:2: no label \(allowed: the columns path, label, split"),
        ("label,path\na,\n", r"clips\.csv:2: no path"),
        ("path,label,split\n1.mp4,a,train\n2.mp4,a,\n", r"clips\.csv:3: no split"),
        (
            "path,label,split\n1.mp4,a,train\n",
            r"clips\.csv: looked for the splits train and one of",
        ),
        (
            "path,label,split\n1.mp4,a,train\n1.mp4,a,train\n2.mp4,a,test\n",
            "'1' stands there twice",
        ),
        (
            "path,label,split\n1.mp4,0,train\n2.mp4,7,test\n",
            r"csv:3: label '7' is none of 1 classes",
        ),
    ],
)
def test_mistakes_of_tables_name_their_line(tmp_path, content, said):
    put(tmp_path / "clips.csv", content)
    with pytest.raises(ValueError, match=said):
        sets("table", tmp_path)


def test_lists_of_names_indices_and_absolute_paths(tmp_path):
    put(tmp_path / "elsewhere" / "two words.mp4")
    put(tmp_path / "own" / "train.txt", f"{tmp_path}/elsewhere/two words.mp4 walk\n1.mp4 run\n")
    put(tmp_path / "own" / "test.txt", "2.mp4 run\n3.mp4 swim\n")
    put(tmp_path / "own" / "test-fog.txt", "4.mp4::walk\n")
    found = sets("list", tmp_path / "own")
    assert [r.label for r in found["train"]] == [1, 0]
    assert found["train"][0].path == tmp_path / "elsewhere" / "two words.mp4"
    assert [r.label for r in found["clean"]] == [0, -1]
    assert [r.label for r in found["fog"]] == [1]
    put(tmp_path / "own" / "classes.txt", "walk\nrun\n")
    with pytest.raises(ValueError, match=r"test\.txt:2: label 'swim' is none of 2 classes"):
        sets("list", tmp_path / "own")
    put(tmp_path / "own" / "test.txt", "alone.mp4\n")
    with pytest.raises(ValueError, match=r"test\.txt:1: not a path and a label: 'alone\.mp4'"):
        path_list.read(tmp_path / "own", "validation", {})


def test_class_files_are_names_or_numbered_names(tmp_path):
    put(tmp_path / "labels.csv", 'id,name\r\n1,"b, c"\r\n0,a\r\n')
    assert read_class_names(tmp_path / "labels.csv", {}) == ("a", "b, c")
    for content, said in (
        ("id,name\n1,a\n", r"the ids are not 0\.\.0"),
        ("a\nb\na\n", r":3: 'a' stands there twice"),
        ("", "no class name"),
    ):
        put(tmp_path / "labels.csv", content)
        with pytest.raises(ValueError, match=said):
            read_class_names(tmp_path / "labels.csv", {})


def test_classes_never_depend_on_the_list_that_is_read():
    open_classes = Classes.of(["b", "a", "b"], None)
    assert open_classes.names == ("a", "b")
    labels, own = open_classes.labels_of([("t:1", "c"), ("t:2", "b")])
    assert (labels, own.names) == ([2, 1], ("a", "b", "c"))
    assert Classes.of(["0", "5"], None).names[5] == "class 5"
    assert Classes.of(["0", "a"], None).names == ("0", "a")

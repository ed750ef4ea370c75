"""Readers of classes on the real annotation files, and real clips of four data sets end to end."""

import shutil
from pathlib import Path

import pytest

from sweep.data.prepare import index, prepare
from sweep.data.readers import diving48, hmdb51, imagenet100, kinetics, path_list, ssv2, ucf101
from sweep.data.verify import verify
from sweep.settings.data import DataSettings
from tests.data.test_stored_frames import wrong_frames

SHARED = Path(__file__).resolve().parents[3] / "shared"
REAL, CLIPS = SHARED / "annotations", SHARED / "videos" / "official"
needs_lists = pytest.mark.skipif(not REAL.is_dir(), reason="no folder of real annotation files")
needs_clips = pytest.mark.skipif(not CLIPS.is_dir(), reason="no folder of real clips")


def both(reader, root, options):
    """Records of both splits, and their classes, which are the same."""
    train, labels = reader.read(root, "train", options)
    test, same = reader.read(root, "validation", options)
    assert labels == same
    return train, test, labels


#: Rows of the training lists, which are cut; the test lists are whole.
UCF = {1: (4953, 3783), 2: (4976, 3734), 3: (4991, 3696)}


@needs_lists
@pytest.mark.parametrize("fold", UCF)
def test_ucf101_by_its_lists_and_by_a_table(fold, tmp_path):
    train, test, labels = both(ucf101, REAL / "ucf101", {"fold": fold})
    assert (len(train), len(test), len(labels.names)) == (*UCF[fold], 101)
    assert (labels.names[0], labels.names[36], labels.names[100]) == (
        "ApplyEyeMakeup", "HandstandPushups", "YoYo",
    )  # fmt: skip
    assert labels.names != tuple(sorted(labels.names))
    for record in (*train, *test):
        assert record.id.lower().startswith(f"v_{labels.names[record.label].lower()}_g")
    assert not {r.group for r in train} & {r.group for r in test}
    shutil.copy(REAL / "ucf101" / "ucf.csv", tmp_path)
    few_train, few_test, few = both(ucf101, tmp_path, {"fold": fold})
    assert len(few_train) + len(few_test) == 656
    # the numbers are those of the class file; names are those of its folders
    assert [name.lower() for name in few.names] == [name.lower() for name in labels.names]

    def told(records):
        return {(r.id.lower(), r.label, r.group.lower()) for r in records}

    assert told(few_test) <= told(test)
    with pytest.raises(ValueError, match=r"data\.options\.fold: looked for a column split4"):
        ucf101.read(tmp_path, "train", {"fold": 4})


@needs_lists
@pytest.mark.parametrize("fold", [1, 2, 3])
def test_hmdb51_by_a_table_says_what_its_lists_say(fold, tmp_path):
    train, test, labels = both(hmdb51, REAL / "hmdb51", {"fold": fold})
    shutil.copy(REAL / "hmdb51" / "hmdb51.csv", tmp_path)
    few_train, few_test, few = both(hmdb51, tmp_path, {"fold": fold})
    assert few == labels
    for mine, whole in ((few_train, train), (few_test, test)):
        assert len(mine) > 150
        assert {(r.id, r.label, r.group) for r in mine} <= {(r.id, r.label, r.group) for r in whole}
    with pytest.raises(ValueError, match=r"data\.options\.fold: looked for a column split4"):
        hmdb51.read(tmp_path, "train", {"fold": 4})


@needs_lists
def test_ssv2_and_its_test_answers():
    train, test, labels = both(ssv2, REAL / "ssv2", {})
    assert [len(train), len(test), len(labels.names)] == [4, 4, 174]
    assert train[0].captions == ("holding potato next to vicks vaporub bottle",)
    assert train[0].meta["placeholders"] == ("potato", "vicks vaporub bottle")
    assert labels.names[train[0].label] == "Holding something next to something"
    turned = {a: b for a, b in labels.flip_map.items() if a != b}
    assert turned == {86: 87, 87: 86, 93: 94, 94: 93, 166: 167, 167: 166}
    answers, same = ssv2.read(REAL / "ssv2", "validation", {"tested_on": "test"})
    assert same == labels
    assert [(r.id, labels.names[r.label]) for r in answers[:2]] == [
        ("1420", "Throwing something"),
        ("50058", "Stacking number of something"),
    ]


@needs_lists
def test_kinetics400_is_numbered_as_its_published_map(tmp_path):
    shutil.copy(REAL / "kinetics400" / "kinetics-400_val.csv", tmp_path)
    shutil.copy(REAL / "kinetics400" / "kinetics-400_val.csv", tmp_path / "train.csv")
    published = (REAL / "kinetics400" / "label_map_k400.mmaction2.txt").read_text().splitlines()
    _, test, labels = both(kinetics, tmp_path, {})
    assert (len(test), list(labels.names)) == (1617, published)
    assert test[0].id == "0wR5jVB-WPk_000417_000427"
    # a training list that lacks a class moves no number where there is a map
    lines = (tmp_path / "train.csv").read_text().splitlines()
    kept = [line for line in lines if not line.startswith("abseiling")]
    (tmp_path / "train.csv").write_text("\n".join(kept))
    (tmp_path / "kinetics_label_map.txt").write_text("\n".join(published))
    assert both(kinetics, tmp_path, {})[2] == labels
    shutil.copy(REAL / "kinetics400" / "kinetics-400_test.csv", tmp_path / "train.csv")
    with pytest.raises(ValueError, match=r"train\.csv:2: no label .*official test list has no"):
        kinetics.read(tmp_path, "train", {})


@needs_lists
def test_diving48_of_the_second_version_alone(tmp_path):
    source = REAL / "diving48"
    shutil.copy(source / "Diving48_V2_train.excerpt.json", tmp_path / "Diving48_train.json")
    with pytest.raises(ValueError, match=r"first version .*looked for Diving48_V2_train\.json"):
        diving48.splits(tmp_path, {})
    for name in ("train", "test"):
        target = tmp_path / f"Diving48_V2_{name}.json"
        shutil.copy(source / "Diving48_V2_train.excerpt.json", target)
    names = (source / "label_map.mmaction2.txt").read_text().split()
    shutil.copy(source / "label_map.mmaction2.txt", tmp_path / "label_map.txt")
    train, _, labels = both(diving48, tmp_path, {})
    assert [(r.id, r.label, r.group) for r in train] == [
        ("-mmq0PT-u8k_00155", 0, "-mmq0PT-u8k"),
        ("-mmq0PT-u8k_00156", 0, "-mmq0PT-u8k"),
    ]
    assert list(labels.names) == names
    assert len(names) == 48
    shutil.copy(source / "Diving48_vocab.excerpt.json", tmp_path / "Diving48_vocab.json")
    assert list(both(diving48, tmp_path, {})[2].names) == names[:3]


@needs_lists
def test_imagenet100_is_numbered_by_its_list(tmp_path):
    shutil.copy(REAL / "imagenet100" / "imagenet100.txt", tmp_path)
    names = (tmp_path / "imagenet100.txt").read_text().split()
    for name in names:
        for side in ("train", "val"):
            (tmp_path / side / name).mkdir(parents=True)
            (tmp_path / side / name / f"{side}_{name}.JPEG").touch()
    train, test, labels = both(imagenet100, tmp_path, {})
    assert list(labels.names) == names != sorted(names)
    assert [r.label for r in train] == [r.label for r in test] == list(range(100))
    assert train[1].path == tmp_path / "train" / names[1] / f"train_{names[1]}.JPEG"
    assert list(both(imagenet100, tmp_path, {"order": "sorted"})[2].names) == sorted(names)
    shutil.rmtree(tmp_path / "val" / names[7])
    with pytest.raises(ValueError, match=rf"imagenet100\.txt:8: looked for .*{names[7]}"):
        imagenet100.read(tmp_path, "validation", {})


@needs_lists
@pytest.mark.parametrize(
    ("name", "rows", "classes"),
    [("kinetics_video_val_se320", 305, 400), ("ucf_val_rgb_split_1", 316, 101),
     ("hmdb_val_rgb_split_1", 306, 51)],
)  # fmt: skip
def test_lists_of_two_and_of_three_columns(name, rows, classes, tmp_path):
    shutil.copy(REAL / "lists" / f"{name}.txt", tmp_path)
    options = {"train": f"{name}.txt", "test": f"{name}.txt"}
    train, _, labels = both(path_list, tmp_path, options)
    assert (len(train), len(labels.names)) == (rows, classes)
    assert {r.label for r in train} <= set(range(classes))
    if name.startswith("hmdb"):
        shutil.copy(REAL / "lists" / "hmdb51_labels.csv", tmp_path / "labels.csv")
        _, _, named = both(path_list, tmp_path, options)
        for record in train:
            assert named.names[record.label].replace(" ", "_") == record.id.partition("/")[0]
        shutil.copy(REAL / "lists" / "kinetics_video_val_se320.txt", tmp_path / f"{name}.txt")
        with pytest.raises(ValueError, match=r"se?.*\.txt:\d+: label '\d+' is none of 51 classes"):
            path_list.read(tmp_path, "train", options)


# -------------------------------------------------------------------------------------- real clips


def of(dataset, root, cache, **more):
    return DataSettings(
        **{"dataset": dataset, "root": str(root), "cache_dir": str(cache), "workers": 0,
           "size_px": 48, "cache_frames": 6, "max_bad_fraction": 0.99} | more
    )  # fmt: skip


@needs_clips
def test_official_clips_in_a_folder_per_class_are_stored_right(tmp_path):
    root = tmp_path / "own"
    root.mkdir()
    for name, place in {
        "SoccerJuggling": "UCF-101/SoccerJuggling", "wave": "hmdb51/wave",
        "cartwheel": "hmdb51/cartwheel", "using segway": "kinetics400",
    }.items():  # fmt: skip
        (root / name).symlink_to(CLIPS / place, target_is_directory=True)
    options = of("folder", root, tmp_path / "cache")
    prepared = prepare(options)
    assert prepared.class_names == ("SoccerJuggling", "cartwheel", "using segway", "wave")
    assert prepared.excluded == ()
    assert (len(prepared.train.ids), len(prepared.evaluation["clean"].ids)) == (6, 3)
    assert wrong_frames(options, prepared) == []
    verdict = verify(options, index(options))
    assert verdict.passed
    assert verdict.disputed == ()


@needs_clips
def test_official_kinetics_and_ucf_clips_are_found_by_their_official_lists(tmp_path):
    root = tmp_path / "k400"
    shutil.copytree(CLIPS / "kinetics400", root)
    lines = (root / "kinetics-400_val.csv").read_text().splitlines()
    (root / "kinetics-400_train.csv").write_text("\n".join(lines[:2]))
    (root / "kinetics-400_val.csv").write_text("\n".join([lines[0], *lines[2:]]))
    survey = index(of("kinetics400", root, tmp_path / "cache"))
    assert {name: count["n_used"] for name, count in survey.counts.items()} == {
        "train": 1,
        "clean": 2,
    }
    for fold in (1, 2, 3):
        for split in ("train", "validation"):
            rows, _ = ucf101.read(CLIPS, split, {"fold": fold})
            assert all(r.path.parent.name == "SoccerJuggling" for r in rows)

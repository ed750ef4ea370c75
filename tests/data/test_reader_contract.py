"""What every reader promises, on a tiny folder in the official form of its data set."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from sweep.data.catalogue import DATASETS, given_options
from sweep.data.image_files import is_image
from sweep.data.motes.make import encode
from sweep.data.prepare import prepare
from sweep.data.survey import plan
from sweep.run import main
from sweep.settings.data import DataSettings
from tests.data import caption_forms


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")


def ssv2(root):
    names = ("Dropping [something]", "Lifting [something]")
    write(root / "labels" / "labels.json", {n.replace("[", "").replace("]", ""): str(i)
                                            for i, n in enumerate(names)})  # fmt: skip
    ids = {"train": range(1, 7), "validation": range(7, 11)}
    for split, keys in ids.items():
        rows = [
            {"id": str(k), "label": "a cup", "template": names[k % 2], "placeholders": ["a cup"]}
            for k in keys
        ]
        write(root / "labels" / f"{split}.json", rows)
    return [f"20bn-something-something-v2/{k}.webm" for keys in ids.values() for k in keys]


def ucf101(root):
    lists, paths = root / "ucfTrainTestlist", []
    write(lists / "classInd.txt", "1 Archery\r\n2 YoYo\r\n")
    train, test = [], []
    for number, name in enumerate(("Archery", "YoYo"), start=1):
        for group in (1, 8, 9):
            for clip in (1, 2):
                path = f"{name}/v_{name}_g{group:02d}_c{clip:02d}.avi"
                paths.append(f"UCF-101/{path}")
                (test if group == 1 else train).append((path, number))
    for fold in (1, 2, 3):
        write(lists / f"trainlist0{fold}.txt", "".join(f"{p} {n}\r\n" for p, n in train))
        write(lists / f"testlist0{fold}.txt", "".join(f"{p}\r\n" for p, _ in test))
    return paths


def hmdb51(root):
    """With names as odd as the official ones; a film stands in both splits, by class in one."""
    paths = []
    odd = ("!April (09) #1 [a]", "Kung+Fu&Co;~@x", "Film_2")
    for name in ("climb", "climb_stairs"):
        for fold in (1, 2, 3):
            lines = []
            for number, film in enumerate(odd):
                film = film.replace(" ", "_")
                for clip in (0, 1):
                    file = f"{film}_{name}_f_cm_np1_le_med_{clip}.avi"
                    side = 1 + (number == fold - 1) if name == "climb" else 1 + (number == fold % 3)
                    lines.append(f"{file} {side} \n")
                    paths.append(f"hmdb51/{name}/{file}")
            lines.append(f"unused_{name}_f_cm_np1_le_med_0.avi 0 \n")
            write(
                root / "testTrainMulti_7030_splits" / f"{name}_test_split{fold}.txt", "".join(lines)
            )
    return sorted(set(paths))


def ucf101_ds(root):
    paths = ucf101(root)
    rows = [("web/YoYo/1.mp4", "YoYo", "Low light"), ("web/2.mp4", "1", "Low light"),
            ("web/3.mp4", "archery", "Cartoon")]  # fmt: skip
    text = "path,label,category\n" + "".join(f"{','.join(row)}\n" for row in rows)
    write(root / "ucf101-ds.csv", text)
    return [*paths, *(f"UCF101-DS/{name}" for name, *_ in rows)]


def kinetics400(root):
    """Labels with blanks are quoted in the official lists; folders of classes have no quotes."""
    paths = []
    names = ("dancing man", "massaging person's head")
    for split, count in (("train", 3), ("val", 2)):
        lines = ["label,youtube_id,time_start,time_end,split,is_cc"]
        for number in range(count):
            for name in names:
                key = f"-{split[0]}{name[0]}_{number}abcde"
                lines.append(f'"{name}",{key},{number},{number + 10},{split},0')
                folder = name.replace("'", "").replace(" ", "_")
                paths.append(f"{split}/{folder}/{key}_{number:06d}_{number + 10:06d}.mp4")
        write(root / f"kinetics-400_{split}.csv", "\n".join(lines) + "\n")
    return paths


def diving48(root):
    write(root / "Diving48_vocab.json", [["Back", "15som", "05Twis", "FREE"],
                                         ["Forward", "man", "NoTwis", "PIKE"]])  # fmt: skip
    paths = []
    for split, keys in (("train", ("-a_b_00001", "-a_b_00002", "c_00001")), ("test", ("d_00001",))):
        rows = [
            {"vid_name": key, "label": number % 2, "start_frame": 0, "end_frame": 7}
            for number, key in enumerate(keys)
        ]
        write(root / f"Diving48_V2_{split}.json", rows)
        paths += [f"rgb/{key}.mp4" for key in keys]
    return paths


def imagenet100(root):
    """In all of ImageNet, whose other classes are passed over; the list is not sorted."""
    write(root / "imagenet100.txt", "n02\nn01\n")
    paths = [f"{side}/{name}/{side}_{i}.JPEG" for side in ("train", "val")
             for name in ("n01", "n02") for i in (1, 2)]  # fmt: skip
    for side in ("train", "val"):
        (root / side / "n03").mkdir(parents=True)
    return paths


def folder(root):
    """No list, no `train/`: a fifth of every class is tested on. A class has no clip yet."""
    (root / "empty").mkdir(parents=True)
    return [f"{name}/day {i % 2}/{i}.mp4" for name in ("run", "walk") for i in range(8)]


def table(root):
    lines = ["path,label,caption,start,end"]
    names = [f"{i}.mp4" for i in range(12)]
    lines += [f"{name},{('Yo', 'man')[i % 2]},a man,," for i, name in enumerate(names)]
    lines += [f"{name},{('Yo', 'man')[i % 2]},two men,," for i, name in enumerate(names)]
    write(root / "clips.csv", "\n".join(lines) + "\n")
    return [f"videos/{name}" for name in names]


def path_list(root):
    write(root / "train.txt", "Film/1.mp4 Yo\nFilm/two words.mp4::man\nFilm/3 120 man\n")
    write(root / "val.txt", "Film/4.mp4 man\n")
    return [f"videos/Film/{name}.mp4" for name in ("1", "two words", "3", "4")]


#: Data set -> function that writes its annotation files and says where the videos belong.
FORMS = {
    "ssv2": ssv2, "ucf101": ucf101, "ucf101-ds": ucf101_ds, "hmdb51": hmdb51,
    "kinetics400": kinetics400, "diving48": diving48, "imagenet100": imagenet100, "folder": folder,
    "table": table, "list": path_list,
}  # fmt: skip
FORMS |= caption_forms.FORMS
ROWS = {row.name: row for row in DATASETS.values() if not row.embedded}
assert {row.reader for row in DATASETS.values()} == {row.reader for row in ROWS.values()}


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "one.mp4"
    encode(np.zeros((8, 32, 32, 3), np.uint8), path)
    return path


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp("image") / "one.png"
    Image.fromarray(np.zeros((32, 40, 3), np.uint8)).save(path)
    return path


@pytest.fixture(params=sorted(ROWS))
def form(request, tmp_path, video, image):
    """Row, root and videos of a data set."""
    assert ROWS[request.param].files, "`list datasets` says what is expected where"
    assert request.param in FORMS, "a new reader comes with a tiny folder in its official form"
    root = tmp_path / "set"
    videos = [root / name for name in FORMS[request.param](root)]
    for path in videos:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image if is_image(path) else video, path)
    return ROWS[request.param], root, videos


def read(row, root, options):
    reader = row.load()
    return {split: reader.read(root, split, options) for split in reader.splits(root, options)}


def options_of(row):
    """The options of a row, and each of the official splits where there are several."""
    return [{**row.options, "fold": n} for n in (1, 2, 3)] if "fold" in row.options else [{}]


def test_ids_are_unique_labels_fit_and_recordings_stand_on_one_side(form):
    row, root, videos = form
    for options in options_of(row):
        found = read(row, root, options)
        assert {"train", row.clean} <= found.keys()
        groups = {}
        for split, (records, labels) in found.items():
            assert records
            assert len({r.id for r in records}) == len(records)
            assert all(r.path in videos for r in records), "every video is found"
            assert all(r.group for r in records)
            classes = range(len(labels.names)) if row.labelled else {-1}
            assert {r.label for r in records} <= set(classes)
            assert row.captions == any(r.captions for r in records)
            groups[split] = {r.group for r in records}
        assert not groups["train"] & groups[row.clean]


def test_records_do_not_depend_on_which_videos_exist(form):
    row, root, videos = form
    before = read(row, root, row.options)
    if not row.is_listed:  # then the clips are the files, and the classes are the folders or a list
        for path in videos[::2]:
            path.unlink()
        after = read(row, root, row.options)
        for split, (_, labels) in before.items():
            assert after[split][1] == labels
            label_of = {r.path: r.label for own, _ in before.values() for r in own}
            assert all(r.label == label_of[r.path] for r in after[split][0])
        assert sum(len(own) for own, _ in after.values()) < sum(len(o) for o, _ in before.values())
        return
    for path in videos:
        path.unlink()
    after = read(row, root, row.options)
    for split, (records, labels) in before.items():
        assert after[split][1] == labels
        assert [(r.id, r.label, r.captions, r.group) for r in after[split][0]] == [
            (r.id, r.label, r.captions, r.group) for r in records
        ]
        assert all(r.path is None for r in after[split][0])


def test_a_missing_video_is_counted(form, tmp_path):
    row, root, _ = form
    settings = DataSettings(
        dataset=row.name, root=str(root), cache_dir=str(tmp_path / "cache"), workers=0,
        max_bad_fraction=1, max_overlap=1, cache_frames=4, size_px=16,
    )  # fmt: skip
    whole = prepare(settings)
    assert all(count["n_excluded"] == 0 for count in whole.counts.values())
    if not row.is_listed:
        return
    gone = next(r for r in row.load().read(root, "train", row.options)[0])
    gone.path.unlink()
    now = prepare(settings)
    assert now.counts["train"]["n_missing"] == 1
    assert now.counts["train"]["n_used"] == whole.counts["train"]["n_used"] - 1
    assert now.counts["clean"] == whole.counts["clean"]
    assert [e["id"] for e in now.excluded] == [gone.id]
    assert now.class_names == whole.class_names


def test_a_folder_without_the_lists_says_what_was_looked_for(form, tmp_path):
    row, _, _ = form
    (tmp_path / "holiday").mkdir()
    for root in (tmp_path / "holiday", tmp_path / "nowhere"):
        with pytest.raises(ValueError, match=re.escape(str(root)) + ".*looked"):
            row.load().splits(root, row.options)
    settings = DataSettings(dataset=row.name, root=str(tmp_path / "holiday"))
    with pytest.raises(ValueError, match="looked for"):
        prepare(settings)


def other_options(default):
    """Values of an option that are not its default: some that may be, some that cannot."""
    if isinstance(default, int):
        return [default + 1, default + 2, 10**6, -1, 2.5, "two", True]
    return ["utf-16", "latin-2", f"{default}x", "hex", 8, None]


def test_every_option_changes_something_or_is_refused(form, tmp_path):
    """By `plan`, with the name of the option or the file that it does not fit."""
    row, root, _ = form

    def found(**options):
        settings = DataSettings(
            dataset=row.name, root=str(root), cache_dir=str(tmp_path / "cache"), max_overlap=1,
            options=options,
        )  # fmt: skip
        plan(settings)
        given = {**row.options, **given_options(settings)}
        return row.load().splits(root, given), read(row, root, given)

    plain = found()
    assert found(**row.options) == plain
    for name, default in row.options.items():
        outcomes, told = [], []
        for value in other_options(default):
            try:
                outcomes.append("changed" if found(**{name: value}) != plain else "equal")
            except ValueError as error:
                told.append(str(error))
        assert told
        # the option, or the file that does not fit it
        assert all(f"data.options.{name}" in text or str(root) in text for text in told)
        if isinstance(default, int):
            assert "changed" in outcomes
            assert "equal" not in outcomes
    with pytest.raises(ValueError, match=r"has no option 'fould'.*allowed: "):
        plan(DataSettings(dataset=row.name, root=str(root), options={"fould": 2}))


def test_the_encoding_of_lists_is_that_of_the_option(form):
    """The same bytes are other words in another encoding, or none."""
    row, root, _ = form
    for path in root.rglob("*"):
        if path.suffix in {".json", ".csv", ".txt"}:
            text = path.read_text(encoding="utf-8")
            for plain, odd in (("Lifting", "L\u00e9vant"), ("Yo", "Y\u00f6"), ("man", "m\u00e4n"),
                               ("Film", "F\u00eflm"), ("n01", "n\u00e91")):  # fmt: skip
                text = text.replace(plain, odd)
            path.write_text(text, encoding="utf-8")
    if "encoding" not in row.options:
        assert not any(path.suffix in {".json", ".csv", ".txt"} for path in root.rglob("*"))
        return
    told = {}
    for encoding in ("utf-8", "latin-1", "ascii"):
        try:
            told[encoding] = read(row, root, {**row.options, "encoding": encoding})
        except ValueError as error:
            told[encoding] = str(error)
    assert told["utf-8"] != told["latin-1"]
    assert "not text in ascii" in told["ascii"]


def test_a_key_that_stands_twice_is_refused_with_file_and_key(form, tmp_path, capsys):
    """In every object of every JSON file that a reader reads, by `data index`."""
    row, root, _ = form
    pattern = re.compile(r'\{"([^"]+)": ("[^"]*"|\[[^\]]*\]|\d+)')
    found = {
        path: pattern.search(path.read_text(encoding="utf-8")) for path in root.rglob("*.json")
    }
    for path, key in found.items():
        text = path.read_text(encoding="utf-8")
        if key is None:
            assert "{" not in text
            continue
        path.write_text(text.replace(key[0], f'{key[0]}, "{key[1]}": "other"', 1), encoding="utf-8")
        assert json.loads(path.read_text(encoding="utf-8"))  # it is JSON
        more = ["data.options.val=2"] if path.name == "val_2.json" else []
        code = main(["data", "index", "--dataset", row.name, f"data.root={root}", *more])
        told = capsys.readouterr().err
        assert code == 2
        assert str(path) in told
        assert f"the key {key[1]!r} stands 2 times in one object (" in told
        assert '"other"' in told
        path.write_text(text, encoding="utf-8")
    without = {
        "ucf101", "ucf101-ds", "hmdb51", "kinetics400", "imagenet100", "folder", "table", "list",
        "lsmdc", "crosstask", "mosi",
    }  # fmt: skip
    assert bool(found) == (row.name not in without and not row.name.startswith("tgifqa"))

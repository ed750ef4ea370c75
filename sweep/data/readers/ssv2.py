"""Reader of Something-Something V2 folders: the official one, `motes-ssv2`, and a user's own.

A root holds a class file, `train.json`, `validation.json` and any number of shifted evaluation sets
`validation-<name>.json` (official names with their prefix `something-something-v2-` and the newer
folder `labels/` are found as well), and the videos in `videos/`, `20bn-something-something-v2/` or
beside the annotation. Lists of `path label` lines (`train.csv` or `.txt`, ...) may stand in for the
JSON files, and so may tables with the columns `filename` and `classname` (`train.csv`, and
`validation.csv`, `val.csv` or `test.csv`), as the robustness study has them. "test" in papers means
the validation set, since test labels were secret for years; `data.options.tested_on=test` takes the
test clips, whose answers are in `labels/test-answers.csv`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweep.data.label_maps import LabelMap
from sweep.data.readers.annotation import (
    VideoFolder,
    first_existing,
    in_folders,
    list_of,
    mapping_of,
    name_of,
    number_in,
    read_json,
    read_lines,
    read_path_labels,
    read_rows,
    require,
    split_called,
    with_shifts,
    without_brackets,
    without_suffix,
    words_of,
)
from sweep.data.records import Record, check_unique
from sweep.settings.names import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PREFIXES = ("", "something-something-v2-", "labels/", "labels/something-something-v2-")
_SUFFIXES = (".json", ".csv", ".txt")
_VIDEOS = ("videos", "20bn-something-something-v2", "rawframes", ".")
_TESTED = ("validation", "test")


def splits(root: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    """Annotation file of every split: "train", "validation" and the names of the shifts.

    Args:
        root: Folder of the data set.
        options: `tested_on`: `validation` (the default), or `test` for the test clips in its place;
            `encoding` of the text files, which :func:`read` reads.

    Raises:
        ValueError: No training or validation file; says which names were looked for.
    """
    tested_on = options.get("tested_on", "validation")
    if tested_on not in _TESTED:
        raise ValueError(f"data.options.tested_on: {tested_on!r} (allowed: {', '.join(_TESTED)})")
    train = require(root, _candidates("train"), "training annotation")
    if tested_on == "test":
        answers = in_folders(["test-answers.csv", "test.csv"], _PREFIXES)
        return {"train": train, "validation": require(root, answers, "answers of the test clips")}
    names = (*_candidates("validation"), *_candidates("val"), *in_folders(["test.csv"], _PREFIXES))
    found = {"train": train, "validation": require(root, names, "validation annotation")}
    patterns = in_folders(["*validation-*"], ("", "labels/"))
    return with_shifts(found, root, patterns, "validation-", _SUFFIXES)


def read(root: Path, split: str, options: Mapping[str, Any]) -> tuple[list[Record], LabelMap]:
    """Records of a split in file order, and the classes; no video is opened.

    Args:
        root: Folder of the data set.
        split: A key of :func:`splits`; see also ``annotation.split_called``.
        options: `encoding` of the text files.

    Raises:
        ValueError: A file is missing or says something that cannot be; names it.
    """
    known = splits(root, options)
    split = split_called(split, known, root)
    videos = VideoFolder(*(root / name for name in _VIDEOS))
    path = known[split]
    labels = _class_file(root)
    if _is_table(path, options):
        names = tuple(_class_index(labels, options)) if labels else None
        return _read_table(path, videos, names, known["train"], options)
    is_list = path.suffix != ".json"
    if is_list and not path.name.endswith("test-answers.csv"):
        return _read_list(path, videos, labels, known["train"], options)
    index = _class_index(labels or require(root, _candidates("labels"), "class file"), options)
    if is_list:
        return _read_answers(path, videos, index, options)
    captions_path = first_existing(root, in_folders(["captions.json"], _PREFIXES))
    captions = _captions(captions_path, options) if captions_path else {}
    records = []
    for number, item in enumerate(list_of(read_json(path, options), str(path))):
        row = mapping_of(item, f"{path}: item {number}")
        for name in ("id", "template"):
            if name not in row:
                raise ValueError(f"{path}: item {number} has no id or template")
        key = name_of(row["id"], f"{path}: item {number}: id")
        where = f"{path}: item {key}"
        template = without_brackets(words_of(row["template"], f"{where}: template"))
        if template not in index:
            hint = nearest(template, index)
            raise ValueError(f"{where}: unknown template {template!r}{hint}")
        own = captions.get(key, ())
        if "label" in row:
            sentence = words_of(row["label"], f"{where}: label")
            own = own or (sentence,)
        things = list_of(row.get("placeholders", []), f"{where}: placeholders")
        meta = {"placeholders": tuple(words_of(one, f"{where}: placeholders") for one in things)}
        records.append(Record(key, videos.find(key), index[template], own, group=key, meta=meta))
    check_unique(records, path)
    return records, LabelMap.of(index)


def _captions(path: Path, options: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Sentences of clips, by id."""
    found = {}
    for key, sentences in mapping_of(read_json(path, options), str(path)).items():
        where = f"{path}: item {key}"
        found[key] = tuple(words_of(one, where) for one in list_of(sentences, where))
    return found


def _candidates(name: str) -> tuple[str, ...]:
    return in_folders([name + suffix for suffix in _SUFFIXES], _PREFIXES)


def _class_file(root: Path) -> Path | None:
    return first_existing(root, in_folders(["labels.json"], _PREFIXES))


def _class_index(path: Path, options: Mapping[str, Any]) -> dict[str, int]:
    """Class names and their indices, in the order of the indices, which are 0..n-1."""
    index: dict[str, int] = {}
    for name, label in mapping_of(read_json(path, options), str(path)).items():
        text = name_of(label, f"{path}: class {name!r}")
        if number_in(text) < 0:
            raise ValueError(
                f"{path}: class {name!r}: {label!r} (allowed: its index, a number from 0)"
            )
        plain = without_brackets(words_of(name, f"{path}: name of class {text}"))
        if plain in index:
            raise ValueError(f"{path}: {plain!r} stands there twice")
        index[plain] = number_in(text)
    if sorted(index.values()) != list(range(len(index))):
        raise ValueError(f"{path}: the class indices are not 0..{len(index) - 1}")
    return dict(sorted(index.items(), key=lambda item: item[1]))


def _read_list(
    path: Path, videos: VideoFolder, labels: Path | None, train: Path, options: Mapping[str, Any]
) -> tuple[list[Record], LabelMap]:
    """A list of paths and labels; without a class file the training list says how many classes."""
    names = tuple(_class_index(labels, options)) if labels else None
    if names is None:
        trained = read_path_labels(train, videos, None, options)
        last = max((one.label for one in trained), default=-1)
        names = tuple(f"class {label}" for label in range(last + 1))
    records = read_path_labels(path, videos, names, options)
    check_unique(records, path)
    return records, LabelMap.of(names)


def _is_table(path: Path, options: Mapping[str, Any]) -> bool:
    """Whether a list has a heading with the columns of the robustness study."""
    if path.suffix != ".csv":
        return False
    first = next(iter(read_lines(path, options)), (0, ""))[1]
    return {"filename", "classname"} <= {name.strip('" ') for name in first.split(",")}


def _read_table(
    path: Path,
    videos: VideoFolder,
    names: tuple[str, ...] | None,
    train: Path,
    options: Mapping[str, Any],
) -> tuple[list[Record], LabelMap]:
    """A table of clips and names of classes.

    Quirk: fixed. The study numbers the classes of whatever table it reads; here the class file
    does, or else the training table, in the order of the names.
    """
    if names is None:
        if not _is_table(train, options):
            raise ValueError(f"{train}: not the columns filename and classname, as in {path.name}")
        names = tuple(sorted({name for _, _, name in _table_rows(train, options)}))
    index = {name: label for label, name in enumerate(names)}
    records = []
    for where, file, name in _table_rows(path, options):
        if name not in index:
            raise ValueError(f"{where}: unknown class {name!r}{nearest(name, index)}")
        key = without_suffix(file)
        records.append(Record(key, videos.find(file), index[name], group=key))
    check_unique(records, path)
    return records, LabelMap.of(names)


def _table_rows(path: Path, options: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Place, file and class name of every row."""
    rows = []
    for place, given in read_rows(path, options):
        row = {name.strip(): text.strip() for name, text in given.items()}
        if not row["filename"] or not row["classname"]:
            raise ValueError(f"{path}:{place}: no filename or classname")
        rows.append((f"{path}:{place}", row["filename"], without_brackets(row["classname"])))
    return rows


def _read_answers(
    path: Path, videos: VideoFolder, index: Mapping[str, int], options: Mapping[str, Any]
) -> tuple[list[Record], LabelMap]:
    """Answers to the test clips: `id;template`, without a heading and without sentences."""
    records = []
    for place, line in read_lines(path, options):
        key, _, template = (part.strip() for part in line.partition(";"))
        template = without_brackets(template)
        if not key or template not in index:
            hint = nearest(template, index)
            raise ValueError(f"{path}:{place}: not an id and a template: {line!r}{hint}")
        records.append(Record(key, videos.find(key), index[template], group=key))
    check_unique(records, path)
    return records, LabelMap.of(index)

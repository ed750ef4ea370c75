"""Reader of Something-Something V2 folders: the official one, `motes-ssv2`, and a user's own.

A root holds a class file, `train.json`, `validation.json` and any number of shifted evaluation sets
`validation-<name>.json` (official names with their prefix `something-something-v2-` and the newer
folder `labels/` are found as well), and the videos in `videos/`, `20bn-something-something-v2/` or
beside the annotation. Lists of `path label` lines (`train.csv` or `.txt`, ...) may stand in for the
JSON files. "test" in papers means the validation set, since test labels were secret for years.
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
    read_path_labels,
    require,
    split_called,
    with_shifts,
    without_brackets,
    words_of,
)
from sweep.data.records import Record, check_unique
from sweep.settings.names import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PREFIXES = ("", "something-something-v2-", "labels/", "labels/something-something-v2-")
_SUFFIXES = (".json", ".csv", ".txt")
_VIDEOS = ("videos", "20bn-something-something-v2", ".")


def splits(root: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    """Annotation file of every split: "train", "validation" and the names of the shifts.

    Args:
        root: Folder of the data set.
        options: `encoding` of the text files, which :func:`read` reads.

    Raises:
        ValueError: No training or validation file; says which names were looked for.
    """
    del options
    found = {
        "train": require(root, _candidates("train"), "training annotation"),
        "validation": require(
            root, (*_candidates("validation"), *_candidates("val")), "validation annotation"
        ),
    }
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
    if path.suffix != ".json":
        return _read_list(path, videos, labels, known["train"], options)
    index = _class_index(labels or require(root, _candidates("labels"), "class file"), options)
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

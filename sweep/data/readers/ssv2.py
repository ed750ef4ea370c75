"""Reader of Something-Something V2 folders: the official one, `motes-ssv2`, and a user's own.

A root holds a class file, `train.json`, `validation.json` and any number of shifted evaluation sets
`validation-<name>.json` (official names with their prefix `something-something-v2-` and the newer
folder `labels/` are found as well), and the videos in `videos/`, `20bn-something-something-v2/` or
beside the annotation. Lists of `path label` lines (`train.csv` or `.txt`, ...) may stand in for the
JSON files. "test" in papers means the validation set, since test labels were secret for years.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sweep.data.label_maps import LabelMap
from sweep.data.readers.annotation import (
    VideoFolder,
    check_split,
    first_existing,
    read_path_labels,
    require,
    without_brackets,
)
from sweep.data.records import Record, check_unique
from sweep.settings.section import nearest

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
        options: None for this format.

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
    folders = dict.fromkeys(
        (root / prefix).parent if prefix.endswith("-") else root / prefix for prefix in _PREFIXES
    )
    for folder in folders:
        for path in sorted(folder.glob("*validation-*")):
            name = path.stem.partition("validation-")[2]
            if path.suffix in _SUFFIXES and name:
                found.setdefault(name, path)
    return found


def read(root: Path, split: str, options: Mapping[str, Any]) -> tuple[list[Record], LabelMap]:
    """Records of a split in file order, and the classes; no video is opened.

    Args:
        root: Folder of the data set.
        split: A key of :func:`splits`; `validation-<shift>` means `<shift>`.
        options: None for this format.

    Raises:
        ValueError: A file is missing or says something that cannot be; names it.
    """
    known = splits(root, options)
    split = split.removeprefix("validation-")
    check_split(split, known, root)
    videos = VideoFolder(*(root / name for name in _VIDEOS))
    path = known[split]
    labels = _class_file(root)
    if path.suffix != ".json":
        return _read_list(path, videos, labels, known["train"])
    index = _class_index(labels or require(root, _candidates("labels"), "class file"))
    captions_path = first_existing(root, [prefix + "captions.json" for prefix in _PREFIXES])
    captions = _json(captions_path) if captions_path else {}
    if not isinstance(captions, dict):
        raise ValueError(f"{captions_path}: not clips and their lists of captions")  # noqa: TRY004
    rows = _json(path)
    if not isinstance(rows, list):
        raise ValueError(f"{path}: not a list of clips, each with its id and template")  # noqa: TRY004
    records = []
    for number, row in enumerate(rows):
        try:
            key, template = str(row["id"]), without_brackets(row["template"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: item {number} has no id or template") from error
        if template not in index:
            hint = nearest(template, index)
            raise ValueError(f"{path}: item {key}: unknown template {template!r}{hint}")
        sentence = row.get("label")
        sentences = captions.get(key) or ([sentence] if sentence else [])
        if not _are_words(sentences):
            raise ValueError(f"{path}: item {key}: captions are {sentences!r}, not sentences")
        own = tuple(sentences)
        placeholders = row.get("placeholders") or []
        if not _are_words(placeholders):
            raise ValueError(f"{path}: item {key}: placeholders are {placeholders!r}, not words")
        meta = {"placeholders": tuple(placeholders)}
        records.append(Record(key, videos.find(key), index[template], own, key, meta))
    check_unique(records, path)
    return records, LabelMap.of(index)


def _candidates(name: str) -> tuple[str, ...]:
    return tuple(prefix + name + suffix for suffix in _SUFFIXES for prefix in _PREFIXES)


def _class_file(root: Path) -> Path | None:
    return first_existing(root, [prefix + "labels.json" for prefix in _PREFIXES])


def _class_index(path: Path) -> dict[str, int]:
    """Class names and their indices, in the order of the indices, which are 0..n-1."""
    content = _json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: not classes and their numbers, such as {{'Moving': 0}}")  # noqa: TRY004
    index = {}
    for name, label in content.items():
        if not str(label).isdecimal():
            raise ValueError(f"{path}: the number of class {name!r} is {label!r}, not 0, 1, 2 ...")
        index[without_brackets(name)] = int(label)
    if sorted(index.values()) != list(range(len(index))):
        raise ValueError(f"{path}: the class indices are not 0..{len(index) - 1}")
    return dict(sorted(index.items(), key=lambda item: item[1]))


def _read_list(
    path: Path, videos: VideoFolder, labels: Path | None, train: Path
) -> tuple[list[Record], LabelMap]:
    """A list of paths and labels; without a class file the training list says how many classes."""
    names = tuple(_class_index(labels)) if labels else None
    if names is None:
        last = max((one.label for one in read_path_labels(train, videos, None)), default=-1)
        names = tuple(f"class {label}" for label in range(last + 1))
    records = read_path_labels(path, videos, names)
    check_unique(records, path)
    return records, LabelMap.of(names)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error


def _are_words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)

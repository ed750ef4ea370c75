"""Reader of Diving-48 folders in the official form of its second version (V2).

A root holds `Diving48_V2_train.json`, `Diving48_V2_test.json` and `Diving48_vocab.json` (or the
class names, one a line, in `label_map.txt`), and the videos in `rgb/`. The labels of the first
version are wrong for many clips; its files are refused.
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
    read_class_names,
    read_json,
    require,
    split_called,
    with_shifts,
    words_of,
)
from sweep.data.records import Record, check_unique

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FOLDERS = ("", "annotations/")
_VIDEOS = ("rgb", "videos", "rawframes", ".")
_FIRST = ("Diving48_train.json", "Diving48_test.json")
_SECOND = {"train": "Diving48_V2_train.json", "validation": "Diving48_V2_test.json"}


def splits(root: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    """File of every split: "train", "validation" (the test clips) and the names of the shifts.

    Args:
        root: Folder of the data set.
        options: `encoding` of the text files, which :func:`read` reads.

    Raises:
        ValueError: No file of one of them; says which names were looked for, or that those of the
            first version are no substitute.
    """
    del options
    first = first_existing(root, in_folders(_FIRST, _FOLDERS))
    second = first_existing(root, in_folders(_SECOND.values(), _FOLDERS))
    if first is not None and second is None:
        raise ValueError(
            f"{first}: the first version of Diving-48, many of whose labels are wrong; looked for "
            f"{' and '.join(_SECOND.values())}, the second version of 2020"
        )
    found = {
        name: require(root, in_folders([file], _FOLDERS), f"{name} file")
        for name, file in _SECOND.items()
    }
    return with_shifts(
        found, root, in_folders(["Diving48_V2_test-*.json"], _FOLDERS), "Diving48_V2_test-"
    )


def read(root: Path, split: str, options: Mapping[str, Any]) -> tuple[list[Record], LabelMap]:
    """Records of a split in file order, and the classes; no video is opened.

    Args:
        root: Folder of the data set.
        split: A key of :func:`splits`.
        options: See :func:`splits`.

    Raises:
        ValueError: A file is missing or says something that cannot be; names it.
    """
    known = splits(root, options)
    path = known[split_called(split, known, root)]
    names = _class_names(root, options)
    videos = VideoFolder(*(root / name for name in _VIDEOS))
    records = []
    for number, item in enumerate(list_of(read_json(path, options), str(path))):
        row = mapping_of(item, f"{path}: item {number}")
        key = name_of(row.get("vid_name"), f"{path}: item {number}: vid_name")
        label = row.get("label")
        if not isinstance(label, int) or isinstance(label, bool) or not 0 <= label < len(names):
            raise ValueError(
                f"{path}: item {key}: label: {label!r} (allowed: 0 to {len(names) - 1})"
            )
        # competitions are cut into dives: `<recording>_<number>`
        group = key.rpartition("_")[0] or key
        records.append(Record(key, videos.find(key, any_case=False), label, group=group))
    check_unique(records, path)
    return records, LabelMap.of(names)


def _class_names(root: Path, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Take-off, somersault, twist and position, joined by `+` as lists in circulation have them."""
    names = ("Diving48_vocab.json", "label_map.txt")
    path = require(root, in_folders(names, _FOLDERS), "class file")
    if path.suffix != ".json":
        return read_class_names(path, options)
    found: dict[str, int] = {}
    for number, item in enumerate(list_of(read_json(path, options), str(path))):
        where = f"{path}: class {number}"
        name = "+".join(words_of(part, where) for part in list_of(item, where))
        if not name or name in found:
            raise ValueError(f"{where}: {name!r} stands there twice, or is empty")
        found[name] = number
    return tuple(found)

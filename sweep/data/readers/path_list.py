"""Reader of lists of `path label` lines, as the families of TSN, VideoMAE and V-JEPA have them.

A root holds `train.txt` and one of `test.txt` and `val.txt` (or `.csv`; or the names that
`data.options.train` and `data.options.test` say); any `test-<name>.txt` is a shifted test set.
Paths are absolute, or below the root or its `videos/`; a label is an index from 0, or a name. A
line of three columns is one of a list of frame folders: path, number of frames, label. Names of
classes come from a class file (`classes.txt`, or `labels.csv` with `id,name`), else from the
training list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweep.data.readers.annotation import (
    CLASS_FILES,
    Classes,
    VideoFolder,
    first_existing,
    read_class_names,
    read_lines,
    require,
    split_called,
    with_shifts,
    without_suffix,
)
from sweep.data.records import Record, check_unique

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sweep.data.label_maps import LabelMap

_SUFFIXES = (".txt", ".csv", ".lst")
_TRAIN = ("train", "train_list", "trainlist")
_TEST = ("test", "test_list", "testlist", "val", "val_list", "validation")
_VIDEOS = (".", "videos", "rawframes", "frames")


def splits(root: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    """List of every split: "train", "validation" (what is tested on) and the names of the shifts.

    Args:
        root: Folder of the data set.
        options: `train` and `test`: names of lists below the root; `encoding` of the lists.

    Raises:
        ValueError: No list of one of them; says which names were looked for.
    """
    found = {
        "train": _list(root, "train", _TRAIN, options),
        "validation": _list(root, "test", _TEST, options),
    }
    return with_shifts(found, root, ["test-*"], "test-", _SUFFIXES)


def read(root: Path, split: str, options: Mapping[str, Any]) -> tuple[list[Record], LabelMap]:
    """Records of a split in list order, and the classes; no video is opened.

    Args:
        root: Folder of the data set.
        split: A key of :func:`splits`.
        options: See :func:`splits`.

    Raises:
        ValueError: A file is missing or says something that cannot be; names it.
    """
    known = splits(root, options)
    path = known[split_called(split, known, root)]
    named = first_existing(root, CLASS_FILES)
    given = read_class_names(named, options) if named else None
    trained = [label for _, _, label in _rows(known["train"], options)]
    rows = _rows(path, options)
    labels, space = Classes.of(trained, given).labels_of([(where, text) for where, _, text in rows])
    videos = VideoFolder(*(root / name for name in _VIDEOS))
    records = []
    for (_, name, _), label in zip(rows, labels, strict=True):
        key = without_suffix(name)
        records.append(Record(key, videos.find(name), label, group=key))
    check_unique(records, path)
    return records, space


def _list(root: Path, side: str, names: tuple[str, ...], options: Mapping[str, Any]) -> Path:
    name = options.get(side) or ""
    if not isinstance(name, str):
        raise ValueError(f"data.options.{side}: the name of a list, given {name!r}")  # noqa: TRY004
    if name:
        path = root / name
        if not path.is_file():
            raise ValueError(f"data.options.{side}: looked for {path}, which is no file")
        return path
    return require(root, [n + s for n in names for s in _SUFFIXES], f"{side} list of `path label`")


def _rows(path: Path, options: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Place, path and label of every line; paths may hold blanks where they end with `::`."""
    rows = []
    for number, line in read_lines(path, options):
        where = f"{path}:{number}"
        separator = "::" if "::" in line else None
        parts = [part.strip() for part in line.split(separator)]
        if len(parts) == 3 and parts[1].isdecimal():
            parts = [parts[0], parts[2]]
        elif separator is None and len(parts) > 2:
            parts = [part.strip() for part in line.rsplit(None, 1)]
        if len(parts) != 2 or not all(parts):
            raise ValueError(f"{where}: not a path and a label: {line!r}")
        rows.append((where, parts[0], parts[1]))
    return rows

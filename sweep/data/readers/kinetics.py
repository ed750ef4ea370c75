"""Reader of Kinetics-400 folders, and those of its sisters (600, 700), in the official form.

A root holds a list for training and one for validation, `train.csv` and `val.csv` under the names
under which they circulate, with the columns `label`, `youtube_id`, `time_start`, `time_end` (or
`start`, `end`). Videos are `<youtube_id>_<start>_<end>.mp4` with six digits each, or
`<youtube_id>.mp4`, in `<split>/<class>/`, `<class>/`, `<split>/` or side by side; the folder of a
class has its name with blanks or with `_`, with or without quotes and brackets. Classes are
numbered in the order of their names: those of a class file, or of the training list. The official
test list has no labels and is not read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sweep.data.label_maps import LabelMap
from sweep.data.readers.annotation import (
    VideoFolder,
    first_existing,
    in_folders,
    number_in,
    read_class_names,
    read_rows,
    require,
    split_called,
    with_shifts,
)
from sweep.data.records import Record, check_unique
from sweep.settings.names import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FOLDERS = ("", "annotations/", "lists/")
_PREFIXES = ("", "kinetics-400_", "kinetics400_", "kinetics_", "k400_")
_CLASSES = (
    "kinetics_label_map.txt",
    "label_map_k400.txt",
    "kinetics_400_labels.csv",
    "classes.txt",
)
_VIDEOS = (
    *("train", "val", "validate", "videos", "videos_train", "videos_val", "rawframes_train"),
    *("rawframes_val", "train_256", "val_256", "."),
)
#: What the makers of copies take out of the names of classes to make names of folders of them.
_DROPPED = re.compile(r"[\"'()]")


def splits(root: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    """List of every split: "train", "validation", and shifts from files `val-<name>.csv`.

    Args:
        root: Folder of the data set.
        options: `encoding` of the lists, which :func:`read` reads.

    Raises:
        ValueError: No list of one of them; says which names were looked for.
    """
    del options
    found = {
        "train": require(root, _lists("train"), "training list"),
        "validation": require(
            root, (*_lists("val"), *_lists("validate"), *_lists("validation")), "validation list"
        ),
    }
    return with_shifts(found, root, in_folders(["val-*.csv"], _FOLDERS), "val-")


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
    names = _class_names(root, known["train"], options)
    index = {name: label for label, name in enumerate(names)}
    videos = _Videos(root)
    records = []
    for place, row in _rows(path, options):
        where, name = f"{path}:{place}", row["label"]
        if name not in index:
            raise ValueError(f"{where}: unknown class {name!r}{nearest(name, index)}")
        key = row["youtube_id"]
        start, end = (_second(row, side, where) for side in ("start", "end"))
        clip = f"{key}_{start:06d}_{end:06d}"
        file = videos.find(name, clip) or videos.find(name, key)
        records.append(Record(clip, file, index[name], group=key))
    check_unique(records, path)
    return records, LabelMap.of(names)


class _Videos:
    """The videos below a root, by class and name, exactly: YouTube ids may differ in case alone."""

    def __init__(self, root: Path) -> None:
        self.videos = VideoFolder(*(root / name for name in _VIDEOS))
        self.folders: dict[str, set[str]] = {}
        for base in self.videos.folders:
            for path in base.iterdir():
                if path.is_dir():
                    self.folders.setdefault(_plain(path.name), set()).add(path.name)

    def find(self, name: str, stem: str) -> Path | None:
        """The video of a clip: in a folder of its class, else beside the others."""
        for folder in sorted(self.folders.get(_plain(name), ())):
            if found := self.videos.find(f"{folder}/{stem}", any_case=False):
                return found
        return self.videos.find(stem, any_case=False)


def _plain(name: str) -> str:
    return _DROPPED.sub("", name.lower()).replace(" ", "_")


def _lists(name: str) -> tuple[str, ...]:
    return in_folders([f"{prefix}{name}.csv" for prefix in _PREFIXES], _FOLDERS)


def _rows(path: Path, options: Mapping[str, Any]) -> list[tuple[int, dict[str, str]]]:
    """Line number and fields of every row: `label`, `youtube_id`, `start`, `end` among them."""
    rows = []
    for place, given in read_rows(path, options):
        row = {name.strip().removeprefix("time_"): text.strip() for name, text in given.items()}
        lacking = [name for name in ("label", "youtube_id", "start", "end") if not row.get(name)]
        if lacking:
            raise ValueError(
                f"{path}:{place}: no {lacking[0]} (allowed: the columns label, youtube_id, "
                "time_start and time_end; the official test list has no labels)"
            )
        rows.append((place, row))
    return rows


def _second(row: Mapping[str, str], side: str, where: str) -> int:
    whole, _, rest = row[side].partition(".")
    if number_in(whole) < 0 or rest.strip("0"):
        raise ValueError(f"{where}: time_{side}: {row[side]!r} (allowed: whole seconds)")
    return number_in(whole)


def _class_names(root: Path, train: Path, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Class names in their order, from a class file, else from the training list."""
    path = first_existing(root, in_folders(_CLASSES, _FOLDERS))
    if path is not None:
        return read_class_names(path, options)
    return tuple(sorted({row["label"] for _, row in _rows(train, options)}))

"""Reader of HMDB51 folders: the official one, and a user's own of the same form.

A root holds `testTrainMulti_7030_splits/` (or the lists themselves) with one list per class and
split, `<class>_test_split<N>.txt`: a file name and 1 (train), 2 (test) or 0 (in neither, 1,666 of
the official clips) on every line. Videos stand in `<class>/` below `hmdb51/`, `hmdb51_org/`,
`videos/` or the root. Class numbers are the alphabetical order of the class names.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from sweep.data.label_maps import LabelMap
from sweep.data.readers.annotation import (
    VideoFolder,
    fold_of,
    in_folders,
    missing,
    read_entries,
    split_called,
    without_suffix,
)
from sweep.data.records import Record, check_unique

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FOLDERS = ("testTrainMulti_7030_splits/", "", "annotations/")
_VIDEOS = ("hmdb51", "hmdb51_org", "HMDB51", "videos", ".")
_SIDES = {"train": "1", "validation": "2"}


def splits(root: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    """Folder of the lists, which both splits share: "train" and "validation" (the test clips).

    Args:
        root: Folder of the data set.
        options: `fold`: which of the official splits, from 1 (default 1); `encoding` of the lists.

    Raises:
        ValueError: No lists of that fold; says which names were looked for.
    """
    folder = next(iter(_lists(root, fold_of(options)).values())).parent
    return dict.fromkeys(_SIDES, folder)


def read(root: Path, split: str, options: Mapping[str, Any]) -> tuple[list[Record], LabelMap]:
    """Records of a split by class, in list order; no video is opened.

    Args:
        root: Folder of the data set.
        split: A key of :func:`splits`.
        options: See :func:`splits`.

    Raises:
        ValueError: A file is missing or says something that cannot be; names it.
    """
    split = split_called(split, _SIDES, root)
    lists = _lists(root, fold_of(options))
    videos = VideoFolder(*(root / name for name in _VIDEOS))
    rows = {
        name: [(file, side) for file, side in _rows(path, options) if side != "0"]
        for name, path in lists.items()
    }
    classes = Counter(
        stem for files in rows.values() for stem in {without_suffix(file) for file, _ in files}
    )
    records = []
    for label, (name, path) in enumerate(lists.items()):
        own = [
            _record(name, file, label, videos, is_twin=classes[without_suffix(file)] > 1)
            for file, side in rows[name]
            if side == _SIDES[split]
        ]
        check_unique(own, path)
        records += own
    check_unique(records, next(iter(lists.values())).parent)
    return records, LabelMap.of(lists)


def _rows(path: Path, options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """File and side (0, 1 or 2) of every line."""
    rows = []
    for entry in read_entries(path, options):
        if not entry.name or entry.last not in {"0", "1", "2"}:
            raise ValueError(f"{entry.where}: not a file name and 0, 1 or 2: {entry.text!r}")
        rows.append((entry.name, entry.last))
    return rows


def _record(name: str, file: str, label: int, videos: VideoFolder, *, is_twin: bool) -> Record:
    """A clip of a class; its recording is the film before the class in the file name.

    One film may stand in both splits with clips of different classes, never of the same class.
    The id is the stem, below the class where other classes have a file of that name.
    """
    stem = without_suffix(file)
    film = re.match(rf"(.+)_{re.escape(name)}_", stem)
    group = f"{name}/{film[1] if film else stem}"
    key = f"{name}/{stem}" if is_twin else stem
    return Record(key, videos.find(f"{name}/{file}"), label, group=group)


def _lists(root: Path, fold: int) -> dict[str, Path]:
    """List of every class, in the order of the class names."""
    suffix = f"_test_split{fold}.txt"
    for folder in _FOLDERS:
        every = sorted({path.name.rpartition("_test_split")[0] for path in _any(root / folder)})
        lists = {name: root / folder / f"{name}{suffix}" for name in every}
        lacking = [path for path in lists.values() if not path.is_file()]
        if len(lacking) < len(lists):
            if lacking:
                raise ValueError(f"{lacking[0]}: there is no such list, unlike for other classes")
            return lists
    raise missing(root, in_folders([f"<class>{suffix}"], _FOLDERS), "list of a split")


def _any(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*_test_split*.txt") if path.is_file()]

"""Reader of HMDB51 folders: the official one, and a user's own of the same form.

A root holds `testTrainMulti_7030_splits/` (or the lists themselves) with one list per class and
split, `<class>_test_split<N>.txt`: a file name and 1 (train), 2 (test) or 0 (in neither, 1,666 of
the official clips) on every line. Videos stand in `<class>/` below `hmdb51/`, `hmdb51_org/`,
`videos/` or the root. Class numbers are the alphabetical order of the class names.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sweep.data.label_maps import LabelMap
from sweep.data.readers.annotation import (
    VideoFolder,
    check_split,
    fold_of,
    missing,
    read_lines,
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
        options: `fold`: which of the official splits, from 1 (default 1).

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
    check_split(split, _SIDES, root)
    lists = _lists(root, fold_of(options))
    videos = VideoFolder(*(root / name for name in _VIDEOS))
    records = []
    for label, (name, path) in enumerate(lists.items()):
        of_class: list[Record] = []
        for number, line in enumerate(read_lines(path), start=1):
            file, _, side = line.rpartition(" ")
            if not file or side not in {"0", "1", "2"}:
                raise ValueError(f"{path}:{number}: not a file name and 0, 1 or 2: {line!r}")
            if side == _SIDES[split]:
                of_class.append(_record(name, file.strip(), label, videos))
        check_unique(of_class, path)
        records += of_class
    check_unique(records, next(iter(lists.values())).parent)
    return records, LabelMap.of(lists)


def _record(name: str, file: str, label: int, videos: VideoFolder) -> Record:
    """A clip of a class; its recording is the film before the class in the file name.

    One film may stand in both splits with clips of different classes, never of the same class.
    """
    stem = without_suffix(file)
    film = re.match(rf"(.+)_{re.escape(name)}_", stem)
    group = f"{name}/{film[1] if film else stem}"
    return Record(stem, videos.find(f"{name}/{file}"), label, group=group)


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
    raise missing(root, [f"{folder}<class>{suffix}" for folder in _FOLDERS], "list of a split")


def _any(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*_test_split*.txt") if path.is_file()]

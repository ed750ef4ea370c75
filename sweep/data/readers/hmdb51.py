"""Reader of HMDB51 folders: the official one, and a user's own of the same form.

A root holds `testTrainMulti_7030_splits/` (or the lists themselves) with one list per class and
split, `<class>_test_split<N>.txt`: a file name and 1 (train), 2 (test) or 0 (in neither, 1,666 of
the official clips) on every line; or `hmdb51.csv` with the columns `video_id`, `label`
(`<class>_test`), `split1`, `split2`, `split3`, as VT-TWINS has it. Videos stand in `<class>/` below
`hmdb51/`, `hmdb51_org/`, `hmdb/`, `videos/` or the root. Class numbers are the alphabetical order
of the class names.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.data.label_maps import LabelMap
from sweep.data.readers.annotation import (
    VideoFolder,
    first_existing,
    fold_of,
    in_folders,
    missing,
    read_entries,
    read_rows,
    split_called,
    without_suffix,
)
from sweep.data.records import Record, check_unique

if TYPE_CHECKING:
    from collections.abc import Mapping

_FOLDERS = ("testTrainMulti_7030_splits/", "", "annotations/")
_TABLE = "hmdb51.csv"
_VIDEOS = ("hmdb51", "hmdb51_org", "HMDB51", "hmdb", "videos", "rawframes", ".")
_SIDES = {"train": "1", "validation": "2"}


def splits(root: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    """Folder of the lists, or the table: "train" and "validation" (the test clips) share it.

    Args:
        root: Folder of the data set.
        options: `fold`: which of the official splits, from 1 (default 1); `encoding` of the lists.

    Raises:
        ValueError: No lists of that fold; says which names were looked for.
    """
    lists = _lists(root, fold_of(options))
    return dict.fromkeys(_SIDES, lists if isinstance(lists, Path) else _folder_of(lists))


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
    fold = fold_of(options)
    lists = _lists(root, fold)
    videos = VideoFolder(*(root / name for name in _VIDEOS))
    if isinstance(lists, Path):
        place, every = lists, _table(lists, fold, options)
    else:
        place = _folder_of(lists)
        every = {name: _rows(path, options) for name, path in lists.items()}
    rows = {name: [(f, side) for f, side in own if side != "0"] for name, own in every.items()}
    classes = Counter(
        stem for files in rows.values() for stem in {without_suffix(file) for file, _ in files}
    )
    records = []
    for label, name in enumerate(rows):
        own = [
            _record(name, file, label, videos, is_twin=classes[without_suffix(file)] > 1)
            for file, side in rows[name]
            if side == _SIDES[split]
        ]
        check_unique(own, lists if isinstance(lists, Path) else lists[name])
        records += own
    check_unique(records, place)
    return records, LabelMap.of(rows)


def _table(path: Path, fold: int, options: Mapping[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """File and side of every clip, by class in the order of the names."""
    column = f"split{fold}"
    rows: dict[str, list[tuple[str, str]]] = {}
    for place, row in read_rows(path, options):
        file, label, side = (row.get(name, "").strip() for name in ("video_id", "label", column))
        if column not in row:
            raise ValueError(f"{path}: data.options.fold: looked for a column {column}")
        if not file or not label or side not in {"0", "1", "2"}:
            raise ValueError(f"{path}:{place}: not a video_id, a label and 0, 1 or 2 in {column}")
        rows.setdefault(label.removesuffix("_test"), []).append((file.rpartition("/")[2], side))
    return {name: rows[name] for name in sorted(rows)}


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


def _folder_of(lists: Mapping[str, Path]) -> Path:
    return next(iter(lists.values())).parent


def _lists(root: Path, fold: int) -> dict[str, Path] | Path:
    """List of every class, in the order of the class names; the table where there are no lists."""
    suffix = f"_test_split{fold}.txt"
    for folder in _FOLDERS:
        every = sorted({path.name.rpartition("_test_split")[0] for path in _any(root / folder)})
        lists = {name: root / folder / f"{name}{suffix}" for name in every}
        lacking = [path for path in lists.values() if not path.is_file()]
        if len(lacking) < len(lists):
            if lacking:
                raise ValueError(f"{lacking[0]}: there is no such list, unlike for other classes")
            return lists
    tables = in_folders([_TABLE], _FOLDERS)
    table = first_existing(root, tables)
    if table is None or any(_any(root / folder) for folder in _FOLDERS):
        raise missing(
            root, (*in_folders([f"<class>{suffix}"], _FOLDERS), *tables), "list of a split"
        )
    return table


def _any(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*_test_split*.txt") if path.is_file()]

"""Reader of UCF101 folders: the official one, `motes-ucf`, and a user's own of the same form.

A root holds `ucfTrainTestlist/` (or the lists themselves) with `classInd.txt`, `trainlist0N.txt`,
`testlist0N.txt` and any number of shifted evaluation sets `testlist-<name>.txt`, and the videos in
`UCF-101/<Class>/`. The test list is the validation split. Where there are no lists, `ucf.csv` says
the same, as VT-TWINS has it: the columns `video_id` (with the folder), `label` (from 1), `split1`
to `split3` (1 = train, 2 = test).

`data.options.shifts` of the data set `ucf101-ds` adds test sets of UCF101-DS, clips from the web of
the same classes: a table `ucf101-ds.csv` with the columns `path`, `label` (a class name, or its
number in `classInd.txt`) and, if any, `shift` and `category`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.data.label_maps import LabelMap
from sweep.data.readers.annotation import (
    VideoFolder,
    first_existing,
    fold_of,
    in_folders,
    number_in,
    read_entries,
    read_lines,
    read_rows,
    require,
    split_called,
    with_shifts,
)
from sweep.data.records import Record, check_unique

if TYPE_CHECKING:
    from collections.abc import Mapping

_FOLDERS = ("ucfTrainTestlist/", "", "annotations/")
_VIDEOS = ("UCF-101", "UCF101", "videos", "rawframes", ".")
_TABLES = ("ucf.csv", "ucf101.csv")
_SHIFTED = (
    "ucf101-ds.csv",
    "UCF101-DS.csv",
    "UCF101-DS/ucf101-ds.csv",
    "UCF101-DS/annotations.csv",
)
_SHIFTED_VIDEOS = ("UCF101-DS", "ucf101-ds", "videos", ".")
_KINDS = ("category", "shift", "all")


def splits(root: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    """List of every split: "train", "validation" (the test list) and the names of the shifts.

    Args:
        root: Folder of the data set.
        options: `fold`: which of the official splits, from 1 (default 1); `encoding` of the lists;
            `shifts` of UCF101-DS: a test set per `category`, per `shift`, or one of `all`.

    Raises:
        ValueError: No train or test list of that fold; says which names were looked for.
    """
    found = _lists(root, options)
    if "shifts" not in options:
        return found
    shifted = require(root, _SHIFTED, "table of UCF101-DS")
    return found | {name: shifted for *_, name in _shifted_rows(shifted, options)}


def read(root: Path, split: str, options: Mapping[str, Any]) -> tuple[list[Record], LabelMap]:
    """Records of a split in list order, and the classes; no video is opened.

    Args:
        root: Folder of the data set.
        split: A key of :func:`splits`; `test` means `validation`, `test-<shift>` means `<shift>`.
        options: See :func:`splits`.

    Raises:
        ValueError: A file is missing or says something that cannot be; names it.
    """
    known = splits(root, options)
    split = split_called(split, known, root)
    lists = _lists(root, options)
    names = _class_names(root, lists["train"], options)
    index = {name.lower(): label for label, name in enumerate(names)}
    path = known[split]
    if split not in lists:
        return _read_shifted(root, path, split, index, options), LabelMap.of(names)
    videos = VideoFolder(*(root / name for name in _VIDEOS))
    listed = {name: _rows(one, name, options) for name, one in lists.items()}
    parents: dict[str, set[Path]] = {}
    for rows in listed.values():
        for _, name, _ in rows:
            parents.setdefault(_stem(name), set()).add(Path(name).parent)
    records = []
    for where, name, text in listed[split]:
        record = _record(name, videos, index, is_twin=len(parents[_stem(name)]) > 1)
        # Quirk: lists say HandStandPushups where files say HandstandPushups; case is ignored.
        if record.label < 0:
            raise ValueError(f"{where}: {name!r} is in the folder of no known class")
        if text and number_in(text) - 1 != record.label:
            raise ValueError(f"{where}: label {text} is not that of the folder, {record.label + 1}")
        records.append(record)
    check_unique(records, path)
    return records, LabelMap.of(names)


def _lists(root: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    """The official lists of a fold, or the table where there are none, and lists of shifts."""
    fold = fold_of(options)
    train = in_folders([f"trainlist{fold:02d}.txt"], _FOLDERS)
    test = in_folders([f"testlist{fold:02d}.txt"], _FOLDERS)
    tables = in_folders(_TABLES, _FOLDERS)
    table = first_existing(root, tables)
    if table is not None and not any(any(root.glob(f"{f}trainlist*.txt")) for f in _FOLDERS):
        found = {"train": table, "validation": table}
    else:
        found = {
            "train": require(root, (*train, *tables), "train list"),
            "validation": require(root, test, "test list"),
        }
    return with_shifts(found, root, in_folders(["testlist-*.txt"], _FOLDERS), "testlist-")


def _stem(name: str) -> str:
    return Path(name).stem


def _record(name: str, videos: VideoFolder, index: Mapping[str, int], *, is_twin: bool) -> Record:
    """A clip; its id is the stem, with its folder where files of other folders have that stem.

    Official stems stand once. Which lists name the other file does not matter, so that one id
    never means two clips.
    """
    path = Path(name)
    folder = path.parent.name
    group = re.search(r"_g(\d+)_c\d+$", path.stem)
    key = path.with_suffix("").as_posix() if is_twin else path.stem
    return Record(
        id=key,
        path=videos.find(name),
        label=index.get(folder.lower(), -1),
        group=f"{folder}_g{group[1]}" if group else key,
    )


def _rows(path: Path, split: str, options: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Place, path and label (empty where the list has none); blanks in paths are kept."""
    if path.suffix == ".csv":
        side = {"train": "1", "validation": "2"}[split]
        return [row[:3] for row in _table_rows(path, options) if row[3] == side]
    rows = []
    for entry in read_entries(path, options):
        has_label = entry.name and entry.last.isdecimal()
        name, label = (entry.name, entry.last) if has_label else (entry.text, "")
        if not Path(name).stem:
            raise ValueError(f"{entry.where}: not the path of a video: {entry.text!r}")
        rows.append((entry.where, name, label))
    return rows


def _table_rows(path: Path, options: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Place, path, label and side of every row of the table, sides 0 among them."""
    column, rows = f"split{fold_of(options)}", []
    for place, row in read_rows(path, options):
        if column not in row:
            raise ValueError(f"{path}: data.options.fold: looked for a column {column}")
        name, label, side = (row.get(key, "").strip() for key in ("video_id", "label", column))
        if not Path(name).stem or number_in(label) < 1 or side not in {"0", "1", "2"}:
            raise ValueError(f"{path}:{place}: not a video_id, a label and 1 or 2 in {column}")
        rows.append((f"{path}:{place}", name, label, side))
    return rows


def _shifted_rows(path: Path, options: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Place, path, label and test set of every clip of UCF101-DS."""
    kind = options["shifts"]
    if kind not in _KINDS:
        raise ValueError(f"data.options.shifts: {kind!r} (allowed: {', '.join(_KINDS)})")
    rows = []
    for place, row in read_rows(path, options):
        name, label = (row.get(key, "").strip() for key in ("path", "label"))
        if not name or not label:
            raise ValueError(f"{path}:{place}: no path or label")
        if kind not in {"all", *row}:
            raise ValueError(
                f"{path}: data.options.shifts: looked for a column {kind}; `all` needs none"
            )
        own = "" if kind == "all" else re.sub(r"\W+", "-", row[kind].strip().lower()).strip("-")
        rows.append((f"{path}:{place}", name, label, f"ds-{own}" if own else "ds"))
    return rows


def _read_shifted(
    root: Path, path: Path, split: str, index: Mapping[str, int], options: Mapping[str, Any]
) -> list[Record]:
    """The clips of one test set of UCF101-DS; ids hold the whole path."""
    videos = VideoFolder(*(root / name for name in _SHIFTED_VIDEOS))
    records = []
    for where, name, text, own in _shifted_rows(path, options):
        label = index.get(text.lower(), number_in(text) - 1)
        if not 0 <= label < len(index):
            raise ValueError(
                f"{where}: label {text!r} (allowed: a class name, or its number in the class file, "
                f"from 1 to {len(index)})"
            )
        folder = index.get(Path(name).parent.name.lower(), label)
        if folder != label:
            raise ValueError(f"{where}: label {text} is not that of the folder, {folder + 1}")
        if own == split:
            key = Path(name).with_suffix("").as_posix()
            records.append(Record(f"ds/{key}", videos.find(name), label, group=f"ds/{key}"))
    check_unique(records, path)
    return records


def _class_names(root: Path, train: Path, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Class names from the class file, else from the training list, never from the split read."""
    path = first_existing(root, in_folders(["classInd.txt"], _FOLDERS))
    numbered: dict[int, str] = {}
    if path is not None:
        for place, line in read_lines(path, options):
            number, _, name = line.partition(" ")
            if number_in(number) < 0 or not name.strip():
                raise ValueError(f"{path}:{place}: not a number and a class name: {line!r}")
            numbered[number_in(number)] = name.strip()
    else:
        path = train
        is_table = train.suffix == ".csv"
        rows = [row[:3] for row in _table_rows(train, options)] if is_table else None
        numbered = {
            number_in(label): Path(name).parent.name
            for _, name, label in rows or _rows(train, "train", options)
            if label
        }
    if sorted(numbered) != list(range(1, len(numbered) + 1)):
        raise ValueError(f"{path}: the classes are not numbered 1..{len(numbered)}")
    return tuple(numbered[number] for number in sorted(numbered))

"""Reader of a table of clips: columns `path` and `label`, and `split`, `caption`, `start`, `end`.

A root holds one table (`clips.csv`, `.tsv`, or what `data.options.file` says) or one per split
(`train.csv` and `test.csv` or `val.csv`). In one table the column `split` says `train`, `test` or
`val`, or the name of a shifted test set; without it a share of every class is tested on
(`data.options.test_share`). Where there is `test`, `val` is a further test set. `start` and `end`
are seconds: the clip is that window of its video. Rows that differ in the caption alone are
captions of one clip. `group` names the recording, which is the path unless said. Labels are indices
from 0, or names; see `path_list` for where class names come from.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sweep.data.readers.annotation import (
    CLASS_FILES,
    Classes,
    VideoFolder,
    first_existing,
    missing,
    read_class_names,
    read_rows,
    refuse_split_options,
    split_called,
    split_of_own,
    without_suffix,
)
from sweep.data.records import Record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sweep.data.label_maps import LabelMap

_SUFFIXES = (".csv", ".tsv")
_TABLES = tuple(n + s for n in ("clips", "table", "data", "annotations") for s in _SUFFIXES)
_TEST = ("test", "val", "valid", "validation")
_VIDEOS = (".", "videos", "frames")
_COLUMNS = ("path", "label", "split", "caption", "start", "end", "group")

_Row = tuple[str, dict[str, str]]


def splits(root: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    """Table of every split: "train", "validation" (what is tested on) and the names of the shifts.

    Args:
        root: Folder of the data set.
        options: `file`: the table; `test_share` and `split_seed`, where nothing says what is tested
            on; `encoding`.

    Raises:
        ValueError: No table, or no clips to train or to test on; says what was looked for.
    """
    return {name: path for name, (path, _) in _parts(root, options).items()}


def read(root: Path, split: str, options: Mapping[str, Any]) -> tuple[list[Record], LabelMap]:
    """Records of a split in table order, and the classes; no video is opened.

    Args:
        root: Folder of the data set.
        split: A key of :func:`splits`.
        options: See :func:`splits`.

    Raises:
        ValueError: A file is missing or says something that cannot be; names it.
    """
    parts = _parts(root, options)
    _, rows = parts[split_called(split, parts, root)]
    trained_by, trained = parts["train"]
    named = first_existing(root, CLASS_FILES)
    given = read_class_names(named, options) if named and named != trained_by else None
    classes = Classes.of([row["label"] for _, row in trained], given)
    labels, space = classes.labels_of([(where, row["label"]) for where, row in rows])
    videos = VideoFolder(*(root / name for name in _VIDEOS))
    records: dict[str, Record] = {}
    for (where, row), label in zip(rows, labels, strict=True):
        start, end = (_seconds(row, side, where) for side in ("start", "end"))
        if end is not None and end <= (start or 0.0):
            raise ValueError(f"{where}: end {end:g} is not after start {start or 0.0:g}")
        key, said = _key(row), row.get("caption", "")
        own = records.get(key)
        if own is not None and (own.label != label or not said or said in own.captions):
            raise ValueError(f"{where}: {key!r} stands there twice")
        records[key] = Record(
            id=key,
            path=own.path if own else videos.find(row["path"]),
            label=label,
            captions=(*(own.captions if own else ()), *([said] if said else [])),
            start=start,
            end=end,
            group=row.get("group") or without_suffix(row["path"]),
        )
    return list(records.values()), space


def _parts(root: Path, options: Mapping[str, Any]) -> dict[str, tuple[Path, Sequence[_Row]]]:
    """Table and rows of every split."""
    name = options.get("file") or ""
    if not isinstance(name, str):
        raise ValueError(f"data.options.file: the name of a table, given {name!r}")  # noqa: TRY004
    if name and not (root / name).is_file():
        raise ValueError(f"data.options.file: looked for {root / name}, which is no file")
    train = first_existing(root, [f"train{suffix}" for suffix in _SUFFIXES])
    table = root / name if name else first_existing(root, _TABLES)
    if table is None and train is not None:
        return _of_files(root, train, options)
    if table is None:
        raise missing(root, (*_TABLES[:3], "train.csv", *_TABLES[3:]), "table of clips")
    rows = _rows(table, options)
    if not any(row.get("split") for _, row in rows):
        keys = list(dict.fromkeys(_key(row) for _, row in rows))
        label_of = {_key(row): row["label"] for _, row in rows}
        drawn = split_of_own(options, keys, [label_of[key] for key in keys])
        sides = {"train": False, "validation": True}
        return {
            split: (table, [one for one in rows if (_key(one[1]) in drawn) == side])
            for split, side in sides.items()
        }
    refuse_split_options(options, f"{table} has a column `split`")
    found: dict[str, list[_Row]] = {}
    for where, row in rows:
        if not row.get("split"):
            raise ValueError(f"{where}: no split, unlike in other rows")
        found.setdefault(row["split"].lower(), []).append((where, row))
    return _named({split: (table, own) for split, own in found.items()}, table)


def _of_files(
    root: Path, train: Path, options: Mapping[str, Any]
) -> dict[str, tuple[Path, Sequence[_Row]]]:
    """A table per split; `test-<name>` are shifts."""
    refuse_split_options(options, f"{train} is there")
    found = {"train": (train, _rows(train, options))}
    for name in _TEST:
        if path := first_existing(root, [f"{name}{suffix}" for suffix in _SUFFIXES]):
            found[name] = (path, _rows(path, options))
    for path in sorted(root.glob("test-*")):
        if path.suffix in _SUFFIXES:
            found[path.stem.removeprefix("test-")] = (path, _rows(path, options))
    return _named(found, root)


def _named(
    found: Mapping[str, tuple[Path, Sequence[_Row]]], where: Path
) -> dict[str, tuple[Path, Sequence[_Row]]]:
    """The splits with what is tested on called "validation"."""
    tests = [name for name in _TEST if name in found]
    if "train" not in found or not tests:
        raise ValueError(
            f"{where}: looked for the splits train and one of {', '.join(_TEST)}; there are "
            f"{', '.join(found)}"
        )
    rest = {
        "val" if name == "validation" else name: own
        for name, own in found.items()
        if name not in {"train", tests[0]}
    }
    return {"train": found["train"], "validation": found[tests[0]]} | rest


def _rows(path: Path, options: Mapping[str, Any]) -> list[_Row]:
    """Place and fields of every row, by the name of the column in small letters."""
    rows = []
    for number, given in read_rows(path, options):
        row = {name.strip().lower(): text.strip() for name, text in given.items()}
        lacking = [name for name in ("path", "label") if not row.get(name)]
        if lacking:
            raise ValueError(
                f"{path}:{number}: no {lacking[0]} (allowed: the columns {', '.join(_COLUMNS)}; "
                "path and label are needed)"
            )
        rows.append((f"{path}:{number}", row))
    return rows


def _key(row: Mapping[str, str]) -> str:
    """Id of a clip: its path, and its window if it is one."""
    start, end = row.get("start", ""), row.get("end", "")
    window = f"@{start or 0}-{end or 'end'}" if start or end else ""
    return without_suffix(row["path"]) + window


def _seconds(row: Mapping[str, str], side: str, where: str) -> float | None:
    text = row.get(side, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{where}: {side}: {text!r} (allowed: seconds from 0)")
    return value

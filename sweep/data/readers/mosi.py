"""Reader of CMU-MOSI folders, and of `motes-mosi`: how positive an opinion is, from -3 to 3.

A root (or its folder `MOSI`) holds `label.csv` (the form of MMSA): columns `video_id`, `clip_id`,
`text`, `label` and `mode`, which is train, valid or test; shifted test sets are `label-<name>.csv`.
Segments stand in `Raw/<video>/<clip>` or as `<video>_<clip>` in `Raw/Video/Segmented/`,
`Segmented/` or `videos/`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweep.data.label_maps import LabelMap
from sweep.data.readers.annotation import VideoFolder, in_folders, require, with_shifts
from sweep.data.readers.captioned import number_of, own_split, read_table, sentence_of
from sweep.data.records import Record, check_unique

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FOLDERS = ("", "MOSI/")
_VIDEOS = (
    *("Raw/Video/Segmented", "Video/Segmented", "Segmented", "Raw", "MOSI/Raw", "videos", "."),
)
_MODES = {"train": "train", "val": "valid", "test": "test"}
_MOST = 3.0


def splits(root: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    """Table of every split that has rows: "train", "val" (to choose by), "test" and the shifts.

    Args:
        root: Folder of the data set.
        options: `encoding` of the table.

    Raises:
        ValueError: No table, one without training or test rows, or another mode; says which.
    """
    path = require(root, in_folders(["label.csv"], _FOLDERS), "table of labels")
    modes = {row["mode"] for _, row in _rows(path, options)}
    found = {side: path for side, mode in _MODES.items() if mode in modes}
    for side in ("train", "test"):
        if side not in found:
            raise ValueError(f"{path}: no row of mode {side} (looked for: {', '.join(_MODES)})")
    return with_shifts(found, root, in_folders(["label-*.csv"], _FOLDERS), "label-")


def read(root: Path, split: str, options: Mapping[str, Any]) -> tuple[list[Record], LabelMap]:
    """A record of every segment of a split, in table order; no video is opened.

    The caption is what is said; `Record.meta` has the `rating`.

    Args:
        root: Folder of the data set.
        split: A key of :func:`splits`.
        options: See :func:`splits`.

    Raises:
        ValueError: A file is missing or says something that cannot be; names it.
    """
    known = splits(root, options)
    split = own_split(split, known, root)
    path, mode = known[split], _MODES.get(split, "test")
    videos = VideoFolder(*(root / name for name in _VIDEOS))
    records = []
    for where, row in _rows(path, options):
        if row["mode"] != mode:
            continue
        video, clip = row["video_id"].strip(), row["clip_id"].strip()
        if not video or not clip:
            raise ValueError(f"{where}: no video_id or clip_id")
        place = f"{where} ({video}, {clip})"
        rating = number_of(row["label"], f"{place}: label")
        if abs(rating) > _MOST:
            raise ValueError(f"{place}: label {rating:g} (allowed: -3..3)")
        said = sentence_of(row["text"], f"{place}: text")
        found = videos.find(f"{video}/{clip}") or videos.find(f"{video}_{clip}")
        records.append(
            Record(f"{video}_{clip}", found, captions=(said,), group=video, meta={"rating": rating})
        )
    check_unique(records, path)
    return records, LabelMap.of(())


def _rows(path: Path, options: Mapping[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """Rows of a table, with a mode that is one of three."""
    columns = ("video_id", "clip_id", "text", "label", "mode")
    rows = read_table(path, options, columns=columns)
    for where, row in rows:
        row["mode"] = row["mode"].strip()
        if row["mode"] not in _MODES.values():
            raise ValueError(f"{where}: mode {row['mode']!r} (allowed: train, valid, test)")
    return rows

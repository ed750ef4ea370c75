"""Reader of HowTo100M folders, and of `motes-howto`: long videos with narration that may not fit.

A root holds the list of training videos: `videos.csv` or `train.csv` (column `video_path`; the form
of VT-TWINS), `HowTo100M_v1.csv` (column `video_id`) or `ht100_videos_split.csv` (tab-separated,
column `Name`; All-in-one). Narration is `captions/<id>.json` or `caption/<id>.json`, or one of
`raw_caption.json` and `caption.json`: equally long lists `start`, `end` and `text`. What is tested
on are clips with a sentence each, in the tables that VT-TWINS tests on without further training:
`crosstask.csv`, or without it `validation_youcook.csv`; shifted sets are `crosstask-<name>.csv`.
Videos stand in `videos/`, those of the tests in a folder per task or beside them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.data.label_maps import LabelMap
from sweep.data.readers.annotation import (
    VideoFolder,
    first_existing,
    list_of,
    mapping_of,
    missing,
    read_json,
    require,
    with_shifts,
    without_suffix,
)
from sweep.data.readers.captioned import (
    clips_of,
    field_of,
    own_split,
    read_table,
    segment_of,
    sentence_of,
)
from sweep.data.records import Record, check_unique

if TYPE_CHECKING:
    from collections.abc import Mapping

#: List of training videos -> its column of names, and what stands between columns.
_LISTS = {
    "videos.csv": ("video_path", ","),
    "train.csv": ("video_path", ","),
    "HowTo100M_v1.csv": ("video_id", ","),
    "ht100_videos_split.csv": ("Name", "\t"),
}
_FOLDERS = ("captions", "caption")
_FILES = ("raw_caption.json", "caption.json")
_TESTS = {"crosstask.csv": "task_id", "validation_youcook.csv": "task"}
_VIDEOS = ("videos", "howto100m", "crosstask/videos", "youcook/videos", ".")


def splits(root: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    """List of every split: "train", "test" and the names of the shifts.

    Args:
        root: Folder of the data set.
        options: `encoding` of the files, which :func:`read` reads.

    Raises:
        ValueError: A list lacks; says which names were looked for.
    """
    del options
    found = {
        "train": require(root, list(_LISTS), "list of training videos"),
        "test": require(root, list(_TESTS), "table of test clips"),
    }
    return with_shifts(found, root, ["crosstask-*.csv"], "crosstask-")


def read(root: Path, split: str, options: Mapping[str, Any]) -> tuple[list[Record], LabelMap]:
    """Records of a split in list order; no video is opened.

    A training record is a video: its captions are the narration, `Record.meta["segments"]` when
    each of them is said, in seconds. A test record is a clip of a video, with its sentence; its
    `Record.meta` has the `task`, too.

    Args:
        root: Folder of the data set.
        split: A key of :func:`splits`.
        options: See :func:`splits`.

    Raises:
        ValueError: A file is missing or says something that cannot be; names it.
    """
    known = splits(root, options)
    split = own_split("test" if split == "validation" else split, known, root)
    path = known[split]
    videos = VideoFolder(*(root / name for name in _VIDEOS))
    if split != "train":
        column = _TESTS.get(path.name, "task_id")
        return clips_of(path, column, videos, options), LabelMap.of(())
    narration = _Narration(root, options)
    column, delimiter = _LISTS[path.name]
    records = []
    for where, row in read_table(path, options, columns=(column,), delimiter=delimiter):
        name = row[column].strip()
        if not name:
            raise ValueError(f"{where}: no {column}")
        key = Path(without_suffix(name)).name
        segments, told = narration.of(key, where)
        records.append(
            Record(key, videos.find(name), captions=told, group=key, meta={"segments": segments})
        )
    check_unique(records, path)
    return records, LabelMap.of(())


class _Narration:
    """What is said in videos, from a file each or one of all."""

    def __init__(self, root: Path, options: Mapping[str, Any]) -> None:
        self._options = options
        self._folder = next((root / name for name in _FOLDERS if (root / name).is_dir()), None)
        self._path = None if self._folder else first_existing(root, _FILES)
        if self._folder is None and self._path is None:
            names = (*(f"{name}/<id>.json" for name in _FOLDERS), *_FILES)
            raise missing(root, names, "narration")
        self._all = (
            mapping_of(read_json(self._path, options), str(self._path)) if self._path else {}
        )

    def of(self, key: str, where: str) -> tuple[tuple[tuple[float, float], ...], tuple[str, ...]]:
        """Seconds and sentences of a video.

        Raises:
            ValueError: It has none, or lists of different lengths; says which.
        """
        if self._folder is not None:
            path = self._folder / f"{key}.json"
            if not path.is_file():
                raise ValueError(f"{where}: no narration of {key}: looked for {path}")
            item, place = read_json(path, self._options), str(path)
        else:
            if key not in self._all:
                raise ValueError(f"{where}: no narration of {key} in {self._path}")
            item, place = self._all[key], f"{self._path}: {key}"
        row = mapping_of(item, place)
        columns = [
            list_of(field_of(row, (name,), place), f"{place}: {name}")
            for name in ("start", "end", "text")
        ]
        if len({len(column) for column in columns}) > 1 or not columns[0]:
            lengths = ", ".join(str(len(column)) for column in columns)
            raise ValueError(f"{place}: start, end and text have {lengths} items")
        segments, told = [], []
        for number, (start, end, text) in enumerate(zip(*columns, strict=True)):
            segments.append(segment_of(start, end, f"{place}: item {number}"))
            told.append(sentence_of(text, f"{place}: item {number}: text"))
        return tuple(segments), tuple(told)

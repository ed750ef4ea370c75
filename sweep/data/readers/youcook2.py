"""Reader of YouCook2 folders for retrieval: a clip of a cooking video for every instruction.

A root (or its folder `annotation`, `annotations` or `splits`) holds the official file
`youcookii_annotations_trainval.json`. Where there is a `validation_youcook.csv` (columns `end,
start, task, text, video_id`; the form of VT-TWINS), it is tested on instead of the validation part.
Videos stand in `raw_videos/<part>/<recipe>/<id>` or in one folder.
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
    read_json,
    require,
)
from sweep.data.readers.captioned import (
    clips_of,
    field_of,
    find_in_task,
    own_split,
    sentence_of,
    window_of,
)
from sweep.data.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_FOLDERS = ("", "annotation/", "annotations/", "splits/")
_FILE = "youcookii_annotations_trainval.json"
_TABLE = "validation_youcook.csv"
_VIDEOS = ("raw_videos", "videos", "youcook/videos", "youcook", ".")
_PARTS = {"train": "training", "test": "validation"}


def splits(root: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    """File of every split: "train" and "test" (the validation part, whose labels are public).

    Args:
        root: Folder of the data set.
        options: `encoding` of the files, which :func:`read` reads.

    Raises:
        ValueError: A file lacks; says which names were looked for.
    """
    del options
    path = require(root, in_folders([_FILE], _FOLDERS), "annotation")
    table = first_existing(root, in_folders([_TABLE], _FOLDERS))
    return {"train": path, "test": table or path}


def read(root: Path, split: str, options: Mapping[str, Any]) -> tuple[list[Record], LabelMap]:
    """A record of every instruction of a split, in file order, all of label -1.

    Several clips are parts of one video: `Record.start` and `end` say which. `Record.meta` has the
    `task` (recipe) and `segments`, the same times again. No video is opened.

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
    if path.suffix == ".csv":
        videos = VideoFolder(*(root / name for name in _VIDEOS))
        return clips_of(path, "task", videos, options), LabelMap.of(())
    return list(_clips(root, path, _PARTS[split], options)), LabelMap.of(())


def _clips(root: Path, path: Path, part: str, options: Mapping[str, Any]) -> Iterator[Record]:
    """The clips of a part of the official file."""
    content = mapping_of(read_json(path, options), str(path))
    database = mapping_of(field_of(content, ("database",), str(path)), f"{path}: database")
    videos = VideoFolder(*(root / name for name in _VIDEOS))
    for name, item in database.items():
        where = f"{path}: {name}"
        row = mapping_of(item, where)
        subset = field_of(row, ("subset",), where)
        if subset not in _PARTS.values():
            raise ValueError(f"{where}: subset {subset!r} (allowed: training, validation)")
        if subset != part:
            continue
        recipe = str(field_of(row, ("recipe_type",), where))
        told = list_of(field_of(row, ("annotations",), where), f"{where}: annotations")
        video = find_in_task(videos, name, f"{part}/{recipe}")
        for number, one in enumerate(told):
            place = f"{where}: annotation {number}"
            step = mapping_of(one, place)
            span = list_of(field_of(step, ("segment",), place), f"{place}: segment")
            if len(span) != 2:
                raise ValueError(f"{place}: segment {span!r} (allowed: start and end)")
            start, end = window_of(span[0], span[1], place)
            sentence = sentence_of(field_of(step, ("sentence",), place), place)
            yield Record(
                f"{name}_{number}",
                video,
                captions=(sentence,),
                start=start,
                end=end,
                group=name,
                meta={"task": recipe, "segments": ((start, end),)},
            )

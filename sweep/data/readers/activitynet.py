"""Reader of ActivityNet Captions folders for retrieval of a video by its paragraph.

A root (or its folder `annotation`, `annotations` or `captions`) holds `train.json`, `val_1.json`
and `val_2.json`: video -> duration, time spans and sentences. The two validation files are two
annotators' of the same videos; one is tested on (`data.options.val`, by default the first, as in
papers). `train_ids.json` and `val_ids.json`, where there are any, say which videos are used; some
ids have no captions and are none. The paragraph is all sentences of a video. Videos stand in
`videos/`, or in `train/` and `val/`, as `v_<id>` or `<id>`.
"""

from __future__ import annotations

import math
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
    choice_of,
    field_of,
    ids_of,
    number_of,
    own_split,
    segment_of,
    sentence_of,
)
from sweep.data.records import Record

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FOLDERS = ("", "annotation/", "annotations/", "captions/")
_VIDEOS = (
    *("videos", "Activity_Videos", "videos/train", "videos/val", "train", "val", "training"),
    *("validation", "."),
)


def splits(root: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    """File of every split: "train" and "test" (one of the validation files).

    Args:
        root: Folder of the data set.
        options: `val`: 1 (default) or 2; `encoding` of the files.

    Raises:
        ValueError: A file lacks; says which names were looked for.
    """
    number = int(choice_of(options, "val", (1, 2)))
    return {
        "train": require(root, in_folders(["train.json"], _FOLDERS), "training captions"),
        "test": require(
            root,
            in_folders([f"val_{number}.json"], _FOLDERS),
            f"validation captions (data.options.val={number})",
        ),
    }


def read(root: Path, split: str, options: Mapping[str, Any]) -> tuple[list[Record], LabelMap]:
    """A record of every video of a split, in file order, all of label -1; no video is opened.

    `Record.meta` has `segments`, seconds of every sentence, and `sentences`.

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
    name = "train_ids.json" if split == "train" else "val_ids.json"
    listed = first_existing(root, in_folders([name], _FOLDERS))
    wanted = ids_of(listed, options) if listed else None
    videos = VideoFolder(*(root / name for name in _VIDEOS))
    records = []
    for video, item in mapping_of(read_json(path, options), str(path)).items():
        if wanted is None or video in wanted:
            records.append(_record(video, item, videos, f"{path}: {video}"))
    return records, LabelMap.of(())


def _record(video: str, item: Any, videos: VideoFolder, where: str) -> Record:
    row = mapping_of(item, where)
    duration = number_of(field_of(row, ("duration",), where), f"{where}: duration")
    spans = list_of(field_of(row, ("timestamps",), where), f"{where}: timestamps")
    told = list_of(field_of(row, ("sentences",), where), f"{where}: sentences")
    if not told or len(spans) != len(told):
        raise ValueError(f"{where}: {len(spans)} time spans of {len(told)} sentences")
    if duration <= 0:
        raise ValueError(f"{where}: duration {duration:g} (allowed: above 0)")
    sentences = tuple(
        sentence_of(one, f"{where}: sentence {number}") for number, one in enumerate(told)
    )
    segments = []
    for number, span in enumerate(spans):
        pair = list_of(span, f"{where}: time span {number}")
        if len(pair) != 2:
            raise ValueError(f"{where}: time span {number}: {pair!r} (allowed: start and end)")
        segments.append(segment_of(pair[0], pair[1], f"{where}: time span {number}"))
    return Record(
        video,
        videos.find(video) or videos.find(video.removeprefix("v_")),
        captions=(" ".join(sentences),),
        start=0.0,
        end=float(math.ceil(duration)),
        group=video,
        meta={"segments": tuple(segments), "sentences": sentences},
    )

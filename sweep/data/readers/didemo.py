"""Reader of DiDeMo folders for retrieval of a video by the paragraph that all of it is told by.

A root (or its folder `annotation`, `annotations` or `data`) holds `{train,val,test}_data.json`:
moments with a `video` and a `description`. A paragraph is the descriptions of a video in the order
of the file; it tells the first 30 seconds, which is what the annotators saw. `{split}_list.txt`,
where there is one, says which videos of a split are used. A video is its name without whatever
stands after the last dot: 62 official ones are named with two extensions. Videos stand in `videos/`
or the root.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from sweep.data.label_maps import LabelMap
from sweep.data.readers.annotation import (
    VideoFolder,
    first_existing,
    in_folders,
    name_of,
    read_lines,
    require,
)
from sweep.data.readers.captioned import field_of, own_split, read_objects, sentence_of
from sweep.data.records import Record

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FOLDERS = ("", "annotation/", "annotations/", "data/")
_VIDEOS = ("videos", "DiDeMo_Videos", "Videos", "video", ".")
_SIDES = ("train", "val", "test")
_WINDOW_S = (0.0, 31.0)  # as the published loaders cut it


def splits(root: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    """File of every split: "train", "val" (to choose by) and "test".

    Args:
        root: Folder of the data set.
        options: `encoding` of the text files, which :func:`read` reads.

    Raises:
        ValueError: A file lacks; says which names were looked for.
    """
    del options
    return {
        side: require(root, in_folders([f"{side}_data.json"], _FOLDERS), f"{side} descriptions")
        for side in _SIDES
    }


def read(root: Path, split: str, options: Mapping[str, Any]) -> tuple[list[Record], LabelMap]:
    """A record of every video of a split, in file order, all of label -1; no video is opened.

    Args:
        root: Folder of the data set.
        split: A key of :func:`splits`.
        options: See :func:`splits`.

    Raises:
        ValueError: A file is missing or says something that cannot be; names it.
    """
    split = own_split(split, _SIDES, root)
    path = splits(root, options)[split]
    told: dict[str, list[str]] = {}
    spellings: dict[str, dict[str, None]] = {}
    for where, row in read_objects(path, options):
        name = name_of(field_of(row, ("video",), where), f"{where}: video")
        stem = _stem(name)
        sentence = sentence_of(field_of(row, ("description",), where), f"{where} ({name})")
        told.setdefault(stem, []).append(sentence)
        spellings.setdefault(stem, {stem: None})[name] = None
    wanted = _listed(root, split, options)
    videos = VideoFolder(*(root / name for name in _VIDEOS))
    records = []
    for stem, sentences in told.items():
        if wanted is None or stem in wanted:
            found = (videos.find(name) for name in spellings[stem])
            video = next((one for one in found if one is not None), None)
            start, end = _WINDOW_S
            paragraph = (" ".join(sentences),)
            records.append(
                Record(stem, video, captions=paragraph, start=start, end=end, group=stem)
            )
    return records, LabelMap.of(())


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]  # noqa: PTH122 - a bare final dot counts, as for the authors


def _listed(root: Path, split: str, options: Mapping[str, Any]) -> frozenset[str] | None:
    """The videos of a split that its list names; None without one."""
    path = first_existing(root, in_folders([f"{split}_list.txt"], _FOLDERS))
    if path is None:
        return None
    return frozenset(_stem(line) for _, line in read_lines(path, options))

"""Reader of MSR-VTT folders by the official split: 6,513, 497 and 2,990 videos of 20 captions.

Captions and videos as in `msrvtt`. The lists are `MSRVTT_{train,val,test}.full.csv`; without them
the `split` of every video in `MSRVTT_data.json` tells. A test video has all of its captions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweep.data.label_maps import LabelMap
from sweep.data.readers import msrvtt_files
from sweep.data.readers.annotation import (
    first_existing,
    in_folders,
    list_of,
    mapping_of,
    missing,
    name_of,
    read_json,
    read_names,
    without_suffix,
)
from sweep.data.readers.captioned import own_split

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sweep.data.records import Record

_SIDES = {"train": "train", "val": "validate", "test": "test"}


def splits(root: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    """List of every split, "train", "val" and "test", or the file of captions that tells them.

    Args:
        root: Folder of the data set.
        options: `encoding` of the text files, which :func:`read` reads.

    Raises:
        ValueError: There are neither; says which names were looked for.
    """
    del options
    lists = {side: in_folders([f"MSRVTT_{side}.full.csv"], msrvtt_files.FOLDERS) for side in _SIDES}
    found = {side: path for side, names in lists.items() if (path := first_existing(root, names))}
    if found:
        for side, names in lists.items():
            if side not in found:
                raise missing(root, names, f"list of {side} videos")
        return found
    try:
        return dict.fromkeys(_SIDES, msrvtt_files.caption_file(root))
    except ValueError:
        raise missing(root, (*lists["train"][:1], "MSRVTT_data.json"), "list of videos") from None


def read(root: Path, split: str, options: Mapping[str, Any]) -> tuple[list[Record], LabelMap]:
    """Records of a split in list order, all of label -1; no video is opened.

    Args:
        root: Folder of the data set.
        split: A key of :func:`splits`.
        options: See :func:`splits`.

    Raises:
        ValueError: A file is missing or says something that cannot be; names it.
    """
    known = splits(root, options)
    split = own_split(split, known, root)
    path = known[split]
    if path.suffix == ".csv":
        names = read_names(path, "video_id", options)
    else:
        names = _videos(path, _SIDES[split], options)
    told = msrvtt_files.captions_of(root, path, names, options)
    return msrvtt_files.records_of(told, msrvtt_files.videos_of(root)), LabelMap.of(())


def _videos(path: Path, side: str, options: Mapping[str, Any]) -> list[str]:
    """Videos of a side as `videos` in the file of captions tells them."""
    content = mapping_of(read_json(path, options), str(path))
    names = []
    for number, item in enumerate(list_of(content.get("videos"), f"{path}: videos")):
        row = mapping_of(item, f"{path}: video {number}")
        if row.get("split") not in _SIDES.values():
            raise ValueError(
                f"{path}: video {number}: split {row.get('split')!r} (allowed: "
                f"{', '.join(_SIDES.values())})"
            )
        if row["split"] == side:
            names.append(without_suffix(name_of(row.get("video_id"), f"{path}: video {number}")))
    return names

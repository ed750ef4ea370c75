"""What the readers of MSR-VTT share: where captions and videos are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweep.data.readers.annotation import (
    VideoFolder,
    in_folders,
    list_of,
    mapping_of,
    name_of,
    read_json,
    require,
    without_suffix,
    words_of,
)
from sweep.data.records import Record, check_unique

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FOLDERS = ("", "annotation/", "annotations/", "msrvtt_data/")
_CAPTIONS = ("MSRVTT_data.json", "MSRVTT_transcript_data_v2.json", "MSR_VTT.json")
_VIDEOS = (
    "TrainValVideo", "TestVideo", "videos/all", "videos", "MSRVTT_Videos", "all_videos", ".",
)  # fmt: skip


def videos_of(root: Path) -> VideoFolder:
    """Where the videos of a folder are."""
    return VideoFolder(*(root / name for name in _VIDEOS))


def records_of(told: Mapping[str, list[str]], videos: VideoFolder) -> list[Record]:
    """A record of every video, with its captions."""
    return [
        Record(id=name, path=videos.find(name), captions=tuple(sentences), group=name)
        for name, sentences in told.items()
    ]


def captions_of(
    root: Path, path: Path, names: list[str], options: Mapping[str, Any]
) -> dict[str, list[str]]:
    """All captions of the videos of a list, in its order.

    Args:
        root: Folder of the data set.
        path: The list.
        names: What it holds.
        options: See ``annotation.read_text``.

    Raises:
        ValueError: A video stands there twice, or has no captions; says which.
    """
    source = caption_file(root)
    captions = _captions(source, options)
    told = {name: captions.get(name, []) for name in names}
    if len(told) < len(names):
        check_unique([Record(name, None) for name in names], path)
    silent = [name for name, sentences in told.items() if not sentences]
    if silent:
        raise ValueError(
            f"{source}: no caption of {len(silent)} videos of {path.name}, such as {silent[0]}"
        )
    return told


def caption_file(root: Path) -> Path:
    """The file of all captions."""
    return require(root, in_folders(_CAPTIONS, FOLDERS), "file of captions")


def _captions(path: Path, options: Mapping[str, Any]) -> dict[str, list[str]]:
    """Sentences of every video, in file order: the form of UniVL, or that of Frozen in Time."""
    content = mapping_of(read_json(path, options), str(path))
    rows, key = content.get("sentences"), "video_id"
    if rows is None:
        rows, key = content.get("annotations"), "image_id"
    if rows is None:
        raise ValueError(f"{path}: neither `sentences` nor `annotations`, which hold the captions")
    found: dict[str, list[str]] = {}
    for number, item in enumerate(list_of(rows, f"{path}: captions")):
        row = mapping_of(item, f"{path}: caption {number}")
        if key not in row or "caption" not in row:
            raise ValueError(f"{path}: caption {number} has no {key} or caption")
        name = name_of(row[key], f"{path}: caption {number}: {key}")
        sentence = words_of(row["caption"], f"{path}: caption {number} ({name})")
        found.setdefault(without_suffix(name), []).append(sentence)
    return found

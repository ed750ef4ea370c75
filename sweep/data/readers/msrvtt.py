"""Reader of MSR-VTT folders for retrieval: the official one, `motes-vtt`, and a user's own.

A root (or its folder `annotation`, `annotations` or `msrvtt_data`) holds the captions
(`MSRVTT_data.json`, `MSRVTT_transcript_data_v2.json` or `MSR_VTT.json`), the list of training
videos (`MSRVTT_train.9k.csv`; without it the 7k list), the thousand test pairs
(`MSRVTT_JSFUSION_test.csv`, the split called 1k-A) and any number of shifted test sets
`test-<name>.csv` of the same form; a video in several rows has several captions. Videos stand in
`TrainValVideo/` and `TestVideo/` or in one folder. There are no class labels. A test set whose name
ends in `-known` has captions that fit several of its videos: any video with the same caption counts
as found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweep.data.label_maps import LabelMap
from sweep.data.readers.annotation import (
    VideoFolder,
    in_folders,
    list_of,
    mapping_of,
    name_of,
    read_json,
    read_names,
    read_rows,
    require,
    split_called,
    with_shifts,
    without_suffix,
    words_of,
)
from sweep.data.records import Record, check_unique

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FOLDERS = ("", "annotation/", "annotations/", "msrvtt_data/")
_CAPTIONS = ("MSRVTT_data.json", "MSRVTT_transcript_data_v2.json", "MSR_VTT.json")
_TRAIN = ("MSRVTT_train.9k.csv", "MSRVTT_train.7k.csv", "train_list_7k.txt")
_TEST = ("MSRVTT_JSFUSION_test.csv", "msrvtt_test.csv")
_VIDEOS = (
    "TrainValVideo", "TestVideo", "videos/all", "videos", "MSRVTT_Videos", "all_videos", ".",
)  # fmt: skip


def splits(root: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    """List of every split: "train", "validation" (the test pairs) and the names of the shifts.

    Args:
        root: Folder of the data set.
        options: `encoding` of the text files, which :func:`read` reads.

    Raises:
        ValueError: No list of training videos or test pairs; says which names were looked for.
    """
    del options
    found = {
        "train": require(root, in_folders(_TRAIN, _FOLDERS), "list of training videos"),
        "validation": require(root, in_folders(_TEST, _FOLDERS), "list of test pairs"),
    }
    return with_shifts(found, root, in_folders(["test-*.csv"], _FOLDERS), "test-")


def read(root: Path, split: str, options: Mapping[str, Any]) -> tuple[list[Record], LabelMap]:
    """Records of a split in list order, all of label -1; no video is opened.

    Args:
        root: Folder of the data set.
        split: A key of :func:`splits`; `test` means `validation`, `test-<shift>` means `<shift>`.
        options: `encoding` of the text files.

    Raises:
        ValueError: A file is missing or says something that cannot be; names it.
    """
    known = splits(root, options)
    split = split_called(split, known, root)
    path = known[split]
    videos = VideoFolder(*(root / name for name in _VIDEOS))
    if split == "train":
        source = require(root, in_folders(_CAPTIONS, _FOLDERS), "file of captions")
        captions = _captions(source, options)
        pairs = [(name, captions.get(name, ())) for name in read_names(path, "video_id", options)]
        silent = [name for name, sentences in pairs if not sentences]
        if silent:
            raise ValueError(
                f"{source}: no caption of {len(silent)} videos of {path.name}, such as {silent[0]}"
            )
    else:
        told: dict[str, list[str]] = {}
        for name, sentence in _test_pairs(path, options):
            if sentence in told.setdefault(name, []):
                raise ValueError(f"{path}: {name!r} stands there twice with the same sentence")
            told[name].append(sentence)
        pairs = [(name, tuple(sentences)) for name, sentences in told.items()]
    records = [
        Record(id=name, path=videos.find(name), captions=sentences, group=name)
        for name, sentences in pairs
    ]
    check_unique(records, path)
    return records, LabelMap.of(())


def _captions(path: Path, options: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
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
    return {name: tuple(sentences) for name, sentences in found.items()}


def _test_pairs(path: Path, options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Video and sentence of every row; sentences may hold commas and quotes."""
    pairs = []
    for number, row in read_rows(path, options):
        name, sentence = row.get("video_id"), row.get("sentence")
        if not name or not name.strip() or not sentence or not sentence.strip():
            raise ValueError(f"{path}:{number}: no video_id or sentence")
        pairs.append((without_suffix(name), sentence))
    return pairs

"""Reader of MSVD folders for retrieval: about 40 captions a video, of which any may be asked for.

A root (or its folder `annotation`, `annotations` or `msvd_data`) holds `train_list.txt`,
`val_list.txt` and `test_list.txt` (1,200, 100 and 670 ids) and the captions: `raw-captions.json`,
`captions_msvd.json` (id -> sentences) or `raw-captions.pkl` (id -> lists of words; read without
running anything in it). Instead, `MSVD_{train,val,test}.tsv` hold captions, joined by commas, and
id of a video on every line (the form of All-in-one). Videos stand in `YouTubeClips/`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweep.data.label_maps import LabelMap
from sweep.data.readers.annotation import (
    VideoFolder,
    in_folders,
    list_of,
    mapping_of,
    read_json,
    read_names,
    require,
)
from sweep.data.readers.captioned import own_split, read_pickle, read_table, sentence_of
from sweep.data.records import Record, check_unique

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FOLDERS = ("", "annotation/", "annotations/", "msvd_data/")
_CAPTIONS = ("raw-captions.json", "captions_msvd.json", "raw-captions.pkl")
_VIDEOS = ("YouTubeClips", "videos", "MSVD_Videos", ".")
_SIDES = ("train", "val", "test")


def splits(root: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    """List of every split: "train", "val" (to choose by) and "test".

    Args:
        root: Folder of the data set.
        options: `encoding` of the text files, which :func:`read` reads.

    Raises:
        ValueError: A list lacks; says which names were looked for.
    """
    del options
    return {
        side: require(
            root,
            in_folders([f"{side}_list.txt", f"MSVD_{side}.tsv"], _FOLDERS),
            f"list of {side} videos",
        )
        for side in _SIDES
    }


def read(root: Path, split: str, options: Mapping[str, Any]) -> tuple[list[Record], LabelMap]:
    """Records of a split in list order, all of label -1; no video is opened.

    Args:
        root: Folder of the data set.
        split: A key of :func:`splits`.
        options: See :func:`splits`.

    Raises:
        ValueError: A file is missing or says something that cannot be; names it.
    """
    path = splits(root, options)[own_split(split, _SIDES, root)]
    if path.suffix == ".tsv":
        told = _joined(path, options)
    else:
        source = require(root, in_folders(_CAPTIONS, _FOLDERS), "file of captions")
        captions = _captions(source, options)
        told = [(name, captions.get(name, ())) for name in read_names(path, "video_id", options)]
        silent = [name for name, sentences in told if not sentences]
        if silent:
            raise ValueError(
                f"{source}: no caption of {len(silent)} videos of {path.name}, such as {silent[0]}"
            )
    videos = VideoFolder(*(root / name for name in _VIDEOS))
    records = [
        Record(name, videos.find(name), captions=sentences, group=name) for name, sentences in told
    ]
    check_unique(records, path)
    return records, LabelMap.of(())


def _captions(path: Path, options: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Sentences by id; one may be a text or a list of words."""
    content = read_pickle(path, options) if path.suffix == ".pkl" else read_json(path, options)
    found = {}
    for name, sentences in mapping_of(content, str(path)).items():
        told = []
        for number, one in enumerate(list_of(sentences, f"{path}: {name}")):
            where = f"{path}: {name}: caption {number}"
            if isinstance(one, list | tuple):
                one = " ".join(sentence_of(word, f"{where}: word") for word in one)
            told.append(sentence_of(one, where))
        found[str(name)] = tuple(told)
    return found


def _joined(path: Path, options: Mapping[str, Any]) -> list[tuple[str, tuple[str, ...]]]:
    """Id and captions of every line of a file of both."""
    table = read_table(
        path, options, columns=("captions", "id"), has_header=False, delimiter="\t", is_quoted=False
    )
    found = []
    for where, row in table:
        told = tuple(sentence_of(one, where) for one in row["captions"].split(",") if one.strip())
        if not told or not row["id"].strip():
            raise ValueError(f"{where}: no captions or no id")
        found.append((row["id"].strip(), told))
    return found

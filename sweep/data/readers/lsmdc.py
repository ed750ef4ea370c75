"""Reader of LSMDC folders for retrieval: clips of films and what an audio description says.

A root (or its folder `annotation`, `annotations` or `task1`) holds the tables of the release,
without a header: `LSMDC16_annos_training.csv`, `LSMDC16_annos_val.csv` and one of the two test
files (`data.options.test`): `LSMDC16_challenge_1000_publictect.csv`, on whose thousand clips
retrieval is compared, or `LSMDC16_annos_test.csv`, all 10,053. A clip told by several rows has
several captions. Videos stand in `<film>/<clip>.avi`. Three clips that the published loaders leave
out, since they cannot be decoded, are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweep.data.label_maps import LabelMap
from sweep.data.readers.annotation import VideoFolder, in_folders, require
from sweep.data.readers.captioned import choice_of, own_split, read_table, sentence_of
from sweep.data.records import Record

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FOLDERS = ("", "annotation/", "annotations/", "task1/", "LSMDC16_annos/")
_TESTS = {
    "1k": "LSMDC16_challenge_1000_publictect.csv",  # spelled so in the release
    "full": "LSMDC16_annos_test.csv",
}
_LISTS = {"train": "LSMDC16_annos_training.csv", "val": "LSMDC16_annos_val.csv"}
_VIDEOS = ("videos", "LSMDC_Videos", "lsmdc", "avi", ".")
_COLUMNS = ("clip", "start", "end", "extracted start", "extracted end", "sentence")
_LEFT_OUT = frozenset(
    {
        "0017_Pianist_00.23.28.872-00.23.34.843",
        "0017_Pianist_00.30.36.767-00.30.38.009",
        "3064_SPARKLE_2012_01.41.07.000-01.41.11.793",
    }
)


def splits(root: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    """Table of every split: "train", "val" (to choose by) and "test".

    Args:
        root: Folder of the data set.
        options: `test`: `1k` (default) or `full`; `encoding` of the tables.

    Raises:
        ValueError: A table lacks; says which names were looked for, and names both test files.
    """
    test = choice_of(options, "test", list(_TESTS))
    what = "test table (data.options.test: " + ", ".join(f"{k} is {v}" for k, v in _TESTS.items())
    found = {
        side: require(root, in_folders([name], _FOLDERS), f"{side} table")
        for side, name in _LISTS.items()
    }
    return found | {"test": require(root, in_folders([_TESTS[test]], _FOLDERS), f"{what})")}


def read(root: Path, split: str, options: Mapping[str, Any]) -> tuple[list[Record], LabelMap]:
    """A record of every clip of a split, in table order, all of label -1; no video is opened.

    Args:
        root: Folder of the data set.
        split: A key of :func:`splits`.
        options: See :func:`splits`.

    Raises:
        ValueError: A file is missing or says something that cannot be; names it.
    """
    known = splits(root, options)
    path = known[own_split(split, known, root)]
    told: dict[str, list[str]] = {}
    for where, row in read_table(
        path, options, columns=_COLUMNS, has_header=False, delimiter="\t", is_quoted=False
    ):
        name = row["clip"].strip()
        if not name:
            raise ValueError(f"{where}: no name of a clip")
        if name not in _LEFT_OUT:
            sentence = sentence_of(row["sentence"], f"{where} ({name}): sentence")
            told.setdefault(name, []).append(sentence)
    videos = VideoFolder(*(root / name for name in _VIDEOS))
    records = []
    for name, sentences in told.items():
        film = name.rpartition("_")[0] or name
        video = videos.find(f"{film}/{name}.avi") or videos.find(f"{name}.avi")
        records.append(Record(name, video, captions=tuple(sentences), group=film))
    return records, LabelMap.of(())

"""Reader of MSVD-QA folders, and of `motes-qa`: questions on videos, each answered by one word.

A root (or its folder `annotations`, `annotation` or `msvd`) holds `train_qa.json`, `val_qa.json`
(to choose by) and `test_qa.json` (shifted test sets: `test_qa-<name>.json`), whose `video_id` n is
the video `vid<n>` of `youtube_mapping.txt`; `msvd_{train,val,test}_qa_encode.json` and
`msvd_{train,val,test}.jsonl` are the same items one a line (the form of All-in-one), and
`txt_msvd-qa.json` (that of Violet and MELTR) names videos and answers itself. Answers that a model
can give are the lines of `msvd_answer_set.txt`, where there is one, else the thousand most frequent
ones of training. Videos stand in `YouTubeClips/`, by their name or as `vid<n>`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweep.data.label_maps import LabelMap
from sweep.data.readers.annotation import (
    VideoFolder,
    first_existing,
    in_folders,
    name_of,
    read_lines,
    require,
    with_shifts,
    without_suffix,
)
from sweep.data.readers.captioned import field_of, own_split, read_objects, sentence_of
from sweep.data.readers.questions import Asked, asked_in, question_of, vocabulary_of
from sweep.data.records import Record, check_unique

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FOLDERS = ("", "annotations/", "annotation/", "msvd/")
_VIDEOS = ("YouTubeClips", "videos", "MSVD_Videos", "video", ".")
_MAPPINGS = ("youtube_mapping.txt", "msvd_youtube_mapping.txt")
_PAIRS = "txt_msvd-qa.json"
_MOST = 1000


def splits(root: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    """File of every split: "train", "val" (where there is one), "test" and the shifts.

    Args:
        root: Folder of the data set.
        options: `encoding` of the files, which :func:`read` reads.

    Raises:
        ValueError: A file lacks; says which names were looked for.
    """
    del options
    names = {
        side: in_folders(
            [f"{side}_qa.json", f"msvd_{side}_qa_encode.json", f"msvd_{side}.jsonl", _PAIRS],
            _FOLDERS,
        )
        for side in ("train", "val", "test")
    }
    val = first_existing(root, names["val"])
    found = {
        "train": require(root, names["train"], "file of training questions"),
        **({"val": val} if val else {}),
        "test": require(root, names["test"], "file of test questions"),
    }
    return with_shifts(found, root, in_folders(["test_qa-*.json"], _FOLDERS), "test_qa-")


def read(root: Path, split: str, options: Mapping[str, Any]) -> tuple[list[Record], LabelMap]:
    """A record of every question of a split, in file order; no video is opened.

    `Record.meta` has `question`, `answer` (a text; "" where only an index outside the list of
    answers is known) and `answer_id`, its place among the answers that can be given, else -1.

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
    asked = _asked(path, split, options)
    chosen = first_existing(root, in_folders(["msvd_answer_set.txt"], _FOLDERS))
    if chosen:
        words = [line for _, line in read_lines(chosen, options)]
    else:
        trained = asked if split == "train" else _asked(known["train"], "train", options)
        words = vocabulary_of((o.meta["answer"] for o in trained if o.meta["answer"]), _MOST)
    places = {word: index for index, word in enumerate(words)}
    names = _names(root, options) if path.name != _PAIRS else {}
    videos = VideoFolder(*(root / name for name in _VIDEOS))
    records = []
    for one in asked:
        if path.name == _PAIRS:
            video = one.video
        elif f"vid{one.video}" in names:
            video = names[f"vid{one.video}"]
        else:
            raise ValueError(f"{one.where}: video_id {one.video}: vid{one.video} is in no mapping")
        records.append(
            Record(
                one.id,
                videos.find(video) or videos.find(f"vid{one.video}"),
                group=video,
                meta={**one.meta, "answer_id": places.get(one.meta["answer"], -1)},
            )
        )
    check_unique(records, path)
    return records, LabelMap.of(())


def _asked(path: Path, split: str, options: Mapping[str, Any]) -> list[Asked]:
    """The questions of a file; `video` is the number of the video, but for the form of Violet."""
    if path.name == _PAIRS:
        return asked_in(path, split, options, is_choice=False)
    found = []
    lines = path.suffix == ".jsonl" or path.stem.endswith("_encode")
    for number, (where, row) in enumerate(read_objects(path, options, is_lines=lines)):
        key = name_of(row.get("id", f"{number}"), f"{where}: id")
        place = f"{where} (id {key})"
        video = name_of(field_of(row, ("video_id",), place), f"{place}: video_id")
        answer = sentence_of(field_of(row, ("answer",), place), f"{place}: answer")
        meta = {"question": question_of(row, place), "answer": answer}
        found.append(Asked(place, key, video.removeprefix("vid"), meta))
    return found


def _names(root: Path, options: Mapping[str, Any]) -> dict[str, str]:
    """Number of a video, as `vid<n>` -> its name."""
    path = require(root, in_folders(_MAPPINGS, _FOLDERS), "mapping of numbers to videos")
    found: dict[str, str] = {}
    for number, line in read_lines(path, options):
        parts = line.split()
        if len(parts) != 2 or not parts[1].startswith("vid"):
            raise ValueError(f"{path}:{number}: {line!r} (allowed: the name of a video and vid<n>)")
        if parts[1] in found:
            raise ValueError(f"{path}:{number}: {parts[1]} stands there twice")
        found[parts[1]] = without_suffix(parts[0])
    return found

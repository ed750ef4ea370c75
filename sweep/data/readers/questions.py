"""What readers of questions on videos share: the items of the forms in circulation, and answers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweep.data.readers.annotation import (
    VideoFolder,
    in_folders,
    list_of,
    mapping_of,
    name_of,
    read_json,
    require,
    with_shifts,
    without_suffix,
)
from sweep.data.readers.captioned import (
    field_of,
    number_of,
    read_objects,
    read_table,
    sentence_of,
)
from sweep.data.records import Record, check_unique

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

OPTIONS = 5
_TGIF_FOLDERS = ("", "dataset/", "annotations/", "questions/")
_TGIF_VIDEOS = ("gifs", "videos", ".")
_VIOLET = {"action": "action", "transition": "transition", "frameqa": "frame"}
_VIDEO = ("video", "gif_name", "video_id")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question on a video.

    Attributes:
        where: File and item.
        id: Of the item; unique in its file.
        video: Name of the video, without extension.
        meta: `question`, and what the kind of question has: `options` (five texts) and `answer`
            (the place of the right one, from 0); or `answer` (a text).
    """

    where: str
    id: str
    video: str
    meta: Mapping[str, Any]


def place_of(value: Any, count: int, where: str) -> int:
    """The place of the right one of ``count`` options, from 0."""
    found = number_of(value, f"{where}: answer")
    if found != int(found) or not 0 <= found < count:
        raise ValueError(f"{where}: answer {value!r} (allowed: 0..{count - 1})")
    return int(found)


def options_of(row: Mapping[str, Any], names: Sequence[str], where: str) -> tuple[str, ...]:
    """The five options, in a list called `options` or in a field each."""
    if "options" in row:
        found = list_of(row["options"], f"{where}: options")
        if len(found) != len(names):
            raise ValueError(f"{where}: {len(found)} options (allowed: {len(names)})")
    else:
        found = [field_of(row, (name,), where) for name in names]
    return tuple(sentence_of(one, f"{where}: option {i}") for i, one in enumerate(found))


def asked_in(path: Path, side: str, options: Mapping[str, Any], *, is_choice: bool) -> list[Asked]:
    """Questions of the JSON forms of All-in-one (`.jsonl`) and Violet (one object of all splits).

    Their items have no id: the id is the video and the place of the item.

    Args:
        path: The file.
        side: `train`, `val` or `test`.
        options: See ``annotation.read_text``.
        is_choice: Whether an answer is one of five options; else a text, or the index of one in the
            list `vocab` of the file (outside of it: an answer that no model can give).
    """
    vocabulary: list[str] | None = None
    if path.suffix == ".json" and not is_choice:
        content = read_json(path, options)
        if isinstance(content, dict) and "vocab" in content:
            vocabulary = words_in(content["vocab"], f"{path}: vocab")
    found = []
    for number, (where, row) in enumerate(read_objects(path, options, keys=(side,))):
        video = without_suffix(name_of(field_of(row, _VIDEO, where), f"{where}: video"))
        place = f"{where} ({video})"
        meta: dict[str, Any] = {"question": question_of(row, place)}
        answer = field_of(row, ("answer",), place)
        if is_choice:
            meta["options"] = options_of(row, [f"option_{i}" for i in range(OPTIONS)], place)
            meta["answer"] = place_of(answer, OPTIONS, place)
        elif vocabulary is not None:
            index = number_of(answer, f"{place}: answer")
            is_known = index == int(index) and 0 <= index < len(vocabulary)
            meta["answer"] = vocabulary[int(index)] if is_known else ""
        else:
            meta["answer"] = sentence_of(answer, f"{place}: answer")
        found.append(Asked(where, f"{video}_{number}", video, meta))
    return found


def question_of(row: Mapping[str, Any], where: str) -> str:
    """The question of an item."""
    return sentence_of(field_of(row, ("question",), where), f"{where}: question")


def words_in(value: Any, where: str) -> list[str]:
    """Answers by index: a list, or answer -> index."""
    if isinstance(value, dict):
        places = mapping_of(value, where)
        if sorted(places.values(), key=repr) != sorted(range(len(places)), key=repr):
            raise ValueError(f"{where}: the indices are not 0..{len(places) - 1}")
        value = sorted(places, key=lambda word: places[word])
    return [sentence_of(one, f"{where}: {i}") for i, one in enumerate(list_of(value, where))]


def vocabulary_of(answers: Iterable[str], most: int | None = None) -> list[str]:
    """The most frequent answers of training; equally frequent ones by alphabet."""
    counts = Counter(answers)
    return sorted(counts, key=lambda word: (-counts[word], word))[:most]


def tgif_tables(root: Path, task: str) -> dict[str, Path]:
    """The files of a task of TGIF-QA, by split."""
    found = {}
    for side in ("train", "test"):
        stem = f"{side.capitalize()}_{task}_question"
        names = [f"{stem}.csv", f"{stem}.tsv", f"{task}_{side}.jsonl"]
        if task in _VIOLET:
            names.append(f"txt_tgif-{_VIOLET[task]}.json")
        found[side] = require(root, in_folders(names, _TGIF_FOLDERS), f"table of {side} questions")
    patterns = in_folders([f"Test_{task}_question-*.csv"], _TGIF_FOLDERS)
    return with_shifts(found, root, patterns, "question-")


def is_table(path: Path) -> bool:
    """Whether a file has the official form."""
    return path.suffix in {".csv", ".tsv"}


def tgif_rows(path: Path, columns: Sequence[str], options: Mapping[str, Any]) -> list[Asked]:
    """The rows of an official table, all of their fields in `meta`; `vid_id` is the id."""
    found = []
    for where, row in read_table(
        path, options, columns=("gif_name", "question", *columns, "vid_id"), delimiter="\t"
    ):
        key, video = row["vid_id"].strip(), without_suffix(row["gif_name"].strip())
        if not key or not video:
            raise ValueError(f"{where}: no gif_name or vid_id")
        place = f"{where} ({key})"
        meta: dict[str, Any] = {**row, "question": question_of(row, place)}
        found.append(Asked(place, key, video, meta))
    return found


def tgif_records(root: Path, path: Path, asked: Sequence[Asked]) -> list[Record]:
    """A record of every question."""
    videos = VideoFolder(*(root / name for name in _TGIF_VIDEOS))
    records = [
        Record(one.id, videos.find(one.video), group=one.video, meta=one.meta) for one in asked
    ]
    check_unique(records, path)
    return records

"""Reader of TGIF-QA's questions on one frame: the answer is a word (object, number, colour, place).

Files as in `tgifqa`; the task is `frameqa`. Answers that a model can give are those of the training
questions, by frequency.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweep.data.label_maps import LabelMap
from sweep.data.readers.captioned import own_split, sentence_of
from sweep.data.readers.questions import (
    Asked,
    asked_in,
    is_table,
    tgif_records,
    tgif_rows,
    tgif_tables,
    vocabulary_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sweep.data.records import Record

_TASK = "frameqa"


def splits(root: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    """Table of every split: "train", "test" and the names of the shifts.

    Args:
        root: Folder of the data set.
        options: `encoding` of the tables, which :func:`read` reads.

    Raises:
        ValueError: A table lacks; says which names were looked for.
    """
    del options
    return tgif_tables(root, _TASK)


def read(root: Path, split: str, options: Mapping[str, Any]) -> tuple[list[Record], LabelMap]:
    """A record of every question of a split, in table order; no GIF is opened.

    `Record.meta` has `question`, `answer` (a text) and `answer_id`, its place among the answers of
    training, -1 where it is none of them.

    Args:
        root: Folder of the data set.
        split: A key of :func:`splits`.
        options: See :func:`splits`.

    Raises:
        ValueError: A file is missing or says something that cannot be; names it.
    """
    known = splits(root, options)
    split = own_split("test" if split == "validation" else split, known, root)
    asked = _asked(known[split], split, options)
    trained = asked if split == "train" else _asked(known["train"], "train", options)
    words = vocabulary_of(one.meta["answer"] for one in trained if one.meta["answer"])
    places = {word: index for index, word in enumerate(words)}
    known_asked = [
        Asked(
            one.where,
            one.id,
            one.video,
            {**one.meta, "answer_id": places.get(one.meta["answer"], -1)},
        )
        for one in asked
    ]
    return tgif_records(root, known[split], known_asked), LabelMap.of(())


def _asked(path: Path, split: str, options: Mapping[str, Any]) -> list[Asked]:
    if not is_table(path):
        return asked_in(path, split, options, is_choice=False)
    found = []
    for one in tgif_rows(path, ("answer",), options):
        answer = sentence_of(one.meta["answer"], f"{one.where}: answer")
        meta = {"question": one.meta["question"], "answer": answer}
        found.append(Asked(one.where, one.id, one.video, meta))
    return found

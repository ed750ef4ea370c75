"""Reader of TGIF-QA folders: questions on GIFs with five options, one right (action, transition).

A root (or its folder `dataset`, `annotations` or `questions`) holds the official tables,
tab-separated whatever their extension, `Train_<task>_question.csv` and `Test_<task>_question.csv`
(shifted test sets: `Test_<task>_question-<name>.csv`); or `<task>_train.jsonl` and
`<task>_test.jsonl` (the form of All-in-one), or `txt_tgif-<task>.json` (that of Violet and MELTR).
GIFs, or videos made of them, stand in `gifs/` or `videos/`. The two tasks without options have
their own readers, `tgifqa_frameqa` and `tgifqa_count`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweep.data.label_maps import LabelMap
from sweep.data.readers.captioned import choice_of, own_split
from sweep.data.readers.questions import (
    OPTIONS,
    Asked,
    asked_in,
    is_table,
    options_of,
    place_of,
    tgif_records,
    tgif_rows,
    tgif_tables,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sweep.data.records import Record

_TASKS = ("action", "transition")


def splits(root: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    """Table of every split: "train", "test" and the names of the shifts.

    Args:
        root: Folder of the data set.
        options: `task`: `action` (default) or `transition`; `encoding` of the tables.

    Raises:
        ValueError: A table lacks; says which names were looked for.
    """
    return tgif_tables(root, choice_of(options, "task", _TASKS))


def read(root: Path, split: str, options: Mapping[str, Any]) -> tuple[list[Record], LabelMap]:
    """A record of every question of a split, in table order; no GIF is opened.

    `Record.meta` has `question`, `options` (five texts) and `answer`, the place of the right one.

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
    if is_table(path):
        names = [f"a{i}" for i in range(1, OPTIONS + 1)]
        asked = []
        for item in tgif_rows(path, (*names, "answer"), options):
            meta = {
                "question": item.meta["question"],
                "options": options_of(item.meta, names, item.where),
                "answer": place_of(item.meta["answer"], OPTIONS, item.where),
            }
            asked.append(Asked(item.where, item.id, item.video, meta))
    else:
        asked = asked_in(path, split, options, is_choice=True)
    return tgif_records(root, path, asked), LabelMap.of(())

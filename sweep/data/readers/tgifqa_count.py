"""Reader of TGIF-QA's questions how often something is done: the answer is a number, 10 at most.

Files as in `tgifqa`, official tables alone; the task is `count`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweep.data.label_maps import LabelMap
from sweep.data.readers.captioned import number_of, own_split
from sweep.data.readers.questions import Asked, is_table, tgif_records, tgif_rows, tgif_tables

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sweep.data.records import Record


def splits(root: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    """Table of every split: "train", "test" and the names of the shifts.

    Args:
        root: Folder of the data set.
        options: `encoding` of the tables, which :func:`read` reads.

    Raises:
        ValueError: A table lacks, or has another form; says which names were looked for.
    """
    del options
    found = tgif_tables(root, "count")
    for path in found.values():
        if not is_table(path):
            raise ValueError(f"{path}: counts are read from the official tables alone")
    return found


def read(root: Path, split: str, options: Mapping[str, Any]) -> tuple[list[Record], LabelMap]:
    """A record of every question of a split, in table order; no GIF is opened.

    `Record.meta` has `question` and `count`, a whole number from 0.

    Args:
        root: Folder of the data set.
        split: A key of :func:`splits`.
        options: See :func:`splits`.

    Raises:
        ValueError: A file is missing or says something that cannot be; names it.
    """
    known = splits(root, options)
    split = own_split("test" if split == "validation" else split, known, root)
    asked = []
    for one in tgif_rows(known[split], ("answer",), options):
        count = number_of(one.meta["answer"], f"{one.where}: answer")
        if count != int(count) or count < 0:
            raise ValueError(f"{one.where}: answer {count:g} (allowed: a whole number from 0)")
        meta = {"question": one.meta["question"], "count": int(count)}
        asked.append(Asked(one.where, one.id, one.video, meta))
    return tgif_records(root, known[split], asked), LabelMap.of(())

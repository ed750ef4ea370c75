"""The files of a cell: written whole or not at all, read back."""

from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sweep.records.outcomes import Outcomes

from sweep.records.record import TrialRecord, plain


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically: a reader sees the old file or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_cell(
    folder: Path,
    record: TrialRecord,
    history: Sequence[Mapping[str, Any]],
    outcomes: Outcomes | None,
) -> None:
    """Store a cell; ``result.json`` comes last, so that its presence means "done".

    A failed cell gets ``failure.json`` instead and counts as not done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", record.to_json()["config"])
    lines = "".join(json.dumps(plain(dict(row))) + "\n" for row in history)
    temporary = folder / f".history.{os.getpid()}"
    temporary.write_text(lines, encoding="utf-8")
    temporary.replace(folder / "history.jsonl")
    if outcomes is not None:
        outcomes.save(folder / "outcomes.npz")
    if record.status == "done":
        write_json(folder / "result.json", record.to_json())
        (folder / "failure.json").unlink(missing_ok=True)
    else:
        write_json(folder / "failure.json", record.to_json())


def read_record(folder: Path) -> TrialRecord | None:
    """The record of a cell folder, done or failed; None if it has neither."""
    for name in ("result.json", "failure.json"):
        path = folder / name
        if path.is_file():
            try:
                return TrialRecord.from_json(json.loads(path.read_text(encoding="utf-8")))
            except (json.JSONDecodeError, KeyError, TypeError):
                continue  # a damaged file counts as absent: the cell runs again
    return None


def read_records(sweep: Path) -> list[TrialRecord]:
    """Records of the planned cells of a sweep folder, in the order of the plan.

    Without a plan those of all cells. A sweep that was extended may hold cells which are no part
    of its plan any more.
    """
    cells = sweep / "cells"
    folders = {path.name: path for path in sorted(cells.iterdir())} if cells.is_dir() else {}
    order = list(folders)
    plan = sweep / "plan.json"
    if plan.is_file():
        planned = json.loads(plan.read_text(encoding="utf-8"))["cells"]
        order = [key for key in dict.fromkeys(cell["key"] for cell in planned) if key in folders]
    records = (read_record(folders[key]) for key in order)
    return [record for record in records if record is not None]


def read_history(folder: Path) -> list[dict[str, Any]]:
    """Rows of ``history.jsonl``: step, unified, losses, slopes, lr, gradient_norm."""
    path = folder / "history.jsonl"
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def validation_of(row: Mapping[str, Any]) -> dict[str, float]:
    """Metric -> value of a history row, or of an event of early stopping; {} if nothing was tested.

    The first one is the headline of the task. Earlier programs kept it alone, as `clean_accuracy`.
    """
    found = row.get("validation")
    if found is None and "clean_accuracy" in row:
        found = {"clean_accuracy": row["clean_accuracy"]}
    return {name: math.nan if v is None else float(v) for name, v in (found or {}).items()}

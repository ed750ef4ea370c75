"""The files of a cell, and the plan beside them: written whole or not at all, read back."""

from __future__ import annotations

import json
import logging
import math
import os
from typing import TYPE_CHECKING, Any

from sweep.records.plan import SweepPlan
from sweep.records.record import TrialRecord, plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sweep.records.outcomes import Outcomes


log = logging.getLogger(__name__)
#: Name of the file that says which cells a sweep consists of.
PLAN = "plan.json"


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically: a reader sees the old file or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_json(path: Path) -> dict[str, Any] | None:
    """A mapping stored as JSON; None where the file is missing or damaged, which is then named.

    A file may be cut by a full disk, overwritten by another program, or be the work of a hand:
    whatever it holds, one file must not end the reading of all others.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        _damaged(path, error)
        return None
    if not isinstance(content, dict):
        _damaged(path, f"a mapping was expected, found {type(content).__name__}")
        return None
    return content


def _damaged(path: Path, why: object) -> None:
    log.warning("%s is damaged and counts as missing: %s", path, why)


def write_cell(
    folder: Path,
    record: TrialRecord,
    history: Sequence[Mapping[str, Any]],
    outcomes: Outcomes | None,
) -> None:
    """Store a cell; ``result.json`` comes last, so that its presence means "done".

    A failed cell gets ``failure.json`` instead and counts as not done.
    """
    write_begun(folder, record.to_json()["config"], history)
    if outcomes is not None:
        outcomes.save(folder / "outcomes.npz")
    if record.status == "done":
        write_json(folder / "result.json", record.to_json())
        (folder / "failure.json").unlink(missing_ok=True)
    else:
        write_json(folder / "failure.json", record.to_json())


def write_begun(
    folder: Path, config: Mapping[str, Any], history: Sequence[Mapping[str, Any]]
) -> None:
    """Store what a cell has without a result: its configuration and what it logged."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config)
    lines = "".join(json.dumps(plain(dict(row))) + "\n" for row in history)
    temporary = folder / f".history.{os.getpid()}"
    temporary.write_text(lines, encoding="utf-8")
    temporary.replace(folder / "history.jsonl")


def read_record(folder: Path) -> TrialRecord | None:
    """The record of a cell folder, done or failed; None if it has neither."""
    for name in ("result.json", "failure.json"):
        content = read_json(folder / name)
        if content is None:
            continue  # a damaged file counts as absent: the cell runs again
        try:
            return TrialRecord.from_json(content)
        except (KeyError, TypeError, AttributeError) as error:
            _damaged(folder / name, f"{type(error).__name__}: {error}")
    return None


def read_records(sweep: Path) -> list[TrialRecord]:
    """Records of the planned cells of a sweep folder, in the order of the plan.

    Without a plan those of all cells. A sweep that was extended may hold cells which are no part
    of its plan any more.
    """
    cells = sweep / "cells"
    folders = {path.name: path for path in sorted(cells.iterdir())} if cells.is_dir() else {}
    order = list(folders)
    if (plan := stored_plan(sweep)) is not None:
        order = [key for key in plan.keys if key in folders]
    records = (read_record(folders[key]) for key in order)
    return [record for record in records if record is not None]


def write_plan(sweep: Path, plan: SweepPlan) -> None:
    """Write ``plan.json`` of a sweep."""
    write_json(sweep / PLAN, plan.to_json())


def stored_plan(sweep: Path) -> SweepPlan | None:
    """``plan.json`` of a sweep without its damaged rows; None where there is none with cells."""
    content = read_json(sweep / PLAN)
    return None if content is None else SweepPlan.from_json(content)


def has_plan(sweep: Path) -> bool:
    """Whether anything was ever planned here, even if the plan cannot be read any more."""
    return (sweep / PLAN).is_file()


def read_history(folder: Path) -> list[dict[str, Any]]:
    """Rows of ``history.jsonl``: step, unified, losses, slopes, lr, gradient_norm.

    Lines that cannot be read are left out, and the file is named.
    """
    path = folder / "history.jsonl"
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return []
    rows, torn = [], 0
    for line in filter(None, lines):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if isinstance(row, dict) and "step" in row:
            rows.append(row)
        else:
            torn += 1
    if torn:
        log.warning("%s: %d of %d lines are damaged and left out", path, torn, torn + len(rows))
    return rows


def validated_of(row: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Condition -> metric -> value of a validation by several conditions; {} for others."""
    return {
        name: {metric: math.nan if v is None else float(v) for metric, v in metrics.items()}
        for name, metrics in (row.get("validated") or {}).items()
    }


def validation_of(row: Mapping[str, Any]) -> dict[str, float]:
    """Metric -> value of a history row, or of an event of early stopping; {} if nothing was tested.

    The first one is the headline of the task. Earlier programs kept it alone, as `clean_accuracy`.
    """
    found = row.get("validation")
    if found is None and "clean_accuracy" in row:
        found = {"clean_accuracy": row["clean_accuracy"]}
    return {name: math.nan if v is None else float(v) for name, v in (found or {}).items()}

"""What happened in a sweep: events on disk, and the cells that they speak of.

``ledger.jsonl`` is append-only, one JSON object per line, each forced to disk before anything
else happens; a line that a crash tore is skipped. Events::

    opened       a driver took the sweep up, at work since `since`, with this `engine`; the one
                 before it was last `seen` then (where its progress.json tells)
    looked       `seeds` seeds had ended and a rule looked: `resolved` or not, and its `claims`
    planned      a cell is part of the sweep
    suggested    a search proposed a cell (`number`)
    refused      it proposed one that breaks a constraint for certain; it never runs
    dropped      a race over seeds ended a proposal (`key` of its first cell) after its cell `last`
    promoted     it chose cells for full fidelity or fresh seeds (`stage`, `cells`)
    started      a worker began it (`attempt`, counted over all drivers) and holds `cores`, `gpus`
    lost         an attempt ended without a record (`kind`, `message`); the cell is tried again
    finished     its result.json exists
    failed       it ended without a result; failure.json says why
    stopped      early stopping ended `attempt` of it at `step`, where it had `validation`: metric
                 of the task -> value on the clips to choose by, the headline first (earlier
                 programs wrote `clean_accuracy` alone; ``files.validation_of`` reads both). Its
                 config and history are kept, it has no result
    reused       it was answered without running (already finished, or equal content); one
                 taken over from another sweep names its `origin`
    extended     the plan grows by `changes` of the study, which had the seeds `seeds_before`
    renamed      the plan calls a finished cell by another name (`old`, `new`)
    over_budget  no further cell fits into `budget`: `spent` of `limit` in `unit`
    interrupted  the driver was asked to stop
"""

from __future__ import annotations

import json
import os
import uuid
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sweep.records.files import read_json, write_begun, write_cell
from sweep.records.record import TrialRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sweep.records.outcomes import Outcomes
    from sweep.settings.trial import TrialConfig

OUT_OF_MEMORY_ADVICE = (
    "let fewer trials share a node (resources.max_concurrent, cpus_per_trial, gpus_per_trial), "
    "test smaller batches (evaluate.batch), or take a larger node"
)


def now() -> str:
    """UTC time with milliseconds, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def engine_flags(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """`--local` where the last driver ran without Ray: for commands that go on with a sweep."""
    engines = [event["engine"] for event in events if "engine" in event]
    return ["--local"] if engines[-1:] == ["local"] else []


def sweep_id(sweep: Path) -> str:
    """Content of the file ``.id``, made once: tells a sweep from one of the same name elsewhere.

    A damaged one is made anew.
    """
    path = sweep / ".id"
    found = path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else ""
    if not (found.isascii() and found.isalnum()):
        found = uuid.uuid4().hex
        path.write_text(found, encoding="utf-8")
    return found


class Ledger:
    """Events and cells of one sweep folder. Only the driver writes."""

    def __init__(self, sweep: Path) -> None:
        self.sweep = sweep
        self.path = sweep / "ledger.jsonl"

    def cell(self, key: str) -> Path:
        """Folder of a cell."""
        return self.sweep / "cells" / key

    def append(self, *events: Mapping[str, Any]) -> None:
        """Add events, each with the time, and force them to disk."""
        if not events:
            return
        stamp = now()
        lines = b"".join(
            json.dumps({**event, "time": stamp}, ensure_ascii=False).encode() + b"\n"
            for event in events
        )
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                lines = b"\n" + lines  # a crash tore the last line
            written = 0
            while written < len(lines):
                written += os.write(descriptor, lines[written:])
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def events(self) -> list[dict[str, Any]]:
        """All events in order; torn lines are skipped."""
        if not self.path.is_file():
            return []
        found = []
        for line in self.path.read_bytes().split(b"\n"):
            try:
                event = json.loads(line)
            except ValueError:  # empty, torn or not UTF-8
                continue
            if isinstance(event, dict) and "event" in event:
                found.append(event)
        return found

    def executions(self) -> Counter[str]:
        """How often each cell was started, over all drivers."""
        return Counter(e["key"] for e in self.events() if e["event"] == "started")

    def finished(self) -> set[str]:
        """Keys of the cells whose ``result.json`` exists and can be read."""
        return {key for key in self._keys_with("result.json") if self.result(key) is not None}

    def failed(self) -> set[str]:
        """Keys of the cells that ended without a result."""
        return self._keys_with("failure.json") - self._keys_with("result.json")

    def stopped(self) -> dict[str, dict[str, Any]]:
        """Key -> event of the cells that early stopping ended."""
        return {e["key"]: e for e in self.events() if e["event"] == "stopped"}

    def result(self, key: str) -> TrialRecord | None:
        """The stored record of a finished cell; None if it has none or a damaged one."""
        content = read_json(self.cell(key) / "result.json")
        try:
            return None if content is None else TrialRecord.from_json(content)
        except (KeyError, TypeError, AttributeError):
            return None  # the cell runs again

    def store(
        self,
        record: TrialRecord,
        history: Sequence[Mapping[str, Any]],
        outcomes: Outcomes | None,
        *,
        attempt: int,
    ) -> TrialRecord:
        """Write a cell, then its event; returns the record with the attempt filled in.

        Raises:
            OSError: if the disk is full or gone; the cell then counts as not done.
        """
        record = replace(record, run={**record.run, "attempt": attempt})
        write_cell(self.cell(record.key), record, history, outcomes)
        event = {"event": "finished", "key": record.key, "attempt": attempt}
        if record.status == "failed":
            error = record.error or {}
            event |= {
                "event": "failed",
                "type": error.get("type", ""),
                "message": str(error.get("message", ""))[:300],
            }
        self.append(event)
        return record

    def store_stopped(
        self,
        config: TrialConfig,
        history: Sequence[Mapping[str, Any]],
        *,
        step: int,
        validation: Mapping[str, float],
        attempt: int,
    ) -> None:
        """Keep what an early-stopped trial left: config and history, but no result."""
        write_begun(self.cell(config.key), config.model_dump(mode="json"), history)
        self.append(
            {
                "event": "stopped", "key": config.key, "attempt": attempt,
                "step": step, "validation": dict(validation),
            }
        )  # fmt: skip

    def _keys_with(self, name: str) -> set[str]:
        return {path.parent.name for path in (self.sweep / "cells").glob(f"*/{name}")}


def failed_record(
    config: TrialConfig, *, kind: str, message: str, traceback: str = "", step: int | None = None
) -> TrialRecord:
    """The record of a cell that ended without a result of its own."""
    return TrialRecord(
        key=config.key,
        label=config.label,
        status="failed",
        seed=config.seed,
        losses=tuple(sorted(config.losses)),
        combiner=config.combiner.name,
        config=config.model_dump(mode="json"),
        error={"type": kind, "message": message, "traceback": traceback, "step": step},
    )

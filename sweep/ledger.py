"""What happened in a sweep: events on disk, one driver at a time, the environment it ran in.

``ledger.jsonl`` is append-only, one JSON object per line, each forced to disk before anything
else happens; a line that a crash tore is skipped. Events::

    opened       a driver took the sweep up, at work since `since`; the one before it was last
                 `seen` then (where its progress.json tells)
    planned      a cell is part of the sweep
    suggested    a search proposed a cell (`number`)
    refused      it proposed one that breaks a constraint for certain; it never runs
    promoted     it chose cells for full fidelity or fresh seeds (`stage`, `cells`)
    started      a worker began it (`attempt`, counted over all drivers) and holds `cores`, `gpus`
    lost         an attempt ended without a record (`kind`, `message`); the cell is tried again
    finished     its result.json exists
    failed       it ended without a result; failure.json says why
    stopped      early stopping ended it at `step` with `clean_accuracy`
    reused       it was answered without running (already finished, or equal content); one
                 taken over from another sweep names its `origin`
    extended     the plan grows by `changes` of the study
    renamed      the plan calls a finished cell by another name (`old`, `new`)
    over_budget  no further cell fits into `budget`: `spent` of `limit` in `unit`
    interrupted  the driver was asked to stop
"""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sweep.config import ConfigError, TrialConfig
from sweep.record import Outcomes, TrialRecord, write_cell, write_json

#: Silence after which a driver on another host counts as dead.
STALE_AFTER_S = 600.0
HEARTBEAT_S = 30.0
OUT_OF_MEMORY_ADVICE = (
    "let fewer trials share a node (resources.max_concurrent, cpus_per_trial, gpus_per_trial), "
    "test smaller batches (evaluate.batch), or take a larger node"
)
PACKAGES = (
    "auxsweep", "ray", "torch", "torchvision", "decord", "av", "opencv-python-headless", "wandb",
    "optuna", "numpy", "pandas", "scipy", "statsmodels", "scikit-learn", "pydantic", "transformers",
)  # fmt: skip


def now() -> str:
    """UTC time with milliseconds, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def sweep_id(sweep: Path) -> str:
    """Content of the file ``.id``, made once: tells a sweep from one of the same name elsewhere."""
    path = sweep / ".id"
    found = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
    if not found:
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
        try:
            text = (self.cell(key) / "result.json").read_text(encoding="utf-8")
            return TrialRecord.from_json(json.loads(text))
        except (OSError, KeyError, TypeError, json.JSONDecodeError):
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
        clean_accuracy: float,
        attempt: int,
    ) -> None:
        """Keep what an early-stopped trial left: config and history, but no result."""
        folder = self.cell(config.key)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "config.json", config.model_dump(mode="json"))
        lines = "".join(json.dumps(dict(row)) + "\n" for row in history)
        temporary = folder / f".history.{os.getpid()}"
        temporary.write_text(lines, encoding="utf-8")
        temporary.replace(folder / "history.jsonl")
        self.append(
            {
                "event": "stopped", "key": config.key, "attempt": attempt,
                "step": step, "clean_accuracy": clean_accuracy,
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


# ---------------------------------------------------------------------------------- one driver


class SweepLock:
    """One driver per sweep folder, on one host or several that share the folder.

    The file ``driver.lock`` names host, process and start; it is touched while the driver lives. It
    counts as stale when the process is gone (same host) or has been silent for ten minutes
    (another host, where the process cannot be asked).
    """

    def __init__(self, sweep: Path) -> None:
        self.sweep = sweep
        self.path = sweep / "driver.lock"
        self._ended = threading.Event()

    def acquire(self) -> None:
        """Take the folder.

        Raises:
            ConfigError: if another driver holds it; says which and where.
        """
        try:
            with FileLock(self.sweep / ".lock-guard", timeout=20) as guard:
                holder = driver(self.sweep)
                if holder is not None and holder["alive"]:
                    raise ConfigError(
                        f"{self.sweep}: another driver is at work on this sweep: "
                        f"process {holder['pid']} on {holder['host']}, since {holder['since']}. "
                        f"Watch it with `status {self.sweep}`, or stop it first."
                    )
                os.utime(guard.lock_file)
                write_json(
                    self.path,
                    {
                        "host": socket.gethostname(),
                        "pid": os.getpid(),
                        "process_start": process_start(os.getpid()),
                        "since": now(),
                    },
                )
        except Timeout:
            raise ConfigError(
                f"{self.sweep}: another driver is just starting on this sweep"
            ) from None
        threading.Thread(target=self._beat, name="sweep-heartbeat", daemon=True).start()

    def release(self) -> None:
        """Give the folder back; harmless if it was never taken."""
        self._ended.set()
        holder = _read_json(self.path)
        if holder and holder.get("pid") == os.getpid() and holder["host"] == socket.gethostname():
            self.path.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_S):
            try:
                os.utime(self.path)
            except OSError:
                continue  # a file server that stumbles; the next beat may succeed


def driver(sweep: Path) -> dict[str, Any] | None:
    """Who holds the sweep: host, pid, since, alive; None if nobody."""
    path = sweep / "driver.lock"
    content = _read_json(path)
    if content is None:
        return None
    if content.get("host") == socket.gethostname():
        alive = process_start(content["pid"]) == content.get("process_start")
        alive = alive and content.get("process_start") is not None
    else:
        try:
            alive = time.time() - path.stat().st_mtime < STALE_AFTER_S
        except OSError:
            alive = False
    return {**content, "alive": alive}


def process_start(pid: int) -> str | None:
    """Start time of a process, which tells a reused pid from the old one; None if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
        try:  # no /proc on this system
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            return "unknown"
        return "unknown"
    return None if fields[0] in {"Z", "X"} else fields[19]


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


# --------------------------------------------------------------------------------- environment


def environment() -> dict[str, Any]:
    """Versions and machine of the driver, without importing torch or ray."""
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "time": now(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "cpu": _cpu_name(),
        "cpus": os.cpu_count(),
        "gpus": _output("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"),
        "git": "".join(_output("git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD")),
        "packages": packages,
    }


def write_environment(sweep: Path) -> None:
    """``environment.json``: the first driver's; later ones are added where they differ."""
    path = sweep / "environment.json"
    found = environment()
    content = _read_json(path)
    if content is None:
        write_json(path, found)
        return
    last = content["resumed"][-1] if content.get("resumed") else content
    if any(found[k] != last.get(k) for k in ("python", "host", "git", "packages")):
        write_json(path, {**content, "resumed": [*content.get("resumed", []), found]})


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()


def _output(*command: str) -> list[str]:
    """Lines that a program prints; empty if it is absent or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.strip().splitlines() if done.returncode == 0 else []

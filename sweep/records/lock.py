"""One driver per sweep: a lock that a crashed driver does not keep."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sweep.records.files import read_json, write_json
from sweep.records.ledger import now
from sweep.runtime.program import program
from sweep.settings.section import ConfigError

#: Silence after which a driver that cannot be asked (another host or container) counts as dead.
STALE_AFTER_S = 600.0
HEARTBEAT_S = 30.0

log = logging.getLogger(__name__)


class SweepLock:
    """One driver per sweep folder, on one host or several that share the folder.

    The file ``driver.lock`` names host, PID namespace, process and start; it is touched while the
    driver lives. It counts as stale when the process is gone (same host and namespace) or has been
    silent for ten minutes (elsewhere, where a process number means another process or none).
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
                holder = holder_of(self.sweep)
                if holder is not None and not holder["alive"] and self._beats(holder):
                    holder["alive"] = True
                if holder is not None and holder["alive"]:
                    raise ConfigError(
                        f"{self.sweep}: another driver is at work on this sweep: "
                        f"process {holder['pid']} on {holder['host']}, since {holder['since']}. "
                        f"Watch it with `{program('status', self.sweep)}`, or stop it first (if "
                        f"you know that it is gone, remove {self.path})."
                    )
                os.utime(guard.lock_file)
                write_json(
                    self.path,
                    {
                        "host": socket.gethostname(),
                        "pid_namespace": pid_namespace(),
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
        holder = holder_of(self.sweep)
        if holder is not None and holder["pid"] == os.getpid() and _is_here(holder):
            self.path.unlink(missing_ok=True)

    def _beats(self, holder: dict[str, Any]) -> bool:
        """Whether a lock whose stamp lies in the future is touched while we look at it.

        Its clock and ours disagree, so that its age says nothing; a driver touches it regularly.
        """
        if _is_here(holder) or not _is_from_the_future(self.path):
            return False
        log.warning(
            "%s carries a time of the future (another clock?): looking for %.0f s whether a "
            "driver touches it",
            self.path,
            HEARTBEAT_S + 5,
        )
        before, end = _stamp(self.path), time.monotonic() + HEARTBEAT_S + 5
        while time.monotonic() < end:
            if _stamp(self.path) != before:
                return True
            time.sleep(0.5)
        return False

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_S):
            try:
                os.utime(self.path)
            except OSError:
                continue  # a file server that stumbles; the next beat may succeed


def holder_of(sweep: Path) -> dict[str, Any] | None:
    """Who holds the sweep: host, pid, since, alive; None if nobody."""
    path = sweep / "driver.lock"
    content = read_json(path)
    if content is None:
        return None
    if not isinstance(content.get("pid"), int) or not isinstance(content.get("host"), str):
        log.warning("%s is damaged and counts as missing: it names no process", path)
        return None
    if _is_here(content):
        alive = process_start(content["pid"]) == content.get("process_start")
        alive = alive and content.get("process_start") is not None
    else:
        stamp = _stamp(path)
        alive = stamp is not None and abs(time.time() - stamp) < STALE_AFTER_S
    return {"since": "an unknown time", **content, "alive": alive}


def pid_namespace() -> str:
    """Which numbering of processes this process lives in (Linux); "" where there is one only.

    Containers may share a host name and a folder, and yet number their processes apart.
    """
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _is_here(holder: dict[str, Any]) -> bool:
    """Whether its process number can be looked up here; locks of before named no namespace."""
    namespace = pid_namespace()
    return (
        holder.get("host") == socket.gethostname()
        and holder.get("pid_namespace", namespace) == namespace
    )


def _stamp(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _is_from_the_future(path: Path) -> bool:
    stamp = _stamp(path)
    return stamp is not None and stamp - time.time() >= STALE_AFTER_S


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

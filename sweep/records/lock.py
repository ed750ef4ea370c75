"""One driver per sweep: a lock that a crashed driver does not keep."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sweep.records.files import write_json
from sweep.records.ledger import _read_json, now
from sweep.settings.section import ConfigError

#: Silence after which a driver on another host counts as dead.
STALE_AFTER_S = 600.0


HEARTBEAT_S = 30.0


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
                holder = holder_of(self.sweep)
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


def holder_of(sweep: Path) -> dict[str, Any] | None:
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

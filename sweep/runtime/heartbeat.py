"""Signs of life: whatever takes long says so, and whoever watches over a trial listens.

A healthy trial can be busy for long without a number to report: data are prepared, a test set is
perturbed, another trial holds a lock. Such loops call ``beat``; a trial that is silent for longer
than ``resources.hang_timeout_s`` counts as hanging. One process runs one trial at a time, so the
listener belongs to the process and need not be handed through every function.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: Between two beats while waiting for a lock.
LOCK_BEAT_S = 1.0

_listener: Callable[[str], None] | None = None


def beat(what: str = "") -> None:
    """Say that work goes on; ``what`` is shown to people, such as `testing 3/40`.

    Cheap: it may be called in every step.
    """
    if _listener is not None:
        _listener(what)


@contextmanager
def heard_by(listener: Callable[[str], None]) -> Iterator[None]:
    """Let a function hear every beat of this process during the block."""
    global _listener
    before, _listener = _listener, listener
    try:
        yield
    finally:
        _listener = before


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file; waiting for another process is a sign of life too."""
    lock = FileLock(path)
    while True:
        try:
            lock.acquire(timeout=LOCK_BEAT_S)
        except Timeout:
            beat(f"waiting for another process: {what}")
        else:
            break
    try:
        yield
    finally:
        lock.release()

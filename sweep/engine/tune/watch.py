"""Watches over workers: one that gives no sign of life is asked for its stacks, then killed.

A task on the worker's node does both, so it works without a shared folder and for a worker whose
interpreter is blocked: the stacks are written by a signal handler in C (``faulthandler``) and the
kill needs no consent. Tune then sees a dead worker and the cell is tried again.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import socket
import tempfile
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypedDict

from sweep.records.lock import process_start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ray import ObjectRef
    from ray.actor import ActorHandle

#: A node that does not answer within this time loses the worker without its stacks.
ANSWER_WITHIN_S = 45.0
#: The worker dies a moment before the answer of the task that killed it is here.
STACKS_WITHIN_S = 3.0
#: A gap between two checks above this: the driver was held up itself and heard nothing.
BUSY_S = 5.0


class Whereabouts(TypedDict):
    """How a worker is found, and how it is asked for its stacks.

    Attributes:
        node: Id of its node in Ray.
        host: Name of its node.
        pid: Of its process.
        start: When the process began, as the kernel tells it: numbers are given again.
        descriptor: Of the open file that a signal fills with its stacks.
    """

    node: str
    host: str
    pid: int
    start: str
    descriptor: int


@dataclass
class _Watched:
    """A worker at work."""

    actor: ActorHandle
    heard: float
    at: str = ""
    where: Whereabouts | None = None
    answer: ObjectRef[str] | None = None
    asked: float | None = None
    silent_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hang:
    """A worker that was killed for its silence.

    Attributes:
        key: Of its cell.
        message: How long it was silent, where, and what it said last.
        host: Name of its node, where known.
        stacks: Of all its threads, as text; empty if it could not be asked.
    """

    key: str
    message: str
    stacks: str
    host: str | None


class Watchdog:
    """Knows when each worker was heard last. Used by the driver's main thread.

    Args:
        timeout_s: Silence that counts as hanging; None watches over nothing.
    """

    def __init__(self, timeout_s: float | None) -> None:
        self.timeout_s = timeout_s
        self.watched: dict[str, _Watched] = {}
        self._checked = time.monotonic()

    def began(self, key: str, actor: ActorHandle) -> None:
        """A worker begins a cell."""
        self.watched[key] = _Watched(actor, heard=time.monotonic())

    def heard(self, key: str, *, where: Whereabouts | None, at: str) -> None:
        """A report has come; the first one says where the worker is."""
        worker = self.watched.get(key)
        if worker is not None:
            worker.heard = time.monotonic()
            worker.where = where or worker.where
            worker.at = at or worker.at

    def ended(self, key: str) -> None:
        """The worker of a cell is done or gone."""
        self.watched.pop(key, None)

    def host(self, key: str) -> str | None:
        """Name of the node of a cell's worker; None before its first report."""
        worker = self.watched.get(key)
        return _host(worker.where) if worker is not None else None

    def check(self) -> Iterator[Hang]:
        """Called several times a second: yields the workers that have just been killed."""
        if self.timeout_s is None:
            return
        moment = time.monotonic()
        gap, self._checked = moment - self._checked, moment
        for key, worker in list(self.watched.items()):
            if worker.asked is not None:
                if (hang := self._killed(key, worker)) is not None:
                    self.ended(key)
                    yield hang
            elif gap > BUSY_S:
                worker.heard += gap
            elif moment - worker.heard > self.timeout_s:
                worker.asked, worker.silent_s = moment, moment - worker.heard
                worker.answer = _ask(worker.where)

    def lost(self, key: str) -> Hang | None:
        """Tune has seen a worker die: what is known if it was killed for its silence."""
        worker = self.watched.get(key)
        if worker is None or worker.asked is None:
            return None
        hang = self._killed(key, worker, wait_s=STACKS_WITHIN_S)
        return hang or self._hang(key, worker, "")

    def _killed(self, key: str, worker: _Watched, *, wait_s: float = 0.0) -> Hang | None:
        """What came of asking a silent worker; None while its node may still answer."""
        import ray

        assert worker.asked is not None
        stacks = ""
        if worker.answer is not None:
            ready, _ = ray.wait([worker.answer], timeout=wait_s)
            if not ready and time.monotonic() - worker.asked < ANSWER_WITHIN_S:
                return None
            if ready:
                with contextlib.suppress(ray.exceptions.RayError):
                    stacks = ray.get(worker.answer)
        with contextlib.suppress(ray.exceptions.RayError, ValueError):
            ray.kill(worker.actor)
        return self._hang(key, worker, stacks)

    def _hang(self, key: str, worker: _Watched, stacks: str) -> Hang:
        host = _host(worker.where)
        message = f"no sign of life for {worker.silent_s:.0f} s on {host or 'its node'}"
        if worker.at:
            message += f", last at '{worker.at}'"
        return Hang(key=key, message=message, stacks=stacks, host=host)


def _host(where: Whereabouts | None) -> str | None:
    return None if where is None else where["host"]


def _ask(where: Whereabouts | None) -> ObjectRef[str] | None:
    """Start the task on the worker's node; None if nothing is known of the worker."""
    if where is None:
        return None
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    pinned = NodeAffinitySchedulingStrategy(where["node"], soft=False)
    how: Any = {"num_cpus": 0, "scheduling_strategy": pinned, "max_retries": 0}
    task = ray.remote(**how)(stacks_then_kill)
    return task.remote(where["pid"], where["start"], where["descriptor"])


# ------------------------------------------------------------------------------------ on the node


@lru_cache(maxsize=1)
def _stacks_file() -> IO[bytes]:
    """An open file without a name that a signal fills with the stacks of this process."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process lives
    faulthandler.register(signal.SIGUSR2, file=file, all_threads=True)
    return file


def whereabouts() -> Whereabouts:
    """In a worker: how it is found, and how it is asked for its stacks."""
    import ray

    return {
        "node": ray.get_runtime_context().get_node_id(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "start": process_start(os.getpid()) or "",
        "descriptor": _stacks_file().fileno(),
    }


def stacks_then_kill(pid: int, start: str, descriptor: int, *, wait_s: float = 10.0) -> str:
    """On the node of a worker: its stacks, then SIGKILL.

    A stopped or blocked process gives no stacks and is killed all the same.
    """
    if process_start(pid) != start:
        return ""  # gone already; the number may belong to another process
    stacks = b""
    with contextlib.suppress(OSError), Path(f"/proc/{pid}/fd/{descriptor}").open("rb") as file:
        os.kill(pid, signal.SIGUSR2)
        end = time.monotonic() + wait_s
        while time.monotonic() < end:
            time.sleep(0.2)
            more = file.read()
            stacks += more
            if stacks and not more:
                break
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return stacks.decode(errors="replace")

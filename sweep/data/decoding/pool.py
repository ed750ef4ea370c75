"""Worker processes that are given up when they fall silent: a bad item costs only itself.

Native decoders can hang for ever or bring their process down (dmlc/decord issues 220, 269, 363). An
executor of the standard library can neither stop one item nor survive the end of a worker, hence
this small pool: every worker has a pipe of its own, and the parent kills and replaces it.

Silence, not length, is the sign of a hang: how long an item takes follows from nothing that is
known before (a still recording of 9,000 frames has 2 MiB). Functions call :func:`beat` as they go.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
import types
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_SPAWN = multiprocessing.get_context("spawn")
#: Variables by which the libraries below numpy learn how many threads to start.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_START = threading.Lock()
_BEAT_EVERY_S = 0.2


class _Beat:
    """Message of a worker: it goes on."""


@dataclass
class _Here:
    """What a worker process knows of itself."""

    say: Callable[[], None] | None = None
    last_s: float = 0.0


_here = _Here()


def is_worker() -> bool:
    """Whether this process is one of a pool."""
    return _here.say is not None


def watched(say: Callable[[], None]) -> None:
    """Make this process a worker whose beats are told by ``say``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
    _here.say = say


def beat() -> None:
    """Say that the work on an item goes on; cheap, and of no effect outside a worker."""
    if _here.say is None:
        return
    now = time.monotonic()
    if now - _here.last_s >= _BEAT_EVERY_S:
        _here.last_s = now
        _here.say()


@dataclass(frozen=True)
class Failure:
    """Why an item has no result."""

    kind: Literal["error", "timeout", "crash"]
    message: str


def check(result: Any, doing: str) -> None:
    """Raise RuntimeError if a result is a failure, for work in which no item may fail."""
    if isinstance(result, Failure):
        raise RuntimeError(f"{doing} failed: {result.message}")  # noqa: TRY004


def default_workers() -> int:
    """Number of processes for work on files: the cores that we may use, at most 8."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, 8)


def run(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    *,
    workers: int | None = None,
    silence_s: float | None = None,
    on_result: Callable[[int, Any], None] | None = None,
) -> list[Any]:
    """Results of ``function`` over ``items`` in their order; a :class:`Failure` where it failed.

    Items that fell silent or ended their process are tried once more, alone, when the others are
    done: the machine may have been busy, or short of memory.

    Args:
        function: A function of a module (it is imported by name in the workers).
        items: Arguments, picklable.
        workers: Number of processes; None = :func:`default_workers`, 0 = in this process, where
            neither silence nor a crash can be caught.
        silence_s: Longest time without a :func:`beat` or a result; None = any.
        on_result: Called in this process with (index, result) in the order of completion.
    """
    workers = default_workers() if workers is None else workers
    results: list[Any] = [None] * len(items)

    def done(index: int, result: Any) -> None:
        results[index] = result
        if on_result is not None:
            on_result(index, result)

    if workers == 0:
        for index, item in enumerate(items):
            done(index, _guarded(function, item))
        return results
    again: list[int] = []

    def first(index: int, result: Any) -> None:
        if isinstance(result, Failure) and result.kind != "error":
            again.append(index)
        else:
            done(index, result)

    _pass(function, items, range(len(items)), workers, silence_s, first)
    _pass(function, items, sorted(again), 1, silence_s, done)
    return results


def _pass(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    indices: Sequence[int],
    workers: int,
    silence_s: float | None,
    done: Callable[[int, Any], None],
) -> None:
    """Work through some of the items."""
    waiting = list(indices)[::-1]
    team = [_Worker(function) for _ in range(min(workers, len(waiting)))]
    try:
        while any(worker.is_busy for worker in team) or waiting:
            _step(team, items, waiting, silence_s, done)
    finally:
        for worker in team:
            worker.stop()


def _step(
    team: list[_Worker],
    items: Sequence[Any],
    waiting: list[int],
    silence_s: float | None,
    done: Callable[[int, Any], None],
) -> None:
    """Wait for the next message or deadline and act on it."""

    def seconds_left(worker: _Worker) -> float:
        if silence_s is None or worker.index is None:
            return math.inf
        return worker.since + silence_s - time.monotonic()

    patience = min(3600.0, *(seconds_left(worker) for worker in team))
    ready = wait([worker.pipe for worker in team], timeout=max(0.0, patience))
    for worker in team:
        if worker.pipe in ready:
            outcome = worker.receive()
            if isinstance(outcome, _Beat):
                worker.since = time.monotonic()
                continue
        elif seconds_left(worker) <= 0:
            outcome = Failure("timeout", f"no answer within {silence_s:g} s")
            worker.replace()
        else:
            continue
        if worker.index is not None:
            done(worker.index, outcome)
        worker.index = None
        if worker.is_ready and waiting:
            index = waiting.pop()
            worker.hand(index, items[index])


class _Worker:
    """One process and the item that it works on."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function
        self.index: int | None = None
        self.since = 0.0
        self._start()

    @property
    def is_busy(self) -> bool:
        return self.index is not None

    def _start(self) -> None:
        self.pipe, other = _SPAWN.Pipe()
        self.process = _SPAWN.Process(target=_serve, args=(other, self.function), daemon=True)
        with without_main():
            self.process.start()
        other.close()
        self.is_ready = False

    def hand(self, index: int, item: Any) -> None:
        """Give the worker an item; it has said that it is up."""
        self.index, self.since = index, time.monotonic()
        with contextlib.suppress(OSError):  # it ended meanwhile: `receive` will say so
            self.pipe.send(item)

    def receive(self) -> Any:
        """The result in the pipe, or what the end of the process means."""
        try:
            message = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            code = self.process.exitcode
            if not self.is_ready:
                raise RuntimeError(f"a worker process ended with code {code} on start") from None
            self.replace()
            return Failure("crash", f"the worker process ended with code {code}")
        self.is_ready = True
        return message

    def replace(self) -> None:
        self.stop()
        self._start()

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


@contextlib.contextmanager
def without_main() -> Iterator[None]:
    """Let processes start that do not run the caller's script again.

    A spawned child imports the file of `__main__`; without the usual guard a script would start
    its own work a second time there. Our functions live in modules, so the child needs no main.
    There is a worker per core, so each gets one thread: numpy's own would only get in their way.
    """
    with _START:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        unset = [name for name in _THREADS if name not in os.environ]
        os.environ.update(dict.fromkeys(unset, "1"))
        try:
            yield
        finally:
            sys.modules["__main__"] = main
            for name in unset:
                del os.environ[name]


def _serve(pipe: Connection, function: Callable[[Any], Any]) -> None:
    """Loop of a worker: say that it is up, then answer every item; end with the parent."""
    watched(lambda: pipe.send(_Beat()))
    try:
        pipe.send(None)
        while True:
            pipe.send(_guarded(function, pipe.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _guarded(function: Callable[[Any], Any], item: Any) -> Any:
    try:
        return function(item)
    except Exception as error:  # noqa: BLE001  any error of one item is that item's result
        return Failure("error", f"{type(error).__name__}: {error}")

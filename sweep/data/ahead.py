"""Clips made ahead of their use by processes of a `DataLoader`, which are given up when they hang.

The loader gives order, shared memory and pinned pages. What it cannot do is tell a slow file from
one that hangs: here every worker says which clip it reads and that it goes on, and the parent looks
when nothing came for a while. Silence, not length, is the sign of a hang (``decoding.pool``).
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections import deque
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from sweep.data.decoding import index as indexing
from sweep.data.decoding import pool
from sweep.runtime import heartbeat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from torch import Tensor

    from sweep.data.sources import ClipSource

#: Items that a worker has ready at most.
PREFETCH = 2
#: How often the parent looks at workers from which nothing comes.
LOOK_EVERY_S = 1.0
#: Longest time in which processes begin, on a busy machine.
START_S = 300.0
_IDLE = -1.0


class HungError(RuntimeError):
    """A worker fell silent, or its process ended, in a clip.

    Attributes:
        row: The clip; None where that is not known.
    """

    def __init__(self, row: int | None, message: str) -> None:
        super().__init__(message)
        self.row = row


def loaders(workers: int | None) -> int:
    """Processes that read ahead: ``data.workers``, else one per other core of the trial, at most 8.

    The cores of a trial are the threads that it may use: other trials run on the rest of the node.
    """
    if workers is not None:
        return workers
    return max(1, min(torch.get_num_threads(), pool.default_workers()) - 1)


def read_ahead(
    make: Callable[[Any], dict[str, Tensor]],
    items: Iterable[Any],
    source: ClipSource,
    *,
    workers: int,
    pin: bool = False,
) -> Iterator[dict[str, Tensor]]:
    """``make`` of every item in order, made ahead.

    Args:
        make: A picklable function that reads ``source``; pure, so that it does not matter where it
            runs.
        items: What it is called with; taken in this process, a few ahead.
        source: Clips whose reading is watched.
        workers: Processes; 0 = in this one, where a hang is not noticed.
        pin: Whether the tensors go to pinned memory.

    Raises:
        HungError: A worker said nothing for ``decoding.index.SILENCE_S``, or ended, twice in the
            same clip.
    """
    if workers == 0:
        yield from map(make, items)
        return
    left = iter(items)
    taken: deque[Any] = deque()  # items on their way
    suspected: set[int | None] = set()

    def hand(again: Sequence[Any]) -> Iterator[Any]:
        yield from again
        for item in left:
            taken.append(item)
            yield item

    iterator, signs = _start(make, hand(()), source, workers=workers, pin=pin)
    try:
        while True:
            try:
                made = _next(iterator, signs)
            except StopIteration:
                return
            except HungError as error:
                if error.row in suspected:
                    raise
                # once more: the machine may have been busy, or short of memory
                suspected.add(error.row)
                _end(iterator)
                iterator, signs = _start(make, hand(list(taken)), source, workers=workers, pin=pin)
                continue
            taken.popleft()
            yield made
    finally:
        _end(iterator)


def _start(
    make: Callable[[Any], dict[str, Tensor]],
    items: Iterator[Any],
    source: ClipSource,
    *,
    workers: int,
    pin: bool,
) -> tuple[Any, Tensor]:
    """The iterator of a loader, and by worker the clip that it reads and when it last told."""
    signs = torch.full((workers, 2), _IDLE, dtype=torch.float64).share_memory_()
    with warnings.catch_warnings():
        # more processes than cores are the user's wish: they wait for the disk, too
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        loader = DataLoader(
            _Made(make, source, signs),
            batch_size=None,
            sampler=items,  # what a worker gets is the item itself
            num_workers=workers,
            prefetch_factor=PREFETCH,
            pin_memory=pin,
            timeout=LOOK_EVERY_S,
            multiprocessing_context="spawn",
            worker_init_fn=_begin,
        )
        with pool.without_main():
            return iter(loader), signs


class _Made(Dataset[Any]):
    """What is made of an item; errors are results, which the parent raises."""

    def __init__(
        self, make: Callable[[Any], dict[str, Tensor]], source: ClipSource, signs: Tensor
    ) -> None:
        self.make, self.source, self.signs = make, source, signs

    def __getitem__(self, item: Any) -> Any:
        worker = get_worker_info()
        assert worker is not None
        sign = self.signs[worker.id]

        def on_file(row: int) -> None:
            sign[1] = time.monotonic()
            sign[0] = row

        self.source.on_file = on_file  # type: ignore[attr-defined]
        try:
            return self.make(item)
        except Exception as error:  # noqa: BLE001  the loader would bury it in its own words
            return error
        finally:
            sign[0] = _IDLE


def _begin(worker: int) -> None:
    """In a worker: let decoders say that they go on, and keep their words off the terminal."""
    info = get_worker_info()
    assert info is not None
    sign = info.dataset.signs[worker]  # type: ignore[attr-defined]

    def say() -> None:
        sign[1] = time.monotonic()

    pool.watched(say)
    indexing.silence()


def _next(iterator: Any, signs: Tensor) -> dict[str, Tensor]:
    since = time.monotonic()
    while True:
        try:
            made = next(iterator)
        except RuntimeError as error:
            _look(error, signs, since)
            heartbeat.beat("waiting for clips")
            continue
        if isinstance(made, Exception):
            raise made
        found: dict[str, Tensor] = made
        return found


def _look(error: RuntimeError, signs: Tensor, since: float) -> None:
    """Go on waiting, or say which clip hangs; ``since`` then the parent has waited."""
    text = str(error)
    if "exited unexpectedly" in text or "killed by signal" in text:
        at_work = signs[signs[:, 0] != _IDLE, 0].tolist()
        row = int(at_work[0]) if len(at_work) == 1 else None
        raise HungError(row, f"a process that reads clips ended: {text}") from error
    if "timed out" not in text:
        raise error
    now = time.monotonic()
    for row, last in signs.tolist():
        if row != _IDLE and now - last > indexing.SILENCE_S:
            raise HungError(int(row), f"no frame for {indexing.SILENCE_S:g} s")
    if (signs[:, 0] == _IDLE).all() and now - since > START_S:
        raise HungError(None, f"no process that reads clips has begun within {START_S:g} s")


def _end(iterator: Any) -> None:
    """Stop the processes now; one that hangs is terminated after some seconds."""
    with contextlib.suppress(RuntimeError):  # one that had died already
        iterator._shutdown_workers()

"""What the cells of a sweep have held of machines, and what a budget still affords."""

from __future__ import annotations

import heapq
import statistics
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sweep.engine.folder import last_seen
from sweep.records.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from sweep.settings.budget import Budget, Unit
    from sweep.settings.resources import ResourceSettings


def spent(sweep: Path, resources: ResourceSettings, at: float | None = None) -> Meter:
    """What the cells of a sweep have held, by its ledger.

    Args:
        sweep: Its folder.
        resources: What cells ask for whose start does not say it.
        at: Now, while a driver is at work on it; None = it ended when it was last seen.
    """
    meter = Meter(cores=resources.cpus_per_trial, gpus=resources.gpus)
    meter.read(Ledger(sweep).events())
    if at is None:
        seen = last_seen(sweep)
        meter.closed(max(meter.last, 0.0 if seen is None else moment(seen)))
    return meter


#: Events that a driver at work writes; others may come from one that is only starting.
_OF_WORK = frozenset(
    {"opened", "started", "finished", "failed", "stopped", "lost", "suggested", "over_budget"}
    | {"interrupted"}
)


@dataclass
class _Held:
    """A cell that was handed out; `since` is None until a worker begins it."""

    kind: tuple[str, ...]
    cores: float
    gpus: float
    since: float | None = None

    def rate(self, unit: Unit) -> float:
        """Hours in this unit per hour."""
        return {"gpuh": self.gpus, "cpuh": self.cores, "h": 1.0}[unit]


class Meter:
    """Adds up what the cells of a sweep hold. Moments are seconds since 1970.

    Args:
        cores: Of a cell whose start does not say it.
        gpus: Likewise.
        workers: Cells at a time, as far as known.
        expected_s: Seconds per cell, until finished ones tell.
    """

    def __init__(
        self, *, cores: float, gpus: float, workers: int = 1, expected_s: float | None = None
    ) -> None:
        self.cores, self.gpus = cores, gpus
        self.workers = workers
        self.expected_s = expected_s
        self.held: dict[str, _Held] = {}
        self._used_s: dict[Unit, float] = {"gpuh": 0.0, "cpuh": 0.0, "h": 0.0}
        self._opened: float | None = None
        self.last = 0.0
        #: Beginnings of a kind, from the whole kind to nothing, -> seconds of finished cells.
        self._seconds: defaultdict[tuple[str, ...], list[float]] = defaultdict(list)

    def opened(self, at: float, *, seen: float | None = None) -> None:
        """A driver takes the sweep up; one before it was at work until its last event or `seen`."""
        end = self.last if seen is None else min(at, max(seen, self.last))
        self.closed(end)
        self._opened = self.last = at

    def closed(self, at: float) -> None:
        """The driver is gone, and with it whatever was at work."""
        for key in list(self.held):
            self.ended(key, at)
        if self._opened is not None:
            self._used_s["h"] += max(0.0, at - self._opened)
        self._opened = None

    def handed(self, key: str, kind: tuple[str, ...], *, cores: float, gpus: float) -> None:
        """A cell waits for a worker."""
        self.held[key] = _Held(kind, cores, gpus)

    def began(
        self,
        key: str,
        at: float,
        *,
        cores: float | None = None,
        gpus: float | None = None,
        kind: tuple[str, ...] = (),
    ) -> None:
        """A worker begins a cell, for the first time or again."""
        before = self.held.get(key)
        if before is not None and before.since is not None:
            self.ended(key, self.last)  # nobody saw its end
        self.held[key] = _Held(
            before.kind if before is not None else kind,
            self.cores if cores is None else cores,
            self.gpus if gpus is None else gpus,
            since=at,
        )
        self.last = max(self.last, at)

    def ended(self, key: str, at: float, *, is_whole: bool = False) -> None:
        """A cell, or an attempt at it, holds nothing any more.

        Args:
            key: Of the cell.
            at: When.
            is_whole: It finished: its time tells how long others of its kind take.
        """
        self.last = max(self.last, at)
        cell = self.held.pop(key, None)
        if cell is None or cell.since is None:
            return
        seconds = max(0.0, at - cell.since)
        for unit in ("gpuh", "cpuh"):
            self._used_s[unit] += seconds * cell.rate(unit)
        if is_whole:
            for length in range(len(cell.kind) + 1):
                self._seconds[cell.kind[:length]].append(seconds)

    def read(
        self,
        events: Iterable[Mapping[str, Any]],
        kinds: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        """Play a ledger.

        Args:
            events: Its events in order.
            kinds: Cell key -> what its time depends on, the most important part first.
        """
        kinds = kinds or {}
        for event in events:
            name = event["event"]
            if name not in _OF_WORK:
                continue
            at = moment(event["time"])
            if name == "opened":
                seen = event.get("seen")
                self.opened(moment(event["since"]), seen=None if seen is None else moment(seen))
            elif self._opened is None:  # a ledger from before drivers said so
                self._opened = at
            if name == "started":
                key = event["key"]
                self.began(
                    key,
                    at,
                    cores=event.get("cores"),
                    gpus=event.get("gpus"),
                    kind=kinds.get(key, ()),
                )
            elif name in {"finished", "failed", "stopped", "lost"}:
                self.ended(event["key"], at, is_whole=name == "finished")
            elif name == "interrupted":
                self.closed(at)
            self.last = max(self.last, at)

    def spent(self, unit: Unit, at: float | None = None) -> float:
        """Hours spent until a moment; None = until the last thing that happened."""
        at = self.last if at is None else at
        seconds = self._used_s[unit]
        if unit == "h":
            return (seconds + (max(0.0, at - self._opened) if self._opened else 0.0)) / 3600
        for cell in self.held.values():
            if cell.since is not None:
                seconds += max(0.0, at - cell.since) * cell.rate(unit)
        return seconds / 3600

    def expected(self, kind: tuple[str, ...]) -> float:
        """Seconds that a cell of a kind takes: as those like it, else as all, else as predicted."""
        for length in range(len(kind), -1, -1):
            if known := self._seconds.get(kind[:length]):
                return statistics.fmean(known)
        return self.expected_s or 0.0

    def fits(
        self, budget: Budget, kind: tuple[str, ...], *, cores: float, gpus: float, at: float
    ) -> bool:
        """Whether the budget holds what is spent, what is at work, and one more cell."""
        unit = budget.unit
        spent = self.spent(unit, at)
        if spent >= budget.amount:
            return False
        left = [
            self.expected(cell.kind) - (0.0 if cell.since is None else at - cell.since)
            for cell in self.held.values()
        ]
        if unit == "h":  # the cell waits until one of the workers is free
            ends = [0.0] * max(
                1, self.workers, sum(c.since is not None for c in self.held.values())
            )
            for seconds in (*(max(0.0, s) for s in left), self.expected(kind)):
                end = heapq.heappop(ends) + seconds
                heapq.heappush(ends, end)
            return spent + end / 3600 <= budget.amount
        more = sum(
            max(0.0, seconds) * cell.rate(unit)
            for seconds, cell in zip(left, self.held.values(), strict=True)
        )
        more += self.expected(kind) * _Held(kind, cores, gpus).rate(unit)
        return spent + more / 3600 <= budget.amount


def moment(text: str) -> float:
    """Seconds since 1970 of the time of an event."""
    return datetime.fromisoformat(text).timestamp()

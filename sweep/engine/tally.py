"""What has become of the cells of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sweep.records.ledger import Ledger
    from sweep.records.record import TrialRecord


class Tally:
    """Counts distinct cells.

    Attributes:
        finished: Keys with a result in the folder, planned or not.
        planned: Keys of the plan; a search adds to them.
        done: Planned keys with a result, whoever made it.
        failed: Those that ended without one in this run.
        stopped: Those that early stopping ended and that have no result.
        reused: How many were answered without running: finished before, of equal content, or
            listed twice.
        failures: Name of a failed cell -> reason.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.finished = ledger.finished()
        self._stopped = set(ledger.stopped())
        self.planned: set[str] = set()
        self.done: set[str] = set()
        self.failed: set[str] = set()
        self.stopped: set[str] = set()
        self.reused = 0
        self.failures: dict[str, str] = {}

    def plan(self, keys: Iterable[str], *, twice: int = 0, failed: Iterable[str] = ()) -> None:
        """Take a plan over: what of it was finished or stopped before.

        Args:
            keys: Of its cells.
            twice: How many cells a design lists that are others under another name.
            failed: Those that failed before and do not run again.
        """
        self.planned = set(keys)
        self.done = self.finished & self.planned
        self.stopped = (self._stopped & self.planned) - self.finished
        self.failed = set(failed)
        self.reused = twice + len(self.done)

    def add(self, key: str) -> None:
        """A search came up with a cell."""
        self.planned.add(key)
        if key in self.finished:
            self.done.add(key)

    def take(self, key: str) -> None:
        """A cell of another sweep answers one of a search."""
        self.finished.add(key)
        self.done.add(key)
        self.reused += 1

    def end(self, record: TrialRecord) -> str | None:
        """Count a stored cell; what to tell of it if it failed."""
        if record.status == "done":
            self.finished.add(record.key)
            self.done.add(record.key)
            self.stopped.discard(record.key)
            self.failed.discard(record.key)
            return None
        error = record.error or {}
        name = f"{record.label} s{record.seed} ({record.key})"
        self.failures[name] = f"{error.get('type')}: {error.get('message')}"
        self.failed.add(record.key)
        return f"failed: {name}: {self.failures[name]}"

    def stop(self, key: str) -> None:
        """Count a cell that early stopping ended."""
        if key not in self.finished:
            self.stopped.add(key)

    @property
    def missing(self) -> int:
        """Planned cells of which nothing has become yet."""
        return len(self.planned) - len(self.done) - len(self.stopped) - len(self.failed)

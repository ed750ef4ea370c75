"""W&B runs of the cells: what a session tells, in the words of ``sweep.tracking``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweep.engine.contract import Listener
from sweep.records.files import read_history

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweep.engine.contract import Row
    from sweep.engine.demand import Demand
    from sweep.records.ledger import Ledger
    from sweep.records.record import TrialRecord
    from sweep.settings.trial import TrialConfig
    from sweep.tracking.track import NoTracker, Tracker


class Tracked(Listener):
    """Hands everything on to a tracker.

    Args:
        tracker: Writes the runs.
        ledger: Has the history of cells that ran elsewhere.
    """

    def __init__(self, tracker: Tracker | NoTracker, ledger: Ledger) -> None:
        self._tracker = tracker
        self._ledger = ledger

    def began(self, cell: TrialConfig, attempt: int, asked: Demand) -> None:  # noqa: ARG002
        """Open a run."""
        self._tracker.start(cell.key, cell, attempt)

    def advanced(self, key: str, row: Row) -> None:
        """Add a row to an open run."""
        self._tracker.log(key, row)

    def ended(self, record: TrialRecord, history: Sequence[Row]) -> None:
        """Close a run with its results."""
        self._tracker.finish(record.key, record, history)

    def stopped(self, cell: TrialConfig, history: Sequence[Row], last: Row) -> None:
        """Close a run that has no results."""
        self._tracker.stop(cell.key, cell, history, **last)

    def reused(self, record: TrialRecord) -> None:
        """Write the run of a cell that ran elsewhere, or that has another name now."""
        self.ended(record, read_history(self._ledger.cell(record.key)))

    def close(self, *, in_haste: bool) -> None:
        """Leave W&B; in haste what is late stays on disk for `sync`."""
        self._tracker.close(timeout_s=1.0 if in_haste else 60.0)

"""Cells whose tests saw other pixels than those of the other cells: noticed, taken back, refused.

Another version of a library, or another processor, may make other clips of the same recipe; scores
then do not compare. Cells of other sweeps are not taken over if they differ from what ran here, and
are taken back where that shows later; what ran here is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweep.engine.contract import Listener
from sweep.engine.signals import disk
from sweep.records.pixels import conflict, named, recipe
from sweep.records.reuse import is_taken, withdraw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sweep.engine.contract import Row
    from sweep.records.ledger import Ledger
    from sweep.records.record import TrialRecord


class SamePixels(Listener):
    """Holds every record against the first of its recipe.

    Args:
        ledger: Of the sweep.
        note: Shows a line to people.
    """

    def __init__(self, ledger: Ledger, *, note: Callable[[str], None]) -> None:
        self._ledger = ledger
        self._note = note
        #: Recipe of the tests -> a record that others are held against.
        self._known: dict[str, TrialRecord] = {}

    def withdraw_unlike(self, keys: Iterable[str]) -> None:
        """Let reused cells run whose tests had other pixels than those of cells that ran here."""
        records = [r for key in keys if (r := self._ledger.result(key)) is not None]
        for record in sorted(records, key=is_taken):
            unlike, why = self.conflict(record)
            if not unlike:
                self.add(record)
            elif is_taken(record):
                reason = f"tested on other pixels under {named(unlike)} ({why})"
                with disk(self._ledger.sweep):
                    withdraw(self._ledger, record.key, reason)
                self._note(f"{record.label} s{record.seed}, reused, runs here: {reason}")
            else:
                self._note(_unlike(record, unlike, why))

    def conflict(self, record: TrialRecord) -> tuple[list[str], str]:
        """Conditions under which a record was tested on other pixels, and why; [] and "" if none.

        See ``sweep.records.pixels.conflict``.
        """
        return conflict(record, self._known.values())

    def add(self, record: TrialRecord) -> None:
        """A record that agrees with those before it: later ones are held against it."""
        self._known.setdefault(recipe(record), record)

    def ended(self, record: TrialRecord, history: Sequence[Row]) -> None:  # noqa: ARG002
        """Say at once that a cell was tested on other pixels than the cells before it."""
        unlike, why = self.conflict(record)
        if not unlike:
            self.add(record)
            return
        self._note(_unlike(record, unlike, why))
        if any(is_taken(known) for known in self._known.values()):
            self._note("what was reused from other sweeps runs here at the next `resume`")


def _unlike(record: TrialRecord, conditions: Sequence[str], why: str) -> str:
    return (
        f"{record.label} s{record.seed} does not compare with the cells before it under "
        f"{named(conditions)}: the tested pixels differ ({why})"
    )

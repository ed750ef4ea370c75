"""Finished cells of other sweeps, taken over where a cell of this one is equal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweep.engine.folder import read_plan
from sweep.engine.signals import disk
from sweep.records.ledger import Ledger
from sweep.records.pixels import named
from sweep.records.reuse import Taken, holder, sweeps, take
from sweep.settings.section import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sweep.engine.same_pixels import SamePixels
    from sweep.engine.signals import Signals
    from sweep.settings.trial import TrialConfig


class OtherSweeps:
    """The sweeps that a study names under `reuse`.

    Args:
        folders: Sweeps, or folders of sweeps.
        ledger: Of this sweep.
        same_pixels: Refuses cells that were tested on other pixels.
        signals: Deferred while a cell is copied.
        note: Shows a line to people.

    Raises:
        ConfigError: if a folder is neither, and this sweep has not begun.
    """

    def __init__(
        self,
        folders: Sequence[str],
        ledger: Ledger,
        *,
        same_pixels: SamePixels,
        signals: Signals,
        note: Callable[[str], None],
    ) -> None:
        self._ledger = ledger
        self._same_pixels = same_pixels
        self._signals = signals
        self._note = note
        self._folders: list[Path] = []
        try:
            self._folders = sweeps(folders)
        except ConfigError as error:
            if read_plan(ledger.sweep) is None:
                raise
            # what the first driver found there is here already
            note(f"{error}; the sweep goes on without it")

    def take(self, cell: TrialConfig) -> Taken | None:
        """Answer a cell by one of another sweep, if there is one and none here."""
        if not self._folders or self._ledger.result(cell.key) is not None:
            return None
        origin = holder(self._folders, cell.key)
        if origin is None:
            return None
        offered = Ledger(origin).result(cell.key)
        if offered is not None:
            unlike, why = self._same_pixels.conflict(offered)
            if unlike:
                self._note(
                    f"{cell.label} s{cell.seed} of {origin} is not reused "
                    f"and runs here: it was tested on other pixels under {named(unlike)} ({why})"
                )
                return None
        with disk(self._ledger.sweep), self._signals.deferred():
            taken = take(self._ledger, cell, origin)
        self._same_pixels.add(taken.record)
        return taken

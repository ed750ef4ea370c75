"""Which cell comes next: those of the design in order, then what a search suggests."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from sweep.cells.resolve import resolve
from sweep.engine.contract import Listener
from sweep.settings.losses import CombinerSettings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from sweep.cells.search.search import Search
    from sweep.engine.contract import Row
    from sweep.records.ledger import Ledger
    from sweep.records.record import TrialRecord
    from sweep.settings.study import StudyConfig
    from sweep.settings.trial import TrialConfig


class CellQueue(Listener):
    """The cells of a sweep that still have to run.

    Args:
        study: Of the sweep.
        ledger: Of the sweep; a search is rebuilt from it.
        cells: Of the design; one that comes twice runs once, under its last name.
        finished: Keys of cells that need not run.
        fingerprint: Of the data set.

    Attributes:
        cells: Key -> cell, of the whole plan so far.
        search: Suggests further cells; None for other designs.
    """

    def __init__(
        self,
        study: StudyConfig,
        ledger: Ledger,
        cells: Sequence[TrialConfig],
        *,
        finished: Collection[str],
        fingerprint: str = "",
    ) -> None:
        self.cells = {cell.key: cell for cell in cells}
        self.search: Search | None = None
        self._study = study
        self._ledger = ledger
        waiting = [key for key in self.cells if key not in finished]
        if study.design.kind == "search":
            from sweep.cells.search.search import Search

            self.search = Search(
                study,
                ledger,
                fingerprint=fingerprint,
                anchors=list(self.cells.values()),
                elsewhere=frozenset(waiting),
            )
            self.cells |= self.search.configs
            for promoted in self.search.promoted.values():
                self.cells |= promoted
        self._waiting = waiting[::-1]
        self._unended = set(waiting)

    @property
    def is_through(self) -> bool:
        """Whether every planned cell has ended."""
        return not self._unended

    def add(self, cells: Iterable[TrialConfig], *, finished: Collection[str]) -> None:
        """Further cells are part of the plan, after those that wait; finished ones need not run."""
        for cell in cells:
            if cell.key not in self.cells:
                self.cells[cell.key] = cell
                if cell.key not in finished:
                    self._waiting.insert(0, cell.key)
                    self._unended.add(cell.key)

    @property
    def first(self) -> TrialConfig | None:
        """The planned cell that is next; None if a search has to be asked."""
        return self.cells[self._waiting[-1]] if self._waiting else None

    @property
    def is_over(self) -> bool:
        """Whether nothing will come any more, whatever the cells at work bring."""
        return not self._waiting and (self.search is None or self.search.is_over)

    @property
    def left(self) -> int:
        """Suggestions still to come."""
        return self.search.left * self._study.search.seeds if self.search is not None else 0

    @property
    def settled(self) -> set[str]:
        """Cells that failed and that the search knows of: others are suggested instead."""
        return set() if self.search is None else self._ledger.failed() & self.search.ended

    def pop(self) -> TrialConfig | None:
        """Hand out the next planned cell."""
        return self.cells[self._waiting.pop()] if self._waiting else None

    def suggest(self) -> TrialConfig | None:
        """What the search proposes next: part of the plan from now on; None if nothing now."""
        cell = None if self.search is None else self.search.next()
        if cell is not None:
            self.cells.setdefault(cell.key, cell)
        return cell

    def put_back(self, cell: TrialConfig) -> None:
        """A cell that was handed out is next again."""
        self._waiting.append(cell.key)

    def stage(self, key: str) -> str | None:
        """What a cell of a search is there for; None in other designs."""
        return None if self.search is None else self.search.stage(key)

    def stops(self, key: str, rows: Sequence[Row]) -> bool:
        """Whether early stopping ends a cell after these rows."""
        return self.search is not None and self.search.rows(key, rows)

    def ended(self, record: TrialRecord, history: Sequence[Row]) -> None:  # noqa: ARG002
        """A planned cell has ended; a search learns from its record."""
        self._unended.discard(record.key)
        if self.search is not None:
            self.search.finished(record)

    def stopped(self, cell: TrialConfig, history: Sequence[Row], last: Row) -> None:  # noqa: ARG002
        """The search learns where a cell was stopped."""
        if self.search is not None:
            self.search.stopped(cell.key, last)

    def reused(self, record: TrialRecord) -> None:
        """The search learns from a record of another sweep."""
        self.ended(record, ())

    def samples(self) -> list[TrialConfig]:
        """The planned cells; of a search also one with all losses for each combiner."""
        planned = list(self.cells.values())
        if self.search is None:
            return planned
        study = self._study
        return planned + [
            resolve(
                study,
                study.losses,
                CombinerSettings(name=name, knobs=knobs or {}),
                label="all",
                seed=study.seed_list[0],
            )
            for name, knobs in study.combiners.items()
        ]

    def reuse_training(self, key: str) -> None:
        """Give a cell the checkpoint of the one that was trained alike, if it lies here."""
        source = self.search.trained_by.get(key) if self.search is not None else None
        if source is None:
            return
        trained, mine = (self._ledger.cell(k) / "checkpoint" for k in (source, key))
        if not trained.is_dir() or mine.exists():
            return
        mine.parent.mkdir(parents=True, exist_ok=True)
        copy = mine.with_name(f".checkpoint.{os.getpid()}")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(trained, copy, copy_function=_link_or_copy)
        copy.replace(mine)


def _link_or_copy(source: str, target: str) -> None:
    """A second name for a file, where the disk allows it: a checkpoint is replaced, not changed."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)

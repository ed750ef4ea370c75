"""Keeps ``plan.json`` up with the cells of a session; its format: ``sweep.records.plan``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from sweep.engine.folder import read_plan
from sweep.engine.signals import disk
from sweep.records.files import write_plan
from sweep.records.ledger import now
from sweep.records.plan import PlannedCell, SweepPlan

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sweep.engine.cell_queue import CellQueue
    from sweep.engine.tally import Tally
    from sweep.settings.study import StudyConfig

#: A growing plan is written this often at most; the ledger has every suggestion at once.
PLAN_EVERY_S = 2.0


class PlanFile:
    """Writes the plan, and again while it grows.

    Args:
        study: Of the sweep.
        sweep: Its folder; the date of a plan that lies there stays.
        queue: Has the cells.
        tally: Knows what lies in the folder and is no part of the plan.
        data: About the data set.
    """

    def __init__(
        self,
        study: StudyConfig,
        sweep: Path,
        queue: CellQueue,
        tally: Tally,
        data: Mapping[str, Any],
    ) -> None:
        self._study = study
        self._sweep = sweep
        self._queue = queue
        self._tally = tally
        self._data = dict(data)
        before = read_plan(sweep)
        self._created = (before.created if before is not None else "") or now()
        self._written_at = 0.0
        self._took_s = 0.0
        self._is_old = False

    def grew(self) -> None:
        """A cell was added: write, unless that was done a moment ago."""
        self._is_old = True
        if time.monotonic() - self._written_at > PLAN_EVERY_S + 20 * self._took_s:
            self.write()

    def catch_up(self) -> None:
        """Write what was put off."""
        if self._is_old:
            self.write()

    def write(self) -> None:
        """Write the whole plan.

        Raises:
            Halt: if the disk takes no more.
        """
        began = time.monotonic()
        cells = [
            PlannedCell(
                key=key,
                label=cell.label,
                seed=cell.seed,
                losses=tuple(sorted(cell.losses)),
                combiner=cell.combiner.name,
                design=self._study.design.kind,
                stage=self._queue.stage(key),
            )
            for key, cell in self._queue.cells.items()
        ]
        plan = SweepPlan(
            study=self._study.name,
            scale=self._study.scale,
            created=self._created,
            cells=tuple(cells),
            not_planned=tuple(sorted(self._tally.finished - set(self._queue.cells))),
            data=self._data,
        )
        with disk(self._sweep):
            write_plan(self._sweep, plan)
        self._written_at = time.monotonic()
        self._took_s = self._written_at - began
        self._is_old = False

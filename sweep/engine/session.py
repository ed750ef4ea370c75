"""The cells of a running sweep: handed out, heard of, stored.

The session is the ledger, the queue and those who listen. It is the only writer of the ledger.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

from sweep.engine.allowance import Allowance
from sweep.engine.blocks import SeedBlocks
from sweep.engine.board import Board, Counts
from sweep.engine.cell_queue import CellQueue
from sweep.engine.contract import Cells
from sweep.engine.folder import last_seen
from sweep.engine.other_sweeps import OtherSweeps
from sweep.engine.plan_file import PlanFile
from sweep.engine.same_pixels import SamePixels
from sweep.engine.signals import Halt, Signals, disk
from sweep.engine.summary import ExitCode, Summary
from sweep.engine.tally import Tally
from sweep.engine.tracked import Tracked
from sweep.records.files import validation_of
from sweep.records.ledger import Ledger, failed_record, now, sweep_id
from sweep.records.lock import holder_of
from sweep.records.record import TrialResult
from sweep.records.reuse import describe, rename
from sweep.tracking.track import open_tracker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from sweep.engine.blocks import Rule
    from sweep.engine.contract import Listener, Row
    from sweep.engine.demand import Demand
    from sweep.records.record import TrialRecord
    from sweep.settings.study import StudyConfig
    from sweep.settings.trial import TrialConfig

log = logging.getLogger(__name__)


class Session(Cells):
    """What an engine asks and tells, see ``Cells``. Use as a context manager around an engine.

    Args:
        study: The resolved study.
        sweep: Folder of the sweep.
        cells: Of the design; a search adds its own.
        signals: End the sweep; default: none are handled.
        board: Shows where the sweep stands; default: one on stderr.
        fingerprint: Of the data set.
        data: About the data set, for ``plan.json``.

    Raises:
        ConfigError: if a folder under `reuse` is no sweep, or the search cannot be built.
        Halt: if the disk takes no more.
    """

    def __init__(
        self,
        study: StudyConfig,
        sweep: Path,
        cells: Sequence[TrialConfig],
        *,
        signals: Signals | None = None,
        board: Board | None = None,
        fingerprint: str = "",
        data: Mapping[str, Any] | None = None,
    ) -> None:
        self.study, self.sweep = study, sweep
        self.signals = signals or Signals()
        self.engine = ""  # what runs the cells, as the ledger tells it
        self.ledger = Ledger(sweep)
        self.board = board or Board(study, sweep=sweep, total=0)
        self._attempts = self.ledger.executions()
        self._rows: dict[str, dict[int, dict[str, Any]]] = {}
        self._at_work: set[str] = set()

        self.same_pixels = SamePixels(self.ledger, note=self.board.note)
        self.others = OtherSweeps(
            study.reuse, self.ledger,
            same_pixels=self.same_pixels, signals=self.signals, note=self.board.note,
        )  # fmt: skip
        self._cells = list(cells)
        self.blocks: SeedBlocks | None = None
        if study.design.stopping is not None:
            self.blocks = SeedBlocks(study, self.ledger.events())
            cells = self.blocks.planned(cells)
        self.rule: Rule | None = None
        self._new_here = self._rename_and_take(cells)
        self.tally = Tally(self.ledger)
        self.queue = CellQueue(
            study, self.ledger, cells, finished=self.tally.finished, fingerprint=fingerprint
        )
        self.tally.plan(
            self.queue.cells,
            twice=len(cells) - len({cell.key for cell in cells}),
            failed=self.queue.settled,
        )
        self.allowance = Allowance(study.resources, self.queue.cells, self.ledger.events())
        self.plan_file = PlanFile(study, sweep, self.queue, self.tally, data or {})
        self.tracked = Tracked(open_tracker(sweep, study), self.ledger)
        self._listeners: tuple[Listener, ...] = (
            self.board, self.allowance, self.tracked, self.queue, self.same_pixels,
        )  # fmt: skip
        self._count()

    def _rename_and_take(self, cells: Sequence[TrialConfig]) -> list[TrialRecord]:
        """Finished cells under the names of this plan, and what other sweeps have of the rest."""
        with disk(self.sweep):
            found = (rename(self.ledger, cell) for cell in cells)
            renamed = [record for record in found if record is not None]
        distinct = {cell.key: cell for cell in cells}
        self.same_pixels.withdraw_unlike(distinct)
        taken = [one for cell in distinct.values() if (one := self.others.take(cell)) is not None]
        for line in describe(taken):
            self.board.note(line)
        return [*renamed, *(one.record for one in taken)]

    def __enter__(self) -> Session:
        at_work, seen = holder_of(self.sweep), last_seen(self.sweep)
        since = at_work["since"] if at_work is not None else now()
        self.allowance.opened(since, seen=seen)
        opened = {"event": "opened", "since": since, **({} if seen is None else {"seen": seen})}
        opened |= {"engine": self.engine} if self.engine else {}
        with disk(self.sweep):
            self.ledger.append(opened, *self._news())
        for key in self.tally.done:
            record = self.ledger.result(key)
            if record is not None:
                self.board.consider(record)
        for record in self._new_here:
            self.tracked.reused(record)
        self.board.__enter__()
        self._look()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(Halt):  # a full disk has said so already
            self.plan_file.catch_up()
        self.board.__exit__(kind, error, trace)
        self.tracked.close(in_haste=isinstance(error, Halt))

    def _news(self) -> list[dict[str, Any]]:
        """What is new in the plan, and what is reused from earlier drivers."""
        known = self.ledger.events()
        planned = {e["key"] for e in known if e["event"] == "planned"}
        told = {e["key"] for e in known if e["event"] == "finished"}
        events = [
            {"event": "planned", "key": c.key, "label": c.label, "seed": c.seed}
            for c in self.queue.cells.values()
            if c.key not in planned
        ]
        reused = [key for key in self.queue.cells if key in self.tally.finished]
        # a driver that died after it had stored a result and before it had told the ledger
        events += [
            {"event": "finished", "key": key, "attempt": self._attempts[key]}
            for key in reused
            if key not in told
        ]
        return events + [{"event": "reused", "key": key} for key in reused]

    # ------------------------------------------------------------------------------- what is asked

    @property
    def is_open(self) -> bool:
        """Whether a cell may still have to run: whether an engine is needed."""
        if self.queue.first is not None:
            return self._affords(self.queue.first)
        return self.learns

    def next(self) -> TrialConfig | None:
        """The next cell to run; None if there is none now (see ``is_over``)."""
        cell = self.queue.pop() or self._of_next_block() or self._suggested()
        if cell is None:
            return None
        if not self._affords(cell):
            self.queue.put_back(cell)
            return None
        self.allowance.handed(cell)
        self._at_work.add(cell.key)
        return cell

    def _affords(self, cell: TrialConfig) -> bool:
        """Whether the budget has room for a cell; says so once it is certain that it has not."""
        if self.allowance.fits(cell):
            return True
        if (event := self.allowance.exhausted(cell)) is not None:
            self._append(event)
        return False

    def _of_next_block(self) -> TrialConfig | None:
        """The first cell of the seeds that a look has added; None if there are none."""
        self._look()
        return self.queue.pop()

    def _look(self) -> None:
        """Look at the seeds, if all of them have ended, until there are cells to run or enough."""
        blocks = self.blocks
        while blocks is not None and not blocks.over and self.queue.is_through:
            assert self.rule is not None, "checked before anything was started"
            with disk(self.sweep), self.signals.deferred():
                self.plan_file.write()  # by which the rule finds the cells
                found = self.rule(self.sweep, blocks.seeds)
                self.ledger.append({"event": "looked", "seeds": blocks.seeds, **found})
                self.note(_shown(blocks.seeds, found))
                blocks.looked(bool(found["resolved"]))
                self._release(blocks.planned(self._cells))
            self._count()

    def _release(self, cells: Sequence[TrialConfig]) -> None:
        """Make cells part of the plan, and take over what other sweeps have of them."""
        new = [cell for cell in cells if cell.key not in self.queue.cells]
        taken = {cell.key: one for cell in new if (one := self.others.take(cell)) is not None}
        self.tally.finished |= set(taken)
        self.queue.add(new, finished=self.tally.finished)
        for cell in new:
            self.tally.add(cell.key)
        self.tally.reused += sum(cell.key in self.tally.finished for cell in new)
        self.ledger.append(
            *({"event": "planned", "key": c.key, "label": c.label, "seed": c.seed} for c in new)
        )
        for one in taken.values():
            for listener in self._listeners:
                listener.reused(one.record)
        if new:
            self.plan_file.write()

    def _suggested(self) -> TrialConfig | None:
        """What the search proposes next and no other sweep has answered."""
        search = self.queue.search
        if search is None:
            return None
        with disk(self.sweep), self.signals.deferred():
            before = search.reused
            while (cell := self.queue.suggest()) is not None:
                if cell.key not in self.tally.planned:
                    self.tally.add(cell.key)
                    self.plan_file.grew()
                taken = self.others.take(cell)
                if taken is None:
                    self.queue.reuse_training(cell.key)
                    break
                self.tally.take(cell.key)
                for listener in self._listeners:
                    listener.reused(taken.record)
            self.tally.reused += search.reused - before
        self._count()
        return cell

    @property
    def is_over(self) -> bool:
        """Whether ``next`` has nothing more, whatever the cells at work bring."""
        waits = self.blocks is not None and not self.blocks.over
        return bool(self.allowance.why) or (self.queue.is_over and not waits)

    @property
    def learns(self) -> bool:
        """Whether later cells depend on what ends."""
        return self.queue.search is not None

    @property
    def has_missing(self) -> bool:
        """Whether cells did not run so far."""
        return bool(self.summary().message)

    def samples(self) -> list[TrialConfig]:
        """Cells by which room is judged."""
        return self.queue.samples()

    def scratch(self, key: str) -> Path:
        """Folder of a cell."""
        return self.ledger.cell(key)

    def marker(self) -> str:
        """Tells this folder from one of the same name elsewhere."""
        with disk(self.sweep):
            return sweep_id(self.sweep)

    def check(self) -> None:
        """Called often by an engine."""
        self.signals.check()
        self.board.tick()

    # -------------------------------------------------------------------------------- what is told

    def note(self, text: str) -> None:
        """Something to show once."""
        self.board.note(text)

    def expect_workers(self, count: int) -> None:
        """So many cells can be at work at a time: a limit in hours is laid over them."""
        self.allowance.meter.workers = count

    def remembered(self, event: str) -> list[Mapping[str, Any]]:
        """Findings of an engine, in order."""
        return [e for e in self.ledger.events() if e["event"] == event]

    def remember(self, event: str, **content: Any) -> None:
        """Keep a finding of the engine."""
        self._append({"event": event, **content})

    def began(self, key: str, asked: Demand | None = None) -> None:
        """A worker begins a cell, for the first time or again."""
        if (cell := self._cell(key)) is None:
            return
        asked = asked or self.allowance.demand(cell)
        self._attempts[key] += 1
        attempt = self._attempts[key]
        self._append({"event": "started", "key": key, "attempt": attempt, **asked.held()})
        for listener in self._listeners:
            listener.began(cell, attempt, asked)

    def heard(self, key: str, at: str) -> None:
        """A cell gives a sign of life."""
        self.board.heard(key, at)

    def advanced(self, key: str, rows: Sequence[Row], at: str = "") -> bool:
        """A cell reports history rows or what it is at; True if early stopping ends it here."""
        if self._cell(key) is None:
            return False
        kept = self._rows.setdefault(key, {})
        self.heard(key, at)
        for row in rows:
            step = int(row["step"])
            kept[step] = {**kept.get(step, {}), **row}
            for listener in self._listeners:
                listener.advanced(key, row)
        return self.queue.stops(key, rows)

    def ended(self, result: TrialResult) -> None:
        """A cell hands over its record: store it before anything else."""
        key = result.record.key
        if self._cell(key) is None:
            return
        with self.signals.deferred(), disk(self.sweep):
            record = self.ledger.store(
                result.record, result.history, result.outcomes, attempt=max(1, self._attempts[key])
            )
        self._forget(key)
        if (said := self.tally.end(record)) is not None:
            self.note(said)
        self._count()
        for listener in self._listeners:
            listener.ended(record, result.history)

    def attempt_lost(self, key: str, kind: str, message: str, *, host: str | None) -> None:
        """An attempt ended without a record; the cell is tried again."""
        if (cell := self._cell(key)) is None:
            return
        event = {"event": "lost", "key": key, "attempt": self._attempts[key]}
        self._append({**event, "kind": kind, "message": message, "host": host})
        for listener in self._listeners:
            listener.lost(cell, kind, message)

    def hung(self, key: str, message: str, stacks: str) -> None:
        """The worker of a cell was silent for too long; keep where it hung."""
        path = self.ledger.cell(key) / "stacks.txt"
        head = f"attempt {self._attempts[key]}, {now()}: {message}"
        with contextlib.suppress(OSError):  # a help for people, not worth the sweep
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{head}\n{stacks or '(its stacks could not be had)'}\n")
        log.debug("%s\n%s", head, stacks)

    def lost(self, key: str, message: str, *, kind: str = "WorkerDied") -> None:
        """The worker of a cell is gone for the last time that `resources.max_failures` allows."""
        if (cell := self._cell(key)) is None:
            return
        rows = self._rows.get(key, {})
        record = failed_record(cell, kind=kind, message=message, step=max(rows, default=None))
        self.ended(
            TrialResult(record=record, history=[rows[step] for step in sorted(rows)], outcomes=None)
        )

    def stopped(self, key: str) -> None:
        """Early stopping ended a cell."""
        if (cell := self._cell(key)) is None:
            return
        rows = self._rows.get(key, {})
        history = [rows[step] for step in sorted(rows)]
        validated = [row for row in history if validation_of(row)]
        if not validated:
            self.lost(key, "the trial ended without a record")
            return
        last = {"step": validated[-1]["step"], "validation": validation_of(validated[-1])}
        with self.signals.deferred(), disk(self.sweep):
            self.ledger.store_stopped(cell, history, attempt=self._attempts[key], **last)
        self._forget(key)
        self.tally.stop(key)
        self._count()
        for listener in self._listeners:
            listener.stopped(cell, history, last)

    # ----------------------------------------------------------------------------------------- end

    def summary(self) -> Summary:
        """Counts over the distinct cells of the plan."""
        tally, missing = self.tally, self.tally.missing
        code = ExitCode.CELLS_FAILED if tally.failed or missing > 0 else ExitCode.DONE
        message = f"{missing} cells did not run" if missing > 0 else ""
        search = self.queue.search
        if search is not None and search.refused and not search.asked:
            code = ExitCode.CELLS_FAILED
            message = (
                f"the search ran no trial: all {search.refused} suggestions break "
                f"search.constraints ({', '.join(search.settings.constraints)}); widen them"
            )
        if self.allowance.why:
            code = ExitCode.OVER_BUDGET
            message = (
                f"{self.allowance.why}; {missing + self.queue.left} cells did not run; resume with "
                "a larger --budget"
            )
        return Summary(
            code=code,
            sweep=self.sweep,
            planned=len(tally.planned),
            done=len(tally.done),
            failed=len(tally.failed),
            stopped=len(tally.stopped),
            reused=tally.reused,
            failures=dict(tally.failures),
            message=message,
        )

    def _cell(self, key: str) -> TrialConfig | None:
        """A cell at work; None for others, of which an engine has nothing new to tell."""
        if key in self._at_work:
            return self.queue.cells[key]
        log.debug("told of %s, which is not at work", key)
        return None

    def _forget(self, key: str) -> None:
        self._at_work.discard(key)
        self._rows.pop(key, None)

    def _append(self, event: Mapping[str, Any]) -> None:
        with disk(self.sweep), self.signals.deferred():
            self.ledger.append(event)

    def _count(self) -> None:
        self.board.counts = Counts(
            total=len(self.queue.cells) + self.queue.left,
            done=len(self.tally.done),
            failed=len(self.tally.failed),
            stopped=len(self.tally.stopped),
            reused=self.tally.reused,
        )


def _shown(seeds: int, found: Mapping[str, Any]) -> str:
    """A look in one line."""
    holds, all_ = found.get("holds", 0), found.get("comparisons", 0)
    rest = "no further seed is needed" if found["resolved"] else "not resolved yet"
    return f"look at {seeds} seeds: {holds} of {all_} comparisons hold; {rest}"

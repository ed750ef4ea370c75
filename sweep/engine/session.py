"""The cells of a running sweep: handed out, heard of, stored.

The session is the only writer of the ledger.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
from typing import TYPE_CHECKING, Any

from sweep.engine.board import Board, duration
from sweep.engine.demand import Demand, demand
from sweep.engine.meter import Meter, moment
from sweep.planning.cost import kind_of
from sweep.records.files import read_history, validation_of, write_json
from sweep.records.ledger import Ledger, failed_record, now, sweep_id
from sweep.records.lock import holder_of
from sweep.records.pixels import conflict, named, recipe
from sweep.records.reuse import (
    Taken,
    describe,
    holder,
    is_taken,
    rename,
    sweeps,
    take,
    withdraw,
)
from sweep.settings.budget import NAMES, parse_budget
from sweep.settings.section import ConfigError
from sweep.tracking.track import open_tracker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sweep.cells.search.search import Search
    from sweep.records.outcomes import Outcomes
    from sweep.records.record import TrialRecord
    from sweep.settings.study import StudyConfig
    from sweep.settings.trial import TrialConfig
from sweep.engine.folder import check_fingerprint, last_seen, read_plan
from sweep.engine.signals import Halt, Signals, disk
from sweep.engine.summary import ExitCode, Summary

log = logging.getLogger(__name__)


#: A growing plan is written this often at most; the ledger has every suggestion at once.
PLAN_EVERY_S = 2.0


class Session:
    """What an engine asks (`next`) and tells (`began`, `advanced`, `ended`, ...).

    All calls come from the main thread.
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
        self.study = study
        self.sweep = sweep
        self.signals = signals or Signals()
        self.ledger = Ledger(sweep)
        self.cells = {cell.key: cell for cell in cells}
        self.search: Search | None = None
        self.failures: dict[str, str] = {}
        limit = study.resources.budget
        self.budget = None if limit is None else parse_budget(limit)
        self.over_budget = ""
        self._data = dict(data or {})
        self._rows: dict[str, dict[int, dict[str, Any]]] = {}
        self._attempts = self.ledger.executions()
        self._created = now()
        self.board = board or Board(study, sweep=sweep, total=0)
        self.taken: list[Taken] = []
        self._known_pixels: dict[str, TrialRecord] = {}
        self._sources = self._find_sources()
        with disk(sweep):
            found = (rename(self.ledger, cell) for cell in cells)
            self.renamed = [record for record in found if record is not None]
        self._withdraw_unlike()
        for key in self.cells:
            self._take(key)
        for line in describe(self.taken):
            self.board.note(line)
        self._finished = self.ledger.finished()
        self._stopped = set(self.ledger.stopped())
        self._failed: set[str] = set()
        waiting = [key for key in self.cells if key not in self._finished]
        if study.design.kind == "search":
            from sweep.cells.search.search import Search

            self.search = Search(
                study,
                self.ledger,
                fingerprint=fingerprint,
                anchors=list(self.cells.values()),
                elsewhere=frozenset(waiting),
            )
            self.cells |= self.search.configs
            for cells_of_stage in self.search.promoted.values():
                self.cells |= cells_of_stage
            # a failed suggestion was told to the sampler: it stays, others are suggested instead
            self._failed = self.ledger.failed() & self.search.ended
        self._reused = len(cells) - len({c.key for c in cells})
        self._reused += len(self._finished & set(self.cells))
        self._done = self._finished & set(self.cells)
        self._ended_early = (self._stopped & set(self.cells)) - self._finished
        self._plan_written = (0.0, 0.0)
        self._plan_is_old = False
        self._waiting = waiting[::-1]
        self.meter = Meter(cores=study.resources.cpus_per_trial, gpus=study.resources.gpus)
        kinds = {key: kind_of_cell(config) for key, config in self.cells.items()}
        self.meter.read(self.ledger.events(), kinds)
        self.tracker = open_tracker(sweep, study)
        self._count()

    @classmethod
    def plan(cls, study: StudyConfig, sweep: Path, signals: Signals) -> Session:
        """Prepare the data, spell out the cells and write ``plan.json``.

        Raises:
            ConfigError: if the data set or design cannot be used, or the data changed since.
        """
        from sweep.cells.resolve import cells
        from sweep.data.options import options
        from sweep.data.prepare import prepare
        from sweep.evaluation.conditions import TestPlan
        from sweep.tasks.catalogue import task_of

        board = Board(study, sweep=sweep, total=0)
        prepared = prepare(options(study.data), progress=board.prepared)
        stored = check_fingerprint(sweep, prepared.fingerprint)
        clean = prepared.evaluation["clean"]
        shifts = [name for name in prepared.evaluation if name != "clean"]
        task = task_of(study.evaluate, study.primary)
        pairs = TestPlan.of(study.evaluate, shifts, task.sides, len(clean.ids)).table
        session = cls(
            study,
            sweep,
            cells(study, prepared.fingerprint),
            signals=signals,
            board=board,
            fingerprint=prepared.fingerprint,
            data={
                "fingerprint": prepared.fingerprint,
                "counts": prepared.counts,
                "excluded": prepared.excluded,
                **({} if pairs is None else {"fidelity": pairs.about()}),
            },
        )
        session.write_plan(created=stored["created"] if stored else None)
        if pairs is not None:
            with disk(sweep):
                write_json(sweep / "clips_tested.json", pairs.to_json(clean.ids))
        return session

    def __enter__(self) -> Session:
        with disk(self.sweep):
            self.ledger.append(self._open(), *self._opening_events())
        for key in self._finished & set(self.cells):
            record = self.ledger.result(key)
            if record is not None:
                self.board.consider(record)
        for record in [*self.renamed, *(taken.record for taken in self.taken)]:
            self._track(record)
        self.board.__enter__()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if self._plan_is_old:
            with contextlib.suppress(Halt):  # a full disk has said so already
                self.write_plan()
        self.board.__exit__(kind, error, trace)
        self.tracker.close(timeout_s=1.0 if isinstance(error, Halt) else 60.0)

    def _open(self) -> dict[str, Any]:
        """From now on this driver's time counts; that of one that was killed until it was seen."""
        at_work = holder_of(self.sweep)
        since = at_work["since"] if at_work is not None else now()
        seen = last_seen(self.sweep)
        self.meter.opened(moment(since), seen=None if seen is None else moment(seen))
        return {"event": "opened", "since": since, **({} if seen is None else {"seen": seen})}

    def _opening_events(self) -> list[dict[str, Any]]:
        """What is new in the plan, and what is reused from earlier drivers."""
        known = self.ledger.events()
        planned = {e["key"] for e in known if e["event"] == "planned"}
        told = {e["key"] for e in known if e["event"] == "finished"}
        events = [
            {"event": "planned", "key": c.key, "label": c.label, "seed": c.seed}
            for c in self.cells.values()
            if c.key not in planned
        ]
        reused = [key for key in self.cells if key in self._finished]
        # a driver that died after it had stored a result and before it had told the ledger
        events += [
            {"event": "finished", "key": key, "attempt": self._attempts[key]}
            for key in reused
            if key not in told
        ]
        return events + [{"event": "reused", "key": key} for key in reused]

    def _find_sources(self) -> list[Path]:
        """The sweeps whose finished cells may be taken over."""
        try:
            return sweeps(self.study.reuse)
        except ConfigError as error:
            if read_plan(self.sweep) is None:
                raise
            # what the first driver found there is here already
            self.board.note(f"{error}; the sweep goes on without it")
            return []

    def _take(self, key: str) -> Taken | None:
        """Answer a cell by one of another sweep, if there is one and none here."""
        if not self._sources or self.ledger.result(key) is not None:
            return None
        origin = holder(self._sources, key)
        if origin is None:
            return None
        offered = Ledger(origin).result(key)
        if offered is not None:
            unlike, why = conflict(offered, self._known_pixels.values())
            if unlike:
                self.board.note(
                    f"{self.cells[key].label} s{self.cells[key].seed} of {origin} is not reused "
                    f"and runs here: it was tested on other pixels under {named(unlike)} ({why})"
                )
                return None
        with disk(self.sweep), self.signals.deferred():
            taken = take(self.ledger, self.cells[key], origin)
        self.taken.append(taken)
        self._known_pixels.setdefault(recipe(taken.record), taken.record)
        return taken

    def _withdraw_unlike(self) -> None:
        """Let reused cells run whose tests had other pixels than those of cells that ran here.

        Fills ``_known_pixels``: recipe of the tests -> a record that others are held against.
        """
        records = [r for key in self.cells if (r := self.ledger.result(key)) is not None]
        for record in sorted(records, key=is_taken):
            unlike, why = conflict(record, self._known_pixels.values())
            if not unlike:
                self._known_pixels.setdefault(recipe(record), record)
            elif is_taken(record):
                reason = f"tested on other pixels under {named(unlike)} ({why})"
                with disk(self.sweep):
                    withdraw(self.ledger, record.key, reason)
                self.board.note(f"{record.label} s{record.seed}, reused, runs here: {reason}")
            else:
                self.board.note(_unlike(record, unlike, why))

    def _compare_pixels(self, record: TrialRecord) -> None:
        """Say at once that a cell was tested on other pixels than the cells before it."""
        unlike, why = conflict(record, self._known_pixels.values())
        if not unlike:
            self._known_pixels.setdefault(recipe(record), record)
            return
        self.board.note(_unlike(record, unlike, why))
        if any(is_taken(known) for known in self._known_pixels.values()):
            self.board.note("what was reused from other sweeps runs here at the next `resume`")

    @property
    def is_open(self) -> bool:
        """Whether a cell may still have to run."""
        if self._waiting:
            return self._affords(self.cells[self._waiting[-1]])
        return self.search is not None

    def next(self) -> TrialConfig | None:
        """The next cell to run; None if there is none now (see ``is_over``)."""
        config = self.cells[self._waiting.pop()] if self._waiting else self._suggested()
        if config is None:
            return None
        if not self._affords(config):
            self._waiting.append(config.key)
            return None
        self.meter.handed(config.key, kind_of_cell(config), **self._demand(config).held())
        return config

    def _affords(self, config: TrialConfig) -> bool:
        """Whether the budget has room for a cell; says so once it is certain that it has not."""
        if self.budget is None:
            return True
        if self.meter.fits(
            self.budget, kind_of_cell(config), **self._demand(config).held(), at=time.time()
        ):
            return True
        if not self.meter.held and not self.over_budget:  # nothing that may end sooner than thought
            spent = self.meter.spent(self.budget.unit, time.time())
            self.over_budget = (
                f"over budget: {spent:.3g} of {self.budget} are spent, and one more cell takes "
                f"about {duration(self.meter.expected(kind_of_cell(config)))}"
            )
            event = {
                "event": "over_budget", "budget": self.study.resources.budget, "spent": spent,
                "limit": self.budget.amount, "unit": NAMES[self.budget.unit],
            }  # fmt: skip
            with disk(self.sweep), self.signals.deferred():
                self.ledger.append(event)
        return False

    def _demand(self, config: TrialConfig) -> Demand:
        return demand(self.study.resources, config)

    def _suggested(self) -> TrialConfig | None:
        """What the search proposes next and no other sweep has answered."""
        if self.search is None:
            return None
        with disk(self.sweep), self.signals.deferred():
            before = self.search.reused
            config = self.search.next()
            while config is not None:
                self._add(config)
                taken = self._take(config.key)
                if taken is None:
                    break
                self._answer(taken)
                config = self.search.next()
            self._reused += self.search.reused - before
            if config is not None:
                self._reuse_training(config.key)
        self._count()
        return config

    @property
    def is_over(self) -> bool:
        """Whether ``next`` has nothing more, whatever the cells at work bring."""
        if self.over_budget:
            return True
        return not self._waiting and (self.search is None or self.search.is_over)

    def _add(self, config: TrialConfig) -> None:
        """A cell that the search came up with."""
        if config.key in self.cells:
            return
        self.cells[config.key] = config
        if config.key in self._finished:
            self._done.add(config.key)
        self._plan_is_old = True
        written, took = self._plan_written
        if time.monotonic() - written > PLAN_EVERY_S + 20 * took:
            self.write_plan()

    def _reuse_training(self, key: str) -> None:
        """Give a cell the checkpoint of the one that was trained alike, if it lies here."""
        source = self.search.trained_by.get(key) if self.search is not None else None
        if source is None:
            return
        trained, mine = (self.ledger.cell(k) / "checkpoint" for k in (source, key))
        if not trained.is_dir() or mine.exists():
            return
        mine.parent.mkdir(parents=True, exist_ok=True)
        copy = mine.with_name(f".checkpoint.{os.getpid()}")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(trained, copy, copy_function=_link_or_copy)
        copy.replace(mine)

    def _answer(self, taken: Taken) -> None:
        """Tell the search of a suggestion that another sweep has run."""
        assert self.search is not None
        self.search.finished(taken.record)
        self._finished.add(taken.record.key)
        self._done.add(taken.record.key)
        self._reused += 1
        self.board.consider(taken.record)
        self._track(taken.record)

    def _track(self, record: TrialRecord) -> None:
        self.tracker.finish(record.key, record, read_history(self.ledger.cell(record.key)))

    def check(self) -> None:
        """Called often by an engine."""
        self.signals.check()
        self.board.tick()

    def began(self, key: str, asked: Demand | None = None) -> None:
        """A worker begins a cell, for the first time or again.

        Args:
            key: Of the cell.
            asked: What it asked for; None = what the study says.
        """
        config = self.cells[key]
        held = (asked or self._demand(config)).held()
        with disk(self.sweep), self.signals.deferred():
            self._attempts[key] += 1
            attempt = self._attempts[key]
            self.ledger.append({"event": "started", "key": key, "attempt": attempt, **held})
        self.meter.began(key, time.time(), **held, kind=kind_of_cell(config))
        self.board.began(config, attempt)
        self.tracker.start(key, config, attempt)

    def advanced(self, key: str, rows: Sequence[dict[str, Any]], at: str = "") -> bool:
        """A cell reports history rows or what it is at; True if early stopping ends it here."""
        kept = self._rows.setdefault(key, {})
        self.board.heard(key, at)
        for row in rows:
            step = int(row["step"])
            kept[step] = {**kept.get(step, {}), **row}
            self.board.advanced(key, row)
            self.tracker.log(key, row)
        return self.search is not None and self.search.rows(key, rows)

    def ended(
        self, record: TrialRecord, history: Sequence[Mapping[str, Any]], outcomes: Outcomes | None
    ) -> None:
        """A cell hands over its record: store it before anything else."""
        key = record.key
        with self.signals.deferred(), disk(self.sweep):
            record = self.ledger.store(
                record, history, outcomes, attempt=max(1, self._attempts[key])
            )
        self._rows.pop(key, None)
        self.meter.ended(key, time.time(), is_whole=record.status == "done")
        self._note(record)
        self._compare_pixels(record)
        if self.search is not None:
            self.search.finished(record)
        self.tracker.finish(key, record, list(history))
        self._count()
        self.board.ended(key, record)

    def attempt_lost(self, key: str, kind: str, message: str, *, host: str | None) -> None:
        """An attempt ended without a record; the cell is tried again."""
        config = self.cells[key]
        self.meter.ended(key, time.time())
        self.meter.handed(key, kind_of_cell(config), **self._demand(config).held())
        event = {"event": "lost", "key": key, "attempt": self._attempts[key]}
        with disk(self.sweep), self.signals.deferred():
            self.ledger.append({**event, "kind": kind, "message": message, "host": host})
        self.board.lost(config, kind, message)

    def hung(self, key: str, message: str, stacks: str) -> None:
        """The worker of a cell was killed for its silence; keep where it hung."""
        path = self.ledger.cell(key) / "stacks.txt"
        head = f"attempt {self._attempts[key]}, {now()}: {message}"
        with contextlib.suppress(OSError):  # a help for people, not worth the sweep
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{head}\n{stacks or '(its stacks could not be had)'}\n")
        log.debug("%s\n%s", head, stacks)

    def lost(self, key: str, message: str, *, kind: str = "WorkerDied") -> None:
        """The worker of a cell is gone for the last time that `resources.max_failures` allows."""
        config = self.cells[key]
        rows = self._rows.get(key, {})
        record = failed_record(config, kind=kind, message=message, step=max(rows, default=None))
        self.ended(record, [rows[step] for step in sorted(rows)], None)

    def stopped(self, key: str) -> None:
        """Early stopping ended a cell."""
        config = self.cells[key]
        rows = self._rows.pop(key, {})
        history = [rows[step] for step in sorted(rows)]
        validated = [row for row in history if validation_of(row)]
        if not validated:
            self.lost(key, "the trial ended without a record")
            return
        last = validated[-1]
        event: dict[str, Any] = {"step": last["step"], "validation": validation_of(last)}
        with self.signals.deferred(), disk(self.sweep):
            self.ledger.store_stopped(config, history, attempt=self._attempts[key], **event)
        self.meter.ended(key, time.time())
        self._stopped.add(key)
        if key not in self._finished:
            self._ended_early.add(key)
        if self.search is not None:
            self.search.stopped(key, event)
        self.tracker.stop(key, config, history, **event)
        self._count()
        self.board.ended(key, None)

    def summary(self) -> Summary:
        """Counts over the distinct cells of the plan."""
        done, stopped = len(self._done), len(self._ended_early)
        missing = len(self.cells) - done - stopped - len(self._failed)
        code = ExitCode.CELLS_FAILED if self._failed or missing > 0 else ExitCode.DONE
        message = f"{missing} cells did not run" if missing > 0 else ""
        if self.over_budget:
            code, message = ExitCode.OVER_BUDGET, self._over_budget(missing)
        return Summary(
            code=code,
            sweep=self.sweep,
            planned=len(self.cells),
            done=done,
            failed=len(self._failed),
            stopped=stopped,
            reused=self._reused,
            failures=dict(self.failures),
            message=message,
        )

    def _over_budget(self, missing: int) -> str:
        left = self.search.left if self.search is not None else 0
        text = f"{self.over_budget}; {missing + left} cells did not run"
        return f"{text}; continue with a larger one: resume {self.sweep} --budget ..."

    def write_plan(self, created: str | None = None) -> None:
        """``plan.json``: what the sweep consists of."""
        self._created = created or self._created
        began = time.monotonic()
        rows = [
            {
                "key": key,
                "label": cell.label,
                "losses": sorted(cell.losses),
                "combiner": cell.combiner.name,
                "seed": cell.seed,
                "design": self.study.design.kind,
                **({} if self.search is None else {"stage": self.search.stage(key)}),
            }
            for key, cell in self.cells.items()
        ]
        with disk(self.sweep):
            write_json(
                self.sweep / "plan.json",
                {
                    "study": self.study.name,
                    "scale": self.study.scale,
                    "created": self._created,
                    "cells": rows,
                    "not_planned": sorted(self._finished - set(self.cells)),
                    "data": self._data,
                },
            )
        self._plan_written = (time.monotonic(), time.monotonic() - began)
        self._plan_is_old = False

    def marker(self) -> str:
        """Tells this folder from one of the same name elsewhere."""
        with disk(self.sweep):
            return sweep_id(self.sweep)

    def _note(self, record: TrialRecord) -> None:
        if record.status == "done":
            self._finished.add(record.key)
            self._done.add(record.key)
            self._ended_early.discard(record.key)
            self._failed.discard(record.key)
            return
        error = record.error or {}
        name = f"{record.label} s{record.seed} ({record.key})"
        reason = f"{error.get('type')}: {error.get('message')}"
        self._failed.add(record.key)
        self.failures[name] = reason
        self.board.note(f"failed: {name}: {reason}")

    def _count(self) -> None:
        self.board.done = len(self._done)
        self.board.failed = len(self._failed)
        self.board.stopped = len(self._ended_early)
        self.board.reused = self._reused
        left = self.search.left if self.search is not None else 0
        self.board.total = len(self.cells) + left


def _unlike(record: TrialRecord, conditions: Sequence[str], why: str) -> str:
    return (
        f"{record.label} s{record.seed} does not compare with the cells before it under "
        f"{named(conditions)}: the tested pixels differ ({why})"
    )


def kind_of_cell(config: TrialConfig) -> tuple[str, str]:
    """What the time of a cell depends on within a sweep, the most important part first."""
    return config.evaluate.fidelity, kind_of(config)


def _link_or_copy(source: str, target: str) -> None:
    """A second name for a file, where the disk allows it: a checkpoint is replaced, not changed."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)

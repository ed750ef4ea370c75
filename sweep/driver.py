"""The driver of a sweep: opens the folder, runs what is missing, stores every result.

It is the only writer of the ledger. It may die at any moment: a cell is done when its
``result.json`` exists, so the next driver on the same folder runs what is missing and nothing else.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, Protocol

import yaml
from rich.console import Console

from sweep.config import (
    ConfigError,
    ResourceSettings,
    StudyConfig,
    TrialConfig,
    difference,
    dump_study,
    validate_study,
)
from sweep.demand import Demand, demand
from sweep.ledger import (
    Ledger,
    SweepLock,
    driver,
    failed_record,
    now,
    sweep_id,
    write_environment,
)
from sweep.pixels import conflict, named, recipe
from sweep.planning.cost import kind_of
from sweep.progress import Board, duration
from sweep.record import Outcomes, TrialRecord, read_history, write_json
from sweep.reuse import (
    Taken,
    describe,
    holder,
    is_taken,
    not_growth,
    rename,
    sweeps,
    take,
    withdraw,
)
from sweep.spending import NAMES, Meter, moment
from sweep.spending import parse as parse_budget
from sweep.tracking.track import open_tracker

if TYPE_CHECKING:
    from sweep.search.search import Search

log = logging.getLogger(__name__)
Engine = Literal["ray", "local"]

#: Dotted keys that change no number of any cell: they may differ when a sweep is resumed.
HARMLESS = (
    "title", "question", "hypothesis", "disclosures", "outcomes", "headline", "track", "resources",
    "reuse", "data.root", "data.cache_dir", "data.workers", "data.max_bad_fraction",
    "train.log_every", "train.checkpoint_every", "evaluate.batch", "evaluate.keep_perturbed",
)  # fmt: skip
#: A growing plan is written this often at most; the ledger has every suggestion at once.
PLAN_EVERY_S = 2.0
#: A stopped driver is gone within this time; `ray job stop` kills after three seconds.
STOP_WITHIN_S = 2.5


class ExitCode(IntEnum):
    """What the process says to its caller; an interrupted one says 128 + signal."""

    DONE = 0
    CELLS_FAILED = 1
    ENVIRONMENT = 2
    OVER_BUDGET = 3


class Halt(BaseException):
    """The sweep ends here: a signal, or a disk that takes no more. Resumable.

    No ``Exception``: it passes every ``except Exception`` between a callback and the driver.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class TrialResult(Protocol):
    """What a trial hands over; see ``sweep.trial``."""

    @property
    def record(self) -> TrialRecord: ...

    @property
    def history(self) -> list[dict[str, Any]]: ...

    @property
    def outcomes(self) -> Outcomes | None: ...


#: ``run_trial(config, scratch=..., on_metrics=...)``.
TrialFunction = Callable[..., TrialResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How a run of the driver ended.

    Attributes:
        code: Exit code of the process.
        sweep: Folder of the sweep, absolute.
        planned: Distinct cells of the plan.
        done: Cells with a result, whoever made it.
        failed: Cells that ended without one in this run.
        stopped: Cells that early stopping ended.
        reused: Cells answered without running: finished before, or of equal content.
        failures: Cell name -> reason.
        report: The written report, if there is one.
        answer: What the report says about the study's question.
        message: Why the sweep ended before its end; empty if it did not.
        is_cut_short: Whether a ``Halt`` ended it.
    """

    code: int
    sweep: Path
    planned: int = 0
    done: int = 0
    failed: int = 0
    stopped: int = 0
    reused: int = 0
    failures: Mapping[str, str] = field(default_factory=dict)
    report: Path | None = None
    answer: tuple[str, ...] = ()
    message: str = ""
    is_cut_short: bool = False

    @property
    def status_line(self) -> str:
        """The last line on stdout, for scripts."""
        return (
            f"SWEEP_STATUS={self.sweep} done={self.done} failed={self.failed} reused={self.reused}"
        )


def run_study(
    study: StudyConfig,
    *,
    out: Path | None = None,
    engine: Engine = "ray",
    address: str | None = None,
    trial: TrialFunction | None = None,
    plan: Callable[[StudyConfig, Path, Signals], Session] | None = None,
    report: bool = True,
    extend: bool = False,
    expected_s: float | None = None,
) -> Summary:
    """Run a study in a folder, or continue it there.

    Args:
        study: The resolved study.
        out: Folder of the sweep; default ``runs/<study>``, inside a Ray job
            ``~/auxsweep-runs/<study>`` (or below ``$AUXSWEEP_RUNS``).
        engine: `ray`, or `local` for one cell after the other in this process.
        address: Of a running Ray cluster; default ``$RAY_ADDRESS``, else a cluster of our own.
        trial: What runs a cell; default ``sweep.trial.run_trial``.
        plan: What prepares data and cells; default ``Session.plan``.
        report: Write the report at the end.
        extend: Accept a study that adds cells to the one stored in the folder.
        expected_s: Predicted seconds per cell, by which ``resources.budget`` counts until cells of
            this sweep tell.

    Raises:
        ConfigError: if nothing could be started; says why.
    """
    sweep = folder(study, out)
    with Signals() as signals:
        stored = open_folder(sweep)
        lock = SweepLock(sweep)
        lock.acquire()
        try:
            return _run(
                study, sweep, stored, signals,
                engine=engine, address=address, trial=trial, plan=plan or Session.plan,
                report=report, extend=extend, expected_s=expected_s,
            )  # fmt: skip
        except ValueError:  # a mistake of the user, data included
            lock.release()
            leave_no_trace(sweep)
            raise
        finally:
            lock.release()


def _run(
    study: StudyConfig,
    sweep: Path,
    stored: StudyConfig | None,
    signals: Signals,
    *,
    engine: Engine,
    address: str | None,
    trial: TrialFunction | None,
    plan: Callable[[StudyConfig, Path, Signals], Session],
    report: bool,
    extend: bool,
    expected_s: float | None,
) -> Summary:
    changes = check_same(stored, study, sweep, extend=extend)
    session: Session | None = None
    try:
        with disk(sweep):
            (sweep / "sweep.yaml").write_text(dump_study(study), encoding="utf-8")
            write_environment(sweep)
            if changes:
                Ledger(sweep).append({"event": "extended", "changes": changes})
        session = plan(study, sweep, signals)
        session.meter.expected_s = expected_s
        with session:
            if session.is_open:
                if engine == "ray":
                    from sweep.launch.tune_run import run_cells
                else:
                    from sweep.local import run_cells
                run_cells(session, trial, address=address)
    except Halt as halt:
        return _halted(halt, sweep, session)
    except KeyboardInterrupt:  # before our handler was in place, or raised by a library
        return _halted(Halt(128 + signal.SIGINT, "interrupted"), sweep, session)
    summary = session.summary()
    return _reported(summary) if report else summary


def _halted(halt: Halt, sweep: Path, session: Session | None) -> Summary:
    with contextlib.suppress(OSError):
        Ledger(sweep).append({"event": "interrupted", "message": halt.message})
    summary = session.summary() if session is not None else Summary(code=halt.code, sweep=sweep)
    return replace(summary, code=halt.code, message=halt.message, is_cut_short=True)


def _reported(summary: Summary) -> Summary:
    """Write the report; a failure costs no result and can be repeated by `report`."""
    Console(stderr=True).print("writing the report")
    try:
        from sweep.report.build import build

        paths = build(summary.sweep)
    except Exception as error:
        log.warning("the report failed: %s: %s", type(error).__name__, error)
        log.debug("the report failed", exc_info=True)
        return summary
    return replace(summary, report=paths.html, answer=paths.answer)


# --------------------------------------------------------------------------------------- folder


def in_ray_job() -> bool:
    """Whether this process is the entry point of `ray job submit`."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def folder(study: StudyConfig, out: Path | None) -> Path:
    """Absolute folder of the sweep.

    Raises:
        ConfigError: for a relative folder inside a Ray job, whose working directory is thrown away.
    """
    if out is None:
        runs = os.environ.get("AUXSWEEP_RUNS")
        if runs:
            return Path(runs).expanduser().resolve() / study.name
        return (Path.home() / "auxsweep-runs" if in_ray_job() else Path.cwd() / "runs") / study.name
    out = out.expanduser()
    if in_ray_job() and not out.is_absolute():
        raise ConfigError(
            f"--out {out}: inside a Ray job the working directory is thrown away; give an absolute "
            "folder that outlives the job, such as --out /shared/runs/my-sweep"
        )
    return out.absolute()


def open_folder(sweep: Path) -> StudyConfig | None:
    """Make or check the folder; returns the study stored there, None for a new sweep.

    Raises:
        ConfigError: if it cannot be written, or holds something else.
    """
    stored = sweep / "sweep.yaml"
    try:
        sweep.mkdir(parents=True, exist_ok=True)
        found = [p.name for p in sweep.iterdir() if p.name not in _OWN_FILES]
        if found and not stored.is_file():
            raise ConfigError(
                f"{sweep}: not empty and not a sweep (holds {', '.join(sorted(found)[:3])} ...): "
                "give another folder with --out"
            )
        probe = sweep / f".probe-{os.getpid()}"
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"{sweep}: cannot write here ({error.strerror}): give another folder with --out"
        ) from None
    # without a plan nothing was ever started here: any study may begin
    return read_study(sweep) if (sweep / "plan.json").is_file() else None


def leave_no_trace(sweep: Path) -> None:
    """Remove what opening the folder made, when nothing could be started in it."""
    if (sweep / "plan.json").is_file() or (sweep / "cells").is_dir():
        return
    with contextlib.suppress(OSError):
        for name in ("sweep.yaml", "environment.json", *_OWN_FILES):
            (sweep / name).unlink(missing_ok=True)
        sweep.rmdir()


#: What a driver that died at its very start may leave in an otherwise empty folder.
_OWN_FILES = frozenset({".lock-guard", "driver.lock", ".id", "ledger.jsonl", "progress.json"})


def read_study(sweep: Path) -> StudyConfig:
    """The study of a sweep folder.

    Raises:
        ConfigError: if it is none.
    """
    path = sweep / "sweep.yaml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError:
        raise ConfigError(f"{sweep}: not a sweep folder (no readable sweep.yaml)") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: damaged: {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: damaged: a mapping of keys was expected")
    return validate_study(content, where=str(path))


def check_same(
    stored: StudyConfig | None, given: StudyConfig, sweep: Path, *, extend: bool = False
) -> list[str]:
    """Refuse to mix two studies in one folder; returns by what an extended study grew.

    Raises:
        ConfigError: with every key that differs, old -> new.
    """
    if stored is None:
        return []
    old, new = stored.model_dump(mode="json"), given.model_dump(mode="json")
    lines = [line for line in difference(old, new) if not _is_harmless(line, given)]
    refused = not_growth(
        lines, old | {"seed_list": stored.seed_list}, new | {"seed_list": given.seed_list}
    )
    if extend and refused:
        shown = "\n  ".join(refused)
        raise ConfigError(
            f"{sweep}: --extend adds cells to a sweep (seeds, losses, combiners, sets); these "
            f"changes do something else (stored -> given):\n  {shown}\n"
            "Give another folder with --out; finished cells of equal content come along with "
            f"--reuse {sweep}."
        )
    if lines and not extend:
        shown = "\n  ".join(lines)
        more = "" if refused else ", or add the new cells to it with --extend"
        raise ConfigError(
            f"{sweep} holds a sweep with another configuration (stored -> given):\n  {shown}\n"
            "Give another folder with --out, or continue the stored one with "
            f"`resume {sweep}`{more}."
        )
    return lines


def _is_harmless(line: str, study: StudyConfig) -> bool:
    path = line.partition(":")[0]
    if study.design.kind == "search" and path.startswith("outcomes."):
        learned = {name.removeprefix("-") for name in study.search.objectives}
        name = path.split(".")[1]
        return name not in learned | set(study.search.constraints)
    return any(path == key or path.startswith(f"{key}.") for key in HARMLESS)


@contextlib.contextmanager
def disk(sweep: Path) -> Iterator[None]:
    """A disk that takes no more ends the sweep with a message instead of a traceback."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        reason += f" ({error.filename})" if error.filename else ""
        advice = "free some space" if error.errno in {errno.ENOSPC, errno.EDQUOT} else "repair it"
        raise Halt(
            ExitCode.ENVIRONMENT,
            f"cannot write to {sweep}: {reason}. What was stored is safe; {advice}, then run "
            f"`resume {sweep}`.",
        ) from error


# -------------------------------------------------------------------------------------- signals


#: Signals that ask a driver to stop, and the one whose exit code it then has. Slurm announces the
#: end of a job by SIGUSR1 where it is told so (`--signal=USR1@60`).
STOPS = {
    signal.SIGINT: signal.SIGINT,
    signal.SIGTERM: signal.SIGTERM,
    signal.SIGUSR1: signal.SIGTERM,
}


class Signals:
    """SIGINT, SIGTERM and SIGUSR1 become ``Halt`` at the next safe moment of the main thread."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._stop: Halt | None = None
        self._busy = 0
        self._old: dict[int, Any] = {}
        self._watchdog: threading.Timer | None = None

    def __enter__(self) -> Signals:
        self.arm()
        return self

    def __exit__(self, *_: object) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def arm(self) -> None:
        """Install the handlers; again after a library (``ray.init``) has put its own in place."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in STOPS:
            current = signal.getsignal(number)
            if current != self._handle:
                self._old.setdefault(number, current)
                signal.signal(number, self._handle)

    def check(self) -> None:
        """Raise ``Halt`` if a signal has come."""
        if self.received is not None:
            name = signal.Signals(self.received).name
            raise Halt(self._code(self.received), f"interrupted by {name}")
        if self._stop is not None:
            raise self._stop

    def stop(self, halt: Halt) -> None:
        """From another thread: end the sweep as if a signal had come, within the same time."""
        self._stop = halt
        self._watchdog = threading.Timer(2 * STOP_WITHIN_S, self._exit, (halt,))
        self._watchdog.daemon = True
        self._watchdog.start()

    def _exit(self, halt: Halt) -> None:
        """The main thread is held up in a library: say why and leave."""
        sys.stderr.write(f"{halt.message}\n")
        sys.stderr.flush()
        os._exit(halt.code)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """A stretch in which a signal raises nowhere but in ``check``.

        For code that is not made for an exception at any point, such as a cell being stored or
        Ray's compiled parts.
        """
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1
        if not self._busy:
            self.check()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.received is not None:
            os._exit(self._code(number))  # the second Ctrl-C: at once
        self.received = number
        # whatever hangs on the way out (a cluster, a network): the ledger is complete at any time
        self._watchdog = threading.Timer(STOP_WITHIN_S, os._exit, (self._code(number),))
        self._watchdog.daemon = True
        self._watchdog.start()
        if not self._busy:
            self.check()

    @staticmethod
    def _code(number: int) -> int:
        return 128 + STOPS[signal.Signals(number)]


def leave(summary: Summary) -> int:
    """The exit code for the caller; after a sweep that was cut short the process ends here and now.

    Threads of Ray and W&B take seconds to end, or do not end at all without their cluster, and
    whoever sent a signal kills soon. Everything is on disk.
    """
    if summary.code >= 128 or summary.is_cut_short:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(summary.code)
    return int(summary.code)


# -------------------------------------------------------------------------------------- session


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
            from sweep.search.search import Search

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
        kinds = {key: _kind(config) for key, config in self.cells.items()}
        self.meter.read(self.ledger.events(), kinds)
        self.tracker = open_tracker(sweep, study)
        self._count()

    @classmethod
    def plan(cls, study: StudyConfig, sweep: Path, signals: Signals) -> Session:
        """Prepare the data, spell out the cells and write ``plan.json``.

        Raises:
            ConfigError: if the data set or design cannot be used, or the data changed since.
        """
        from sweep.cells import cells
        from sweep.conditions import conditions, table
        from sweep.data.prepare import prepare
        from sweep.data_settings import options

        board = Board(study, sweep=sweep, total=0)
        prepared = prepare(options(study.data), progress=board.prepared)
        stored = check_fingerprint(sweep, prepared.fingerprint)
        clean = prepared.evaluation["clean"]
        shifts = [name for name in prepared.evaluation if name != "clean"]
        pairs = table(
            study.evaluate, conditions(study.evaluate, shifts, study.task), len(clean.ids)
        )
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
        at_work = driver(self.sweep)
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

    # ------------------------------------------------------------------------ asked by an engine

    def next(self) -> TrialConfig | None:
        """The next cell to run; None if there is none now (see ``is_over``)."""
        config = self.cells[self._waiting.pop()] if self._waiting else self._suggested()
        if config is None:
            return None
        if not self._affords(config):
            self._waiting.append(config.key)
            return None
        self.meter.handed(config.key, _kind(config), **self._demand(config).held())
        return config

    def _affords(self, config: TrialConfig) -> bool:
        """Whether the budget has room for a cell; says so once it is certain that it has not."""
        if self.budget is None:
            return True
        if self.meter.fits(
            self.budget, _kind(config), **self._demand(config).held(), at=time.time()
        ):
            return True
        if not self.meter.held and not self.over_budget:  # nothing that may end sooner than thought
            spent = self.meter.spent(self.budget.unit, time.time())
            self.over_budget = (
                f"over budget: {spent:.3g} of {self.budget} are spent, and one more cell takes "
                f"about {duration(self.meter.expected(_kind(config)))}"
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

    # ------------------------------------------------------------------------- told by an engine

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
        self.meter.began(key, time.time(), **held, kind=_kind(config))
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
        self.meter.handed(key, _kind(config), **self._demand(config).held())
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
        validated = [row for row in history if "clean_accuracy" in row]
        if not validated:
            self.lost(key, "the trial ended without a record")
            return
        event = {name: validated[-1][name] for name in ("step", "clean_accuracy")}
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

    # ------------------------------------------------------------------------------------ results

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


def _kind(config: TrialConfig) -> tuple[str, str]:
    """What the time of a cell depends on within a sweep, the most important part first."""
    return config.evaluate.fidelity, kind_of(config)


def last_seen(sweep: Path) -> str | None:
    """When a driver last wrote its progress; None if none ever did."""
    try:
        content = json.loads((sweep / "progress.json").read_text(encoding="utf-8"))
        return datetime.fromtimestamp(content["time"], UTC).isoformat(timespec="milliseconds")
    except (OSError, ValueError, KeyError, TypeError):
        return None


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


def _link_or_copy(source: str, target: str) -> None:
    """A second name for a file, where the disk allows it: a checkpoint is replaced, not changed."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def check_fingerprint(sweep: Path, fingerprint: str) -> dict[str, Any] | None:
    """Refuse to go on with other data; returns the stored plan, None for a new sweep.

    Raises:
        ConfigError: if the plan was made for a data set of another fingerprint.
    """
    stored = read_plan(sweep)
    before = (stored or {}).get("data", {}).get("fingerprint", fingerprint)
    if before != fingerprint:
        raise ConfigError(
            f"{sweep}: the data set changed since the sweep began (fingerprint {before} -> "
            f"{fingerprint}); new cells would not compare with the finished ones. "
            "Give another folder with --out."
        )
    return stored


def read_plan(sweep: Path) -> dict[str, Any] | None:
    """``plan.json`` of a sweep; None if there is none yet."""
    try:
        return json.loads((sweep / "plan.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None

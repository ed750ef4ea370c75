"""Run a study in a folder, or continue it there.

It may die at any moment: a cell is done when its ``result.json`` exists, so the next driver on the
same folder runs what is missing and nothing else.
"""

from __future__ import annotations

import contextlib
import importlib
import signal
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sweep.engine.board import Board
from sweep.engine.folder import (
    check_fingerprint,
    check_same,
    folder,
    leave_no_trace,
    open_folder,
)
from sweep.engine.session import Session
from sweep.engine.signals import Halt, Signals, disk
from sweep.engine.summary import Summary
from sweep.records.environment import write_environment
from sweep.records.files import write_json
from sweep.records.ledger import Ledger
from sweep.records.lock import SweepLock
from sweep.settings.section import ConfigError, known
from sweep.studies.load import dump_study

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sweep.engine.blocks import Rule
    from sweep.engine.contract import Engine
    from sweep.engine.trial_function import TrialFunction
    from sweep.settings.study import StudyConfig

#: Name -> "module:function" of what runs cells; none is imported before it is asked for.
ENGINES: Mapping[str, str] = MappingProxyType(
    {
        "ray": "sweep.engine.tune.tune_run:run_cells",
        "local": "sweep.engine.local:run_cells",
    }
)


def run_study(
    study: StudyConfig,
    *,
    out: Path | None = None,
    engine: str = "ray",
    address: str | None = None,
    trial: TrialFunction | None = None,
    plan: Callable[[StudyConfig, Path, Signals], Session] | None = None,
    extend: bool = False,
    expected_s: float | None = None,
    rule: Rule | None = None,
) -> Summary:
    """Run a study in a folder, or continue it there.

    Args:
        study: The resolved study.
        out: Folder of the sweep; default ``runs/<study>``, inside a Ray job
            ``~/auxsweep-runs/<study>`` (or below ``$AUXSWEEP_RUNS``).
        engine: A row of ``ENGINES``: `ray`, or `local` for one cell after the other in this
            process.
        address: Of a running Ray cluster; default ``$RAY_ADDRESS``, else a cluster of our own.
        trial: What runs a cell; default ``sweep.trial.run_trial``.
        plan: What prepares data and cells; default ``open_session``.
        extend: Accept a study that adds cells to the one stored in the folder.
        expected_s: Predicted seconds per cell, by which ``resources.budget`` counts until cells of
            this sweep tell.
        rule: Looks at the seeds of a study with `design.stopping`.

    Raises:
        ConfigError: if nothing could be started; says why.
    """
    known(engine, ENGINES, "engine", "engine")
    if study.design.stopping is not None and rule is None:
        raise ConfigError("design.stopping: nobody looks at the seeds; run it by `study`")
    sweep = folder(study, out)
    with Signals() as signals:
        stored = open_folder(sweep)
        lock = SweepLock(sweep)
        lock.acquire()
        try:
            changes = check_same(stored, study, sweep, extend=extend)
            grown = _growth(changes, stored)
            return _run(
                study, sweep, grown, signals, rule,
                engine=engine, address=address, trial=trial, plan=plan or open_session,
                expected_s=expected_s,
            )  # fmt: skip
        except (ValueError, OSError):  # a mistake of the user, data and folders included
            lock.release()
            leave_no_trace(sweep)
            raise
        finally:
            lock.release()


def _run(
    study: StudyConfig,
    sweep: Path,
    grown: dict[str, Any] | None,
    signals: Signals,
    rule: Rule | None,
    *,
    engine: str,
    address: str | None,
    trial: TrialFunction | None,
    plan: Callable[[StudyConfig, Path, Signals], Session],
    expected_s: float | None,
) -> Summary:
    session: Session | None = None
    try:
        with disk(sweep):
            (sweep / "sweep.yaml").write_text(dump_study(study), encoding="utf-8")
            write_environment(sweep)
            if grown is not None:
                Ledger(sweep).append(grown)
        session = plan(study, sweep, signals)
        session.rule = rule
        session.allowance.meter.expected_s = expected_s
        session.engine = engine
        with session:
            if session.is_open:
                load_engine(engine)(session, trial, address=address)
    except Halt as halt:
        return _halted(halt, sweep, session)
    except KeyboardInterrupt:  # before our handler was in place, or raised by a library
        return _halted(Halt(128 + signal.SIGINT, "interrupted"), sweep, session)
    return session.summary()


def _growth(changes: list[str], stored: StudyConfig | None) -> dict[str, Any] | None:
    """The event of a sweep that grew; None for one that did not.

    It holds the seeds that there were: whoever adds some has looked at these.
    """
    if not changes or stored is None:
        return None
    return {"event": "extended", "changes": changes, "seeds_before": stored.seed_list}


def load_engine(name: str) -> Engine:
    """The function of a row of ``ENGINES``."""
    module, _, function = ENGINES[name].partition(":")
    return getattr(importlib.import_module(module), function)


def open_session(study: StudyConfig, sweep: Path, signals: Signals) -> Session:
    """Prepare the data, spell out the cells and write ``plan.json``.

    Raises:
        ConfigError: if the data set or design cannot be used, or the data changed since.
    """
    from sweep.cells.resolve import cells
    from sweep.cells.search.dimensions import check_objectives
    from sweep.data.prepare import prepare
    from sweep.evaluation.conditions import TestPlan, check_outcomes
    from sweep.records.equal import equal_by_settings
    from sweep.tasks.catalogue import task_of

    board = Board(study, sweep=sweep, total=0)
    prepared = prepare(study.data, progress=board.prepared)
    check_fingerprint(sweep, prepared.fingerprint)
    clean = prepared.evaluation["clean"]
    shifts = [name for name in prepared.evaluation if name != "clean"]
    sides = task_of(study.evaluate, study.primary).sides
    tests = TestPlan.of(study.evaluate, shifts, sides, len(clean.ids))
    same = equal_by_settings((row.name for row in tests.rows), study.model_dump())
    check_outcomes(study.outcomes, tests.rows, study.name, same)
    if study.design.kind == "search":
        check_objectives(study, shifts)
    pairs = tests.table
    session = Session(
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
    session.plan_file.write()
    if pairs is not None:
        with disk(sweep):
            write_json(sweep / "clips_tested.json", pairs.to_json(clean.ids))
    return session


def _halted(halt: Halt, sweep: Path, session: Session | None) -> Summary:
    with contextlib.suppress(OSError):
        Ledger(sweep).append({"event": "interrupted", "message": halt.message})
    summary = session.summary() if session is not None else Summary(code=halt.code, sweep=sweep)
    return replace(summary, code=halt.code, message=halt.message, is_cut_short=True)

"""Run a study in a folder, or continue it there.

It may die at any moment: a cell is done when its ``result.json`` exists, so the next driver on the
same folder runs what is missing and nothing else.
"""

from __future__ import annotations

import contextlib
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from sweep.records.environment import write_environment
from sweep.records.ledger import Ledger
from sweep.records.lock import SweepLock
from sweep.studies.load import dump_study

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sweep.engine.trial_function import TrialFunction
    from sweep.settings.study import StudyConfig

from sweep.commands.reporting import reported
from sweep.engine.folder import check_same, folder, leave_no_trace, open_folder
from sweep.engine.session import Session
from sweep.engine.signals import Halt, Signals, disk
from sweep.engine.summary import Summary

Engine = Literal["ray", "local"]


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
        except (ValueError, OSError):  # a mistake of the user, data and folders included
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
                    from sweep.engine.tune.tune_run import run_cells
                else:
                    from sweep.engine.local import run_cells
                run_cells(session, trial, address=address)
    except Halt as halt:
        return _halted(halt, sweep, session)
    except KeyboardInterrupt:  # before our handler was in place, or raised by a library
        return _halted(Halt(128 + signal.SIGINT, "interrupted"), sweep, session)
    summary = session.summary()
    return reported(summary) if report else summary


def _halted(halt: Halt, sweep: Path, session: Session | None) -> Summary:
    with contextlib.suppress(OSError):
        Ledger(sweep).append({"event": "interrupted", "message": halt.message})
    summary = session.summary() if session is not None else Summary(code=halt.code, sweep=sweep)
    return replace(summary, code=halt.code, message=halt.message, is_cut_short=True)

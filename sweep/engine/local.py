"""The cells of a sweep one after the other in this process, without Ray."""

from __future__ import annotations

import faulthandler
import os
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any

from sweep.runtime import heartbeat

if TYPE_CHECKING:
    from sweep.engine.session import Session
    from sweep.engine.trial_function import TrialFunction
from sweep.engine.trial_function import trial_function


class _StoppedEarly(BaseException):
    """Leaves a trial from inside its callback; trials catch ``Exception`` only."""


class Watcher:
    """Tells the user of a cell that gives no sign of life. Use as a context manager.

    A thread of this process: it sees a cell that waits for ever, not one that keeps the interpreter
    from running, and it can end neither.

    Args:
        session: Keeps the stacks and shows the message.
        timeout_s: Silence that counts as hanging; None watches over nothing.
    """

    def __init__(self, session: Session, timeout_s: float | None) -> None:
        self.session = session
        self.timeout_s = timeout_s
        self.key = ""
        self.at = ""
        self._heard = time.monotonic()
        self._told = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="sweep-watcher", daemon=True)

    def __enter__(self) -> Watcher:
        if self.timeout_s is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self.timeout_s is not None:
            self._thread.join()

    def began(self, key: str) -> None:
        """A cell begins."""
        self.key, self.at = key, ""
        self.beat("")

    def ended(self) -> None:
        """No cell is at work."""
        self.key = ""

    def beat(self, what: str) -> None:
        """The cell gave a sign of life."""
        self.at = what or self.at
        self._heard = time.monotonic()
        self._told = False
        self.session.board.heard(self.key, what)

    def _watch(self) -> None:
        assert self.timeout_s is not None
        while not self._over.wait(min(1.0, self.timeout_s / 4)):
            silent_s = time.monotonic() - self._heard
            if self.key and not self._told and silent_s > self.timeout_s:
                self._told = True
                self._tell(self.key, silent_s)

    def _tell(self, key: str, silent_s: float) -> None:
        message = f"no sign of life for {silent_s:.0f} s"
        message += f", last at '{self.at}'" if self.at else ""
        with tempfile.TemporaryFile() as file:
            faulthandler.dump_traceback(file, all_threads=True)
            file.seek(0)
            self.session.hung(key, message, file.read().decode(errors="replace"))
        self.session.board.note(
            f"{message}: {self.session.ledger.cell(key) / 'stacks.txt'} shows where it hangs. "
            "Without Ray nothing can end it: stop this process (Ctrl-C, or `kill -9 "
            f"{os.getpid()}`) and run `resume {self.session.sweep}`, which goes on from the last "
            "checkpoint; with Ray such cells are ended and tried again by themselves"
        )


def run_cells(session: Session, trial: TrialFunction | None = None, **_: Any) -> None:
    """Run everything that the session hands out."""
    run_trial = trial_function(trial, cpus=session.study.resources.cpus_per_trial)
    with Watcher(session, session.study.resources.hang_timeout_s) as watcher:
        _run_cells(session, run_trial, watcher)


def _run_cells(session: Session, run_trial: TrialFunction, watcher: Watcher) -> None:
    while (config := session.next()) is not None:
        key = config.key

        def on_metrics(row: dict[str, Any], key: str = key) -> None:
            session.check()
            watcher.beat("")
            if session.advanced(key, [row]):
                raise _StoppedEarly

        session.began(key)
        watcher.began(key)
        try:
            with heartbeat.heard_by(watcher.beat):
                result = run_trial(config, scratch=session.ledger.cell(key), on_metrics=on_metrics)
        except _StoppedEarly:
            session.stopped(key)
            continue
        finally:
            watcher.ended()
        session.ended(result.record, result.history, result.outcomes)
        session.check()

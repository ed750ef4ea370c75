"""The cells of a sweep one after the other in this process, without Ray."""

from __future__ import annotations

import faulthandler
import os
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any

from sweep.engine.trial_function import trial_function
from sweep.runtime import heartbeat
from sweep.runtime.program import program

if TYPE_CHECKING:
    from sweep.engine.contract import Cells
    from sweep.engine.trial_function import TrialFunction


class _StoppedEarly(BaseException):
    """Leaves a trial from inside its callback; trials catch ``Exception`` only."""


class Watcher:
    """Tells the user of a cell that gives no sign of life. Use as a context manager.

    A thread of this process: it sees a cell that waits for ever, not one that keeps the interpreter
    from running, and it can end neither.

    Args:
        cells: Keep the stacks and show the message.
        timeout_s: Silence that counts as hanging; None watches over nothing.
    """

    def __init__(self, cells: Cells, timeout_s: float | None) -> None:
        self.cells = cells
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
        self.cells.heard(self.key, what)

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
            self.cells.hung(key, message, file.read().decode(errors="replace"))
        self.cells.note(
            f"{message}: {self.cells.scratch(key) / 'stacks.txt'} shows where it hangs. "
            "Without Ray nothing can end it: stop this process (Ctrl-C, or `kill -9 "
            f"{os.getpid()}`) and run `{program('resume', self.cells.sweep, '--local')}`, which "
            "goes on from the last checkpoint; with Ray such cells are ended and tried again by "
            "themselves"
        )


def run_cells(
    cells: Cells,
    trial: TrialFunction | None = None,
    *,
    address: str | None = None,  # noqa: ARG001 - there is no cluster
) -> None:
    """Run everything that is handed out, see ``sweep.engine.contract.Engine``."""
    resources = cells.study.resources
    run_trial = trial_function(trial, cpus=resources.cpus_per_trial)
    with Watcher(cells, resources.hang_timeout_s) as watcher:
        _run_cells(cells, run_trial, watcher)


def _run_cells(cells: Cells, run_trial: TrialFunction, watcher: Watcher) -> None:
    while (config := cells.next()) is not None:
        key = config.key

        def on_metrics(row: dict[str, Any], key: str = key) -> None:
            cells.check()
            watcher.beat("")
            if cells.advanced(key, [row]):
                raise _StoppedEarly

        cells.began(key)
        watcher.began(key)
        try:
            with heartbeat.heard_by(watcher.beat):
                result = run_trial(config, scratch=cells.scratch(key), on_metrics=on_metrics)
        except _StoppedEarly:
            cells.stopped(key)
            continue
        finally:
            watcher.ended()
        cells.ended(result)
        cells.check()

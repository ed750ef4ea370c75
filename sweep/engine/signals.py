"""Signals and full disks become an orderly end of the sweep."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from sweep.engine.summary import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType

#: A stopped driver is gone within this time; `ray job stop` kills after three seconds.
STOP_WITHIN_S = 2.5


class Halt(BaseException):
    """The sweep ends here: a signal, or a disk that takes no more. Resumable.

    No ``Exception``: it passes every ``except Exception`` between a callback and the driver.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


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
            f"cannot write to {sweep}: {reason}. What was stored is safe; {advice}, then resume",
        ) from error


#: Signals that ask a driver to stop, and the one whose exit code it then has. Slurm announces the
#: end of a job by SIGUSR1 where it is told so (`--signal=USR1@60`); SIGHUP comes when the terminal
#: is gone.
STOPS = {
    signal.SIGINT: signal.SIGINT,
    signal.SIGTERM: signal.SIGTERM,
    signal.SIGUSR1: signal.SIGTERM,
    signal.SIGHUP: signal.SIGTERM,
}


class Signals:
    """The signals of ``STOPS`` become ``Halt`` at the next safe moment of the main thread.

    SIGHUP does not where it was ignored when the driver began: whoever says `nohup` wants the sweep
    to go on without a terminal.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._stop: Halt | None = None
        self._busy = 0
        self._old: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}
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
            if number == signal.SIGHUP and current == signal.SIG_IGN:
                continue
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
            if number == signal.SIGHUP:  # of the shell, then of the kernel: nobody is impatient
                return
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

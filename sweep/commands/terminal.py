"""The terminal is no part of the work: what cannot be shown is dropped, and the work goes on.

A reader of a pipe may leave (`| head`), a terminal may close under a job of the night, a locale may
lack a letter. None of it is a reason to lose a cell or to end with another exit code.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Tolerant(io.TextIOBase):
    """A text stream whose failures to write are no failures of the writer.

    After the first one its file descriptor leads nowhere, so that neither a library that writes to
    the descriptor nor the flush at the end of the process meets it again.

    Args:
        stream: `sys.stdout` or `sys.stderr`.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Hand on, or drop."""
        try:
            self.stream.write(text)
        except (OSError, ValueError):  # a closed pipe, a lost terminal, a closed stream
            self._lead_nowhere()
        return len(text)

    def writelines(self, lines: Sequence[str]) -> None:  # type: ignore[override]
        """Hand on, or drop."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Hand on, or drop."""
        try:
            self.stream.flush()
        except (OSError, ValueError):
            self._lead_nowhere()

    def _lead_nowhere(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    # io.TextIOBase has answers of its own to these
    def fileno(self) -> int:
        """Of the stream itself."""
        return self.stream.fileno()

    def isatty(self) -> bool:
        """Of the stream itself; a closed one is no terminal."""
        try:
            return self.stream.isatty()
        except (OSError, ValueError):
            return False

    def writable(self) -> bool:
        """Always: what cannot be written is dropped."""
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the stream itself."""
        return getattr(self.stream, "encoding", None) or "utf-8"

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """Of the stream itself."""
        return getattr(self.stream, "errors", None)

    @property
    def closed(self) -> bool:
        """Never, so that nobody stops to write."""
        return False


@contextlib.contextmanager
def tolerant_output() -> Iterator[None]:
    """Standard output and error of a command, with letters that they lack replaced."""
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(OSError, ValueError):
                stream.reconfigure(errors="replace")
    # a stream that was closed before the start (`>&-`) is None; its number must be taken, or the
    # next file that somebody opens is written to by whoever writes to it
    opened = [Path(os.devnull).open("w") for stream in before if stream is None]  # noqa: SIM115
    spare = iter(opened)
    shown = [next(spare) if stream is None else stream for stream in before]
    sys.stdout, sys.stderr = (s if isinstance(s, Tolerant) else Tolerant(s) for s in shown)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, Tolerant):
                stream.flush()
        sys.stdout, sys.stderr = before
        for stream in opened:
            stream.close()

"""How a run of a study ended, and how its process leaves."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class ExitCode(IntEnum):
    """What the process says to its caller; an interrupted one says 128 + signal."""

    DONE = 0
    CELLS_FAILED = 1
    ENVIRONMENT = 2
    OVER_BUDGET = 3


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
        warnings: What the report says that a reader has to know first.
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
    warnings: tuple[str, ...] = ()
    message: str = ""
    is_cut_short: bool = False

    @property
    def status_line(self) -> str:
        """The last line on stdout, for scripts."""
        return (
            f"SWEEP_STATUS={self.sweep} done={self.done} failed={self.failed} reused={self.reused}"
        )


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

"""Looks at the seeds of a study, the report at its end, and what of it the terminal shows."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rich.console import Console

from sweep.commands.examples import keep_examples
from sweep.runtime.program import program

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sweep.engine.summary import Summary

log = logging.getLogger(__name__)


def rule(sweep: Path, seeds: int) -> Mapping[str, Any]:
    """Looks at the first seeds of a study with `design.stopping`, see ``sweep.report.looks``."""
    from sweep.report import looks

    return looks.rule(sweep, seeds)


def reported(summary: Summary) -> Summary:
    """Write the report, unless the sweep was cut short.

    A failure costs no result and can be repeated by `report`.
    """
    if summary.is_cut_short:
        return summary
    Console(stderr=True).print("writing the report")
    try:
        from sweep.report.build import build

        keep_examples(summary.sweep)
        paths = build(summary.sweep, command=program)
    except Exception as error:
        log.warning("the report failed: %s: %s", type(error).__name__, error)
        log.debug("the report failed", exc_info=True)
        return summary
    return replace(summary, report=paths.html, answer=paths.answer, warnings=paths.warnings)

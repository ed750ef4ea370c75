"""The report at the end of a study."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from sweep.engine.summary import Summary

log = logging.getLogger(__name__)


def reported(summary: Summary) -> Summary:
    """Write the report, unless the sweep was cut short.

    A failure costs no result and can be repeated by `report`.
    """
    if summary.is_cut_short:
        return summary
    Console(stderr=True).print("writing the report")
    try:
        from sweep.report.build import build

        paths = build(summary.sweep)
    except Exception as error:
        log.warning("the report failed: %s: %s", type(error).__name__, error)
        log.debug("the report failed", exc_info=True)
        return summary
    return replace(summary, report=paths.html, answer=paths.answer)

"""`resume`: continue a sweep from its folder; finished cells never run again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sweep.commands.plan import with_budget
from sweep.commands.reporting import rule
from sweep.commands.study import finish
from sweep.engine.folder import read_study
from sweep.engine.run import run_study

if TYPE_CHECKING:
    from pathlib import Path


def run(sweep: Path, *, engine: str = "ray", budget: str | None = None) -> int:
    """Continue with the stored study, within another budget if one is given; the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    study = read_study(sweep)
    if budget is not None:
        study = with_budget(study, None if budget == "none" else budget)
    summary = run_study(study, out=sweep.absolute(), engine=engine, rule=rule)
    return finish(summary, *(["--local"] if engine == "local" else []))

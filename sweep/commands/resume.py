"""`resume`: continue a sweep from its folder; finished cells never run again."""

from __future__ import annotations

import logging
from pathlib import Path

from sweep.commands.plan import with_budget
from sweep.commands.study import show
from sweep.driver import Engine, read_study, run_study


def run(sweep: Path, *, engine: Engine = "ray", budget: str | None = None) -> int:
    """Continue with the stored study, within another budget if one is given; the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    study = read_study(sweep)
    if budget is not None:
        study = with_budget(study, None if budget == "none" else budget)
    return show(run_study(study, out=sweep.absolute(), engine=engine))

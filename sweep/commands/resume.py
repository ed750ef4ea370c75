"""`resume`: continue a sweep from its folder; finished cells never run again."""

from __future__ import annotations

import logging
from pathlib import Path

from sweep.commands.study import show
from sweep.driver import Engine, read_study, run_study


def run(sweep: Path, *, engine: Engine = "ray") -> int:
    """Continue with the stored study; returns the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    study = read_study(sweep)
    return show(run_study(study, out=sweep.absolute(), engine=engine))

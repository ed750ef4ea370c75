"""Where the program keeps what the stored numbers are held against: the one place that moves."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from sweep import cells as designs
from sweep import config, driver
from sweep.local import limit_threads
from sweep.record import Outcomes, TrialRecord, read_records
from sweep.report.build import build
from sweep.trial import run_trial


def load_study(name: str, scale: str | None, overrides: tuple[str, ...]) -> config.StudyConfig:
    """A built-in study at a scale."""
    return config.load_study(name, scale=scale, overrides=overrides)


def cells_of(study: config.StudyConfig) -> list[config.TrialConfig]:
    """Its trials."""
    return designs.cells(study)


def run_local(study: config.StudyConfig, out: Path) -> None:
    """The whole study in this process, with its report."""
    driver.run_study(study, out=out, engine="local", report=True)


def run_cell(cell: config.TrialConfig) -> TrialRecord:
    """One trial in this process, on one thread."""
    limit_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        return run_trial(cell, scratch=Path(scratch), reraise=True).record


def report_of(folder: Path) -> str:
    """The text of a sweep's report, written below ``folder/report``."""
    return build(folder).markdown.read_text(encoding="utf-8")


def trial_from(content: dict[str, Any]) -> config.TrialConfig:
    """A stored trial."""
    return config.TrialConfig.model_validate(content)


def records_of(folder: Path) -> list[TrialRecord]:
    """Records of a sweep."""
    return read_records(folder)


def outcomes_of(cell: Path) -> Outcomes:
    """Per-clip outcomes of a cell."""
    return Outcomes.load(cell / "outcomes.npz")

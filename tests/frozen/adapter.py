"""Where the program keeps what the stored numbers are held against: the one place that moves."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.cells.resolve import cells
from sweep.commands.reporting import reported
from sweep.engine.run import run_study
from sweep.records.files import read_records
from sweep.records.outcomes import Outcomes
from sweep.records.record import TrialRecord
from sweep.report.build import build
from sweep.runtime.device import limit_threads
from sweep.settings.trial import TrialConfig
from sweep.studies import load
from sweep.trial import run_trial

if TYPE_CHECKING:
    from sweep.settings.study import StudyConfig


def load_study(name: str, scale: str | None, overrides: tuple[str, ...]) -> StudyConfig:
    """A built-in study as it was when the numbers were stored, at a scale: recipes may change."""
    path = Path(__file__).parent / "studies" / f"{name}.yaml"
    return load.load_study(str(path), scale=scale, overrides=overrides)


def cells_of(study: StudyConfig) -> list[TrialConfig]:
    """Its trials."""
    return cells(study)


def run_local(study: StudyConfig, out: Path) -> None:
    """The whole study in this process, with its report."""
    reported(run_study(study, out=out, engine="local"))


def run_cell(cell: TrialConfig) -> TrialRecord:
    """One trial in this process, on one thread; judged by the threshold of the stored ones."""
    limit_threads(1)
    train = cell.train.model_copy(update={"trained_below": 1.0})  # the default of their time
    judged = cell.model_copy(update={"train": train})
    with tempfile.TemporaryDirectory() as scratch:
        return run_trial(judged, scratch=Path(scratch), reraise=True).record


def report_of(folder: Path) -> str:
    """The text of a sweep's report, written below ``folder/report``; without its place."""
    return build(folder, command=_by_name).markdown.read_text(encoding="utf-8")


def _by_name(*words: object) -> str:
    return " ".join(word.name if isinstance(word, Path) else str(word) for word in words)


def trial_from(content: dict[str, Any]) -> TrialConfig:
    """A stored trial."""
    return TrialConfig.model_validate(content)


def record_from(content: dict[str, Any]) -> TrialRecord:
    """A stored record of any schema."""
    return TrialRecord.from_json(content)


def records_of(folder: Path) -> list[TrialRecord]:
    """Records of a sweep."""
    return read_records(folder)


def outcomes_of(cell: Path) -> Outcomes:
    """Per-clip outcomes of a cell."""
    return Outcomes.load(cell / "outcomes.npz")

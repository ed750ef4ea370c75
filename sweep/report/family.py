"""How many tests the report of a study will correct together, before anything has run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from sweep.cells.resolve import cells
from sweep.report.comparisons import comparisons
from sweep.report.effects import described
from sweep.report.evidence import Cell, Evidence

if TYPE_CHECKING:
    from sweep.settings.study import StudyConfig


def family_size(study: StudyConfig) -> int:
    """Comparisons on the primary outcome, or else on every outcome of the headline; at least 1.

    What analyses claim comes on top where a study has no primary outcome.
    """
    planned = {trial.label: trial for trial in cells(study)}
    empty = Evidence(
        folder=Path(study.name),
        study=json.loads(study.model_dump_json()),
        plan={},
        environment={},
        cells=tuple(
            Cell(
                name=label, losses=tuple(trial.losses), combiner=trial.combiner.name,
                weights={}, records={}, keys={},
            )
            for label, trial in planned.items()
        ),
        failures=(),
        missing=(),
    )  # fmt: skip
    judged = sum(not described(empty, one) for one in comparisons(empty))
    outcomes = 1 if study.primary_outcome is not None else len(study.headline)
    return max(1, judged * outcomes)

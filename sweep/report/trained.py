"""Which runs did not train: an outcome of its own, beside the accuracies that it distorts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweep.report.comparisons import INTERACTIONS
from sweep.report.page import number
from sweep.statistics.failures import FailureContrast, FailureRate, failure_contrast, failure_rate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweep.report.comparisons import Comparison
    from sweep.report.evidence import Cell, Evidence

#: Type of the error of a run whose loss left the finite numbers.
DIVERGED = "Diverged"


@dataclass(frozen=True, kw_only=True)
class Failing:
    """One cell, or one comparison, and whether its runs train.

    Attributes:
        name: Of it.
        contrast: Its runs against those of the reference; None for `none` itself.
        rate: Of its own runs.
    """

    name: str
    rate: FailureRate
    contrast: FailureContrast | None


def failed_runs(evidence: Evidence, cell: Cell) -> dict[int, bool]:
    """Seed -> whether the run did not train: flagged, or its loss diverged.

    Runs without a result, and runs that failed of something else, are left out.
    """
    diverged = {
        record.key for record in evidence.failures if (record.error or {}).get("type") == DIVERGED
    }
    found = {seed: seed in cell.untrained for seed in cell.records}
    return found | {seed: True for seed, key in cell.keys.items() if key in diverged}


def by_cell(evidence: Evidence) -> list[Failing]:
    """Every cell with runs, against `none`."""
    runs = {cell: failed_runs(evidence, cell) for cell in evidence.cells}
    empty = next((rows for cell, rows in runs.items() if not cell.losses and rows), None)
    return [
        Failing(
            name=cell.name,
            rate=failure_rate(sum(rows.values()), len(rows)),
            contrast=failure_contrast(rows, empty) if empty is not None and cell.losses else None,
        )
        for cell, rows in runs.items()
        if rows
    ]


def by_comparison(evidence: Evidence, compared: Sequence[Comparison]) -> list[Failing]:
    """Every comparison of the design of which a run on either side did not train."""
    found = []
    for comparison in compared:
        if comparison.kind in INTERACTIONS:
            continue
        sides = [
            _together([failed_runs(evidence, cell) for cell in dict.fromkeys(cells)])
            for cells in (comparison.treated, comparison.reference)
        ]
        contrast = failure_contrast(*sides)
        if contrast.treated.failed or contrast.reference.failed:
            found.append(Failing(name=comparison.name, rate=contrast.treated, contrast=contrast))
    return found


def _together(cells: Sequence[dict[int, bool]]) -> dict[int, bool]:
    """The runs of several cells as those of one; the test needs their number alone."""
    return dict(enumerate(failed for runs in cells for failed in runs.values()))


def share_text(rate: FailureRate) -> str:
    """`3 of 18 runs (17 %, exact 95 % interval 4 to 41 %)`."""
    return (
        f"{rate.failed} of {rate.runs} runs ({number(100 * rate.share, 0)} %, exact 95 % interval "
        f"{number(100 * rate.low, 0)} to {number(100 * rate.high, 0)} %)"
    )

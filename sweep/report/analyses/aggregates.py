"""Aggregates over the perturbations, as readers of reinforcement learning papers know them.

After Agarwal et al. (2021, arXiv:2108.13264): interquartile mean, performance profile, probability
of improvement. All of it is description: it is in no family of tests and claims nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from sweep.records.condition import CAPTIONS, JOINT
from sweep.report import figures
from sweep.report.comparisons import INTERACTIONS, comparisons
from sweep.report.evidence import outcome_arrays
from sweep.report.names import brief, cell_colours, marked
from sweep.report.page import Entry, Figure, Section, Table, Text, bracket, number, ratio, signed
from sweep.statistics.aggregates import (
    FEWEST_RUNS,
    bootstrap_runs,
    crossed_bootstrap,
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from sweep.report.evidence import Cell, Evidence
    from sweep.report.findings import Findings
    from sweep.statistics.intervals import Interval

#: An aggregate of one perturbation is that perturbation.
FEWEST_PERTURBATIONS = 2
#: Rows of a table; the files have all.
MOST_ROWS = 12
#: Accuracies at which the profile is taken, percent.
THRESHOLDS = tuple(float(percent) for percent in range(101))


@dataclass(frozen=True, kw_only=True)
class CellAggregate:
    """One cell over all perturbations.

    Attributes:
        cell: The cell.
        middle: Interquartile mean of its accuracies, percent.
        worst: Accuracy under its worst perturbation, over seeds and clips; None where perturbations
            were tested on few clips or outcomes per clip are gone.
        profile: Share of (run, perturbation) above each of ``THRESHOLDS``.
    """

    cell: Cell
    middle: Interval
    worst: Interval | None
    profile: np.ndarray = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class ComparisonAggregate:
    """One comparison of the design over all perturbations.

    Attributes:
        name: Of the comparison.
        gain: Difference of the interquartile means, points.
        improvement: Chance that a run of the one side beats a run of the other, 0..1.
    """

    name: str
    gain: Interval
    improvement: Interval


@dataclass(frozen=True, kw_only=True)
class Aggregates:
    """What was found.

    Attributes:
        perturbations: Their names; order controls and perturbed captions are none of them.
        cells: Highest interquartile mean first.
        comparisons: In the order of the design.
        runs: Seeds.
    """

    perturbations: Sequence[str]
    cells: Sequence[CellAggregate]
    comparisons: Sequence[ComparisonAggregate]
    runs: int


def find(evidence: Evidence) -> Aggregates | None:
    """Aggregates of every cell and comparison; None with fewer than two perturbations."""
    grid = {
        name: rows
        for name, rows in evidence.perturbations.items()
        if not evidence.tested[rows[0]].is_control
        and evidence.categories[rows[0]] not in (CAPTIONS, JOINT)
    }
    if len(grid) < FEWEST_PERTURBATIONS:
        return None
    scores = {cell: _scores(cell, grid, evidence.seeds) for cell in evidence.finished}
    cells = [
        CellAggregate(
            cell=cell,
            middle=bootstrap_runs(interquartile_mean, table)[0],
            worst=_worst(evidence, cell, grid),
            profile=performance_profile(_whole(table), THRESHOLDS),
        )
        for cell, table in scores.items()
        if len(_whole(table))
    ]
    cells.sort(key=lambda row: -row.middle.mean)
    found = []
    for comparison in comparisons(evidence):
        sides = [
            [scores[cell] for cell in cells if cell in scores]
            for cells in (comparison.treated, comparison.reference)
        ]
        if comparison.kind in INTERACTIONS or not all(sides):
            continue
        treated, reference = (np.mean(side, axis=0) for side in sides)
        gain = bootstrap_runs(_middle_gain, treated, reference)[0]
        if gain.n:
            found.append(
                ComparisonAggregate(
                    name=comparison.name,
                    gain=gain,
                    improvement=bootstrap_runs(probability_of_improvement, treated, reference)[0],
                )
            )
    return Aggregates(
        perturbations=list(grid), cells=cells, comparisons=found, runs=len(evidence.seeds)
    )


def _scores(cell: Cell, grid: Mapping[str, list[str]], seeds: Sequence[int]) -> np.ndarray:
    """(seeds, perturbations), mean over severities in percent; NaN where a run is missing."""
    columns = [cell.values(rows) for rows in grid.values()]
    return np.array([[column.get(seed, math.nan) for column in columns] for seed in seeds])


def _whole(table: np.ndarray) -> np.ndarray:
    return table[np.isfinite(table).all(axis=1)]


def _middle_gain(treated: np.ndarray, reference: np.ndarray) -> np.ndarray:
    return interquartile_mean(treated) - interquartile_mean(reference)


def _worst(evidence: Evidence, cell: Cell, grid: Mapping[str, list[str]]) -> Interval | None:
    """Accuracy under the worst perturbation; of few clips the least would be biased."""
    if evidence.fidelity:
        return None
    layers = []
    for rows in grid.values():
        arrays = outcome_arrays(evidence, [[*cell.records.values()]], rows)
        if arrays is None or len(arrays[0]) != 1:
            return None
        layers.append(arrays[0][0].mean(axis=1))
    if len({layer.shape for layer in layers}) != 1:
        return None
    outcomes = 100 * np.stack(layers, axis=1)
    return crossed_bootstrap(lambda shares: shares.min(axis=-1), outcomes)


# ------------------------------------------------------------------------------------ the section


def sections(findings: Findings, found: Aggregates) -> list[Section]:
    """Tables and the profile."""
    evidence = findings.evidence
    few = (
        f"With fewer than {FEWEST_RUNS} seeds there are no intervals. "
        if found.runs < FEWEST_RUNS
        else "Intervals are 95 % by the bootstrap over seeds, all perturbations of a run together; "
        "those of the worst over seeds and test clips. "
    )
    blocks: list[Text | Table | Figure] = [
        Text(
            text=f"Description, not claims: over {len(found.perturbations)} perturbations, each "
            "the mean of its severities. The interquartile mean leaves out the best and the worst "
            "quarter of (run, perturbation); the probability of improvement is the chance that a "
            f"run of the one side beats a run of the other, .5 = no difference. {few}A worst "
            "value is picked by looking and hence too low on average."
        )
    ]
    rows = [
        [marked(row.cell), _entry(row.middle), "–" if row.worst is None else _entry(row.worst)]
        for row in found.cells[:MOST_ROWS]
    ]
    blocks.append(
        Table(
            columns=["cell", "interquartile mean", "worst perturbation"],
            rows=rows,
            caption="Accuracy in percent." + _left(len(found.cells)),
            csv="aggregates.csv",
        )
    )
    if found.comparisons:
        blocks.append(
            Table(
                columns=["comparison", "gain in interquartile mean", "probability of improvement"],
                rows=[
                    [row.name, _entry(row.gain, plus=True), _entry(row.improvement, share=True)]
                    for row in found.comparisons[:MOST_ROWS]
                ],
                caption="Percentage points; share." + _left(len(found.comparisons)),
                csv="improvement.csv",
            )
        )
    blocks.append(_profile(findings, found, evidence))
    return [Section(title="Aggregates over perturbations", blocks=blocks)]


def _left(rows: int) -> str:
    return f" {rows - MOST_ROWS} more rows are left to the file." if rows > MOST_ROWS else ""


def _entry(interval: Interval, *, plus: bool = False, share: bool = False) -> Entry:
    shown = signed if plus else ratio if share else number
    inside = ""
    if share and math.isfinite(interval.low):
        inside = f"[{ratio(interval.low)}, {ratio(interval.high)}]"
    elif math.isfinite(interval.low):
        low, high = number(interval.low), number(interval.high)
        inside = bracket(interval.low, interval.high) if plus else f"[{low}, {high}]"
    return Entry(text=shown(interval.mean), details=(inside,) if inside else ())


def _profile(findings: Findings, found: Aggregates, evidence: Evidence) -> Figure:
    palette = cell_colours(evidence)
    # all curves begin at 1 and end at 0: their names stand where a tenth of the values is left
    mean = np.mean([row.profile for row in found.cells], axis=0)
    first = max(0, int(np.argmax(mean < 1)) - 3)
    last = max(first + 2, int(np.argmax(mean <= 0.1)) + 1)
    lines = [
        figures.Line(
            label=brief(marked(row.cell)),
            colour=palette[row.cell.name],
            x=THRESHOLDS[first:last],
            y=100 * row.profile[first:last],
            dashed=not row.cell.losses,
        )
        for row in found.cells
    ]
    best = found.cells[0]
    return findings.figure(
        "profile",
        figures.curves(
            [figures.Panel(title="performance profile", lines=lines)],
            x_unit="accuracy (%)",
            y_unit="runs and perturbations above it (%)",
            columns=1,
            height_in=2.6,
            floor=0.0,
        ),
        alt="Share of runs and perturbations above an accuracy, for every cell; highest "
        f"interquartile mean {best.cell.name} {number(best.middle.mean)} %.",
        caption="How many of (run, perturbation) are above an accuracy: higher is better, and a "
        "curve above another everywhere is better whatever the aggregate. Shown down to a tenth.",
    )


def tables(found: Aggregates) -> dict[str, pd.DataFrame]:
    """One row per cell; one per comparison; the profile."""
    import pandas as pd  # late: the answer alone needs none

    cells = [
        {
            "cell": row.cell.name,
            "iqm": row.middle.mean,
            "iqm_low": row.middle.low,
            "iqm_high": row.middle.high,
            "worst": row.worst.mean if row.worst else math.nan,
            "worst_low": row.worst.low if row.worst else math.nan,
            "worst_high": row.worst.high if row.worst else math.nan,
            "runs": row.middle.n,
        }
        for row in found.cells
    ]
    compared = [
        {
            "comparison": row.name,
            "iqm_gain": row.gain.mean,
            "iqm_gain_low": row.gain.low,
            "iqm_gain_high": row.gain.high,
            "improvement": row.improvement.mean,
            "improvement_low": row.improvement.low,
            "improvement_high": row.improvement.high,
            "runs": row.gain.n,
        }
        for row in found.comparisons
    ]
    profile = [
        {"cell": row.cell.name, "accuracy": threshold, "share_above": share}
        for row in found.cells
        for threshold, share in zip(THRESHOLDS, row.profile, strict=True)
    ]
    return {
        "aggregates": pd.DataFrame(cells),
        "improvement": pd.DataFrame(compared),
        "profile": pd.DataFrame(profile),
    }

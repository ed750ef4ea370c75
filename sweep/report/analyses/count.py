"""Combiners against each other, and weights, by number of losses: the rest of a `count` design."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sweep.report.comparisons import Comparison, common_sets
from sweep.report.effects import contrast_of
from sweep.report.page import Entry, Figure, Table, Text, bracket, join, number, signed
from sweep.statistics.regression import Slope, mixed_slope

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sweep.report.evidence import Cell, Evidence
    from sweep.report.findings import Findings
    from sweep.statistics.contrasts import Contrast


def sentences(evidence: Evidence) -> list[str]:
    """Whether more losses change what one combiner has over the other, per pair of combiners."""
    found = []
    for first, second in _pairs(evidence):
        parts, resolved = [], []
        for outcome in evidence.headline:
            slope = _gap_slope(evidence, first, second, evidence.outcomes[outcome])
            if slope is None:
                continue
            interval = bracket(slope.low, slope.high, 2)
            parts.append(f"{outcome} {signed(slope.mean, 2)} points per further loss {interval}")
            if slope.low > 0 or slope.high < 0:
                resolved.append(f"{'grows' if slope.mean > 0 else 'shrinks'} on {outcome}")
        if parts:
            lead = (
                f"What {first} has over {second} {join(resolved)} with the number of losses"
                if resolved
                else f"Not resolved: that {first} gains on {second} with the number of losses"
            )
            found.append(f"**{lead}**: {'; '.join(parts)} (same loss sets and seeds).")
    return found


def blocks(found: Findings) -> list[Text | Table | Figure]:
    """Combiners against each other at every number of losses, and what each loss weighs there."""
    tables = [_gap_table(found.evidence), _weight_table(found.evidence)]
    return [table for table in tables if table is not None]


def gap_frame(evidence: Evidence) -> pd.DataFrame:
    """One row per pair of combiners, number of losses and outcome; empty for other designs."""
    return pd.DataFrame(
        [
            {
                "comparison": f"{first} minus {second}",
                "losses": size,
                "loss_sets": sets,
                "outcome": outcome,
                "difference": contrast.mean,
                "low": contrast.low,
                "high": contrast.high,
                "pairs": contrast.n,
                "t_p": contrast.t_p,
            }
            for first, second, size, sets, outcome, contrast in _gaps(evidence)
        ]
    )


def _gaps(evidence: Evidence) -> Iterator[tuple[str, str, int, int, str, Contrast]]:
    """Paired by seed over the loss sets of a size that both combiners have."""
    if evidence.design != "count":
        return
    for first, second in _pairs(evidence):
        one, two = common_sets(evidence.finished, first, second)
        for size in sorted({len(c.losses) for c in one}):
            rows = [i for i, c in enumerate(one) if len(c.losses) == size]
            comparison = Comparison(
                name=f"{first} against {second}, {size} losses",
                kind="combiner",
                treated=tuple(one[i] for i in rows),
                reference=tuple(two[i] for i in rows),
                formula="",
            )
            for outcome, patterns in evidence.outcomes.items():
                contrast = contrast_of(comparison, patterns)
                yield first, second, size, len(rows), outcome, contrast


def _pairs(evidence: Evidence) -> list[tuple[str, str]]:
    """Combiners in pairs, in the order of the study."""
    names = dict.fromkeys(c.combiner for c in evidence.finished if c.losses)
    return list(itertools.combinations(names, 2)) if evidence.design == "count" else []


def _gap_slope(evidence: Evidence, first: str, second: str, patterns: list[str]) -> Slope | None:
    """Change of the difference of two combiners per further loss, random intercept per seed."""
    rows = []
    for one, two in zip(*common_sets(evidence.finished, first, second), strict=True):
        left, right = one.values(patterns), two.values(patterns)
        rows += [(left[s] - right[s], len(one.losses), s) for s in sorted(set(left) & set(right))]
    if not rows:
        return None
    gap, size, seed = zip(*rows, strict=True)
    try:
        return mixed_slope(gap, size, seed, {})
    except ValueError:
        return None


def _gap_table(evidence: Evidence) -> Table | None:
    rows: dict[tuple[str, str, int, int], list[Entry | str]] = {}
    for first, second, size, sets, _, contrast in _gaps(evidence):
        noun = "set" if sets == 1 else "sets"
        name = Entry(text=f"{size} losses", details=(f"{first} minus {second}, {sets} {noun}",))
        rows.setdefault((first, second, size, sets), [name]).append(
            Entry(
                text=signed(contrast.mean),
                details=(bracket(contrast.low, contrast.high) or f"n={contrast.n}",),
                tone=("good" if contrast.mean > 0 else "bad") if contrast.resolved else "",
            )
        )
    if not rows:
        return None
    trends: list[list[Entry | str]] = []
    for first, second in _pairs(evidence):
        trend: list[Entry | str] = [
            Entry(text="per further loss", details=(f"{first} minus {second}",))
        ]
        for patterns in evidence.outcomes.values():
            slope = _gap_slope(evidence, first, second, patterns)
            trend.append(
                Entry(
                    text=signed(slope.mean, 2),
                    details=(bracket(slope.low, slope.high, 2), slope.method),
                )
                if slope
                else Entry(text="–")
            )
        trends.append(trend)
    return Table(
        columns=["combiners at", *evidence.outcomes],
        rows=[*rows.values(), *trends],
        caption="One combiner minus the other on the same loss sets and seeds, in points; 95 % t "
        "intervals over seeds, not corrected for the number of rows. Last: change of the "
        "difference per further loss, over loss sets and seeds, random intercept per seed.",
        csv="combiners_by_count.csv",
    )


def _weight_table(evidence: Evidence) -> Table | None:
    """Final weights by number of losses, where a combiner moves them."""
    cells = [c for c in evidence.finished if c.losses]
    sizes = sorted({len(c.losses) for c in cells})
    rows: list[list[Entry | str]] = []
    for combiner in dict.fromkeys(c.combiner for c in cells):
        mine = [c for c in cells if c.combiner == combiner]
        names = dict.fromkeys(n for c in mine for r in c.records.values() for n in r.weights)
        if not any(_moved(c) for c in mine):
            continue
        for name in names:
            row: list[Entry | str] = [f"{name} [{combiner}]"]
            for size in sizes:
                values = [
                    r.weights[name]
                    for c in mine
                    for r in c.records.values()
                    if len(c.losses) == size and math.isfinite(r.weights.get(name, math.nan))
                ]
                row.append(_weight_entry(values))
            rows.append(row)
    if not rows:
        return None
    return Table(
        columns=["final weight dM/dl", *(f"{size} losses" for size in sizes)],
        rows=rows,
        caption="Slope of the combined objective with respect to each loss over the last tenth of "
        "training: mean, smallest and largest over loss sets and seeds. The plain sum has 1 "
        "throughout.",
        csv="weights.csv",
    )


def _weight_entry(values: Sequence[float]) -> Entry:
    """Mean and range; a dash where no set of the size holds the loss."""
    if not values:
        return Entry(text="–")
    spread = (f"{number(min(values), 2)} to {number(max(values), 2)}",) if len(values) > 1 else ()
    return Entry(text=number(float(np.mean(values)), 2), details=spread)


def _moved(cell: Cell) -> bool:
    """Whether a final weight of some run is not the configured one."""
    return any(
        abs(r.weights.get(name, w) - w) > 1e-6 * max(1.0, abs(w))
        for r in cell.records.values()
        for name, w in cell.weights.items()
        if math.isfinite(w)
    )

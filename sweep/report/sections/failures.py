"""Blocks on runs that did not train: their share per cell and per comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweep.report.page import Entry, Figure, Table, Text, number, p_value
from sweep.report.trained import by_cell, by_comparison, share_text
from sweep.statistics.failures import failure_rate

if TYPE_CHECKING:
    from sweep.report.findings import Findings
    from sweep.statistics.failures import FailureRate


def failure_blocks(found: Findings) -> list[Text | Table | Figure]:
    """How often training fails, an outcome of its own; one sentence where it never does."""
    evidence = found.evidence
    cells = by_cell(evidence)
    whole = failure_rate(sum(c.rate.failed for c in cells), sum(c.rate.runs for c in cells))
    if not whole.runs:
        return []
    if not whole.failed:
        return [
            Text(
                text=f"Every run trained: 0 of {whole.runs} failed to, and the exact 95 % interval "
                f"of that share ends at {number(100 * whole.high, 0)} %."
            )
        ]
    blocks: list[Text | Table | Figure] = [
        Text(
            text=f"**Runs that did not train**: {share_text(whole)}. A run counts whose primary "
            "loss stayed above the threshold, or left the finite numbers. Intervals are Clopper "
            "and Pearson's, p is Fisher's exact test; both are described, not claimed."
        ),
        Table(
            columns=["cell", "did not train", "share", "p against none"],
            rows=[
                [
                    cell.name,
                    _count(cell.rate),
                    _share(cell.rate),
                    "–" if cell.contrast is None else p_value(cell.contrast.p),
                ]
                for cell in cells
            ],
            caption="Share of runs that did not train, with its exact 95 % interval.",
            csv="failures.csv",
        ),
    ]
    rows = [
        [c.name, _count(c.contrast.treated), _count(c.contrast.reference), p_value(c.contrast.p)]
        for c in by_comparison(evidence, found.compared)
        if c.contrast is not None
    ]
    if rows:
        blocks.append(
            Table(
                columns=["comparison", "this side", "its reference", "p"],
                rows=rows,
                caption="Runs that did not train on either side of the comparisons of the design; "
                "comparisons without any are left out.",
            )
        )
    return blocks


def _count(rate: FailureRate) -> str:
    return f"{rate.failed} of {rate.runs}"


def _share(rate: FailureRate) -> Entry:
    return Entry(
        text=f"{number(100 * rate.share, 0)} %",
        details=(f"[{number(100 * rate.low, 0)}, {number(100 * rate.high, 0)}]",),
    )

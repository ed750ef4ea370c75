"""Where the spread of outcomes comes from, and which of seeds, clips and sets to buy more of."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from sweep.report.evidence import outcome_arrays
from sweep.report.page import Entry, Section, Table, Text, number
from sweep.statistics.components import Components, variance_components

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from sweep.report.evidence import Evidence
    from sweep.report.findings import Findings

#: Source -> what it is called.
WORDS = {"set": "loss sets", "seed": "seeds", "clip": "test clips"}


def find(evidence: Evidence) -> dict[str, Components] | None:
    """Outcome -> components, of cells whose runs are all there and trained; None without any."""
    cells = [
        cell
        for cell in evidence.finished
        if len(cell.records) == len(evidence.seeds) and not cell.untrained
    ]
    if len(cells) < 2 or len(evidence.seeds) < 2:
        return None
    records = [[cell.records[seed] for seed in evidence.seeds] for cell in cells]
    found = {}
    for outcome in evidence.headline:
        arrays = outcome_arrays(evidence, records, evidence.outcomes[outcome])
        if arrays is None:
            continue
        # one value per clip: its mean over the conditions that it is tested under
        values = np.array(
            [
                np.concatenate([part.mean(axis=1) for part in sets], axis=1, dtype=float)
                for sets in arrays
            ]
        )
        if values.shape[2] > 1:
            found[outcome] = variance_components(100 * values)
    return found or None


def sections(findings: Findings, found: Mapping[str, Components]) -> list[Section]:
    """Standard deviations by source, and the advice."""
    trend = findings.evidence.trend
    rows: list[list[Entry | str]] = []
    for outcome, parts in found.items():
        doubt = parts.of_trend() if trend else parts.of_difference()
        whole = sum(doubt.values())
        shares = [
            f"{WORDS[source]} {number(100 * value / whole, 0)} %" for source, value in doubt.items()
        ]
        rows.append(
            [
                outcome,
                number(math.sqrt(parts.set)),
                number(math.sqrt(parts.seed)),
                number(math.sqrt(parts.set_seed)),
                number(math.sqrt(parts.clip)),
                number(math.sqrt(parts.set_clip)),
                Entry(text=WORDS[advice(parts, trend=trend)], details=shares if whole else ()),
            ]
        )
    one = next(iter(found.values()))
    what = "one set about a trend over the sets" if trend else "a paired difference of two sets"
    return [
        Section(
            title="Where the spread comes from",
            blocks=[
                Text(
                    text=f"Description, not claims: variance components of {one.sets} loss sets, "
                    f"{one.seeds} seeds and {one.clips} test clips, crossed, of cells whose runs "
                    "are all there and trained. What a seed or a clip does to all sets alike is "
                    "taken away by pairing; what it does to one set alone is the doubt about "
                    f"{what}. Few seeds say little about their own spread."
                ),
                Table(
                    columns=[
                        "outcome",
                        "loss sets",
                        "seeds, shared",
                        "seeds, of one set",
                        "clips, shared",
                        "clips, of one set",
                        "have more of",
                    ],
                    rows=rows,
                    caption="Standard deviations in points, of a single clip for clips; last what "
                    f"narrows the doubt about {what} most, with the shares in its variance.",
                    csv="components.csv",
                ),
            ],
        )
    ]


def advice(parts: Components, *, trend: bool) -> str:
    """`set`, `seed` or `clip`: what to have more of."""
    return parts.buy("trend" if trend else "difference")


def tables(found: Mapping[str, Components]) -> dict[str, pd.DataFrame]:
    """One row per outcome, variances in points squared."""
    import pandas as pd  # late: the answer alone needs none

    rows = [
        {
            "outcome": outcome,
            **{
                name: getattr(parts, name)
                for name in (
                    "set", "seed", "clip", "set_seed", "set_clip", "seed_clip", "rest",
                    "sets", "seeds", "clips",
                )
            },
            **{f"difference_by_{name}": value for name, value in parts.of_difference().items()},
        }
        for outcome, parts in found.items()
    ]  # fmt: skip
    return {"components": pd.DataFrame(rows)}

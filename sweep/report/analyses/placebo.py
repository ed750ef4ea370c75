"""What a loss that teaches nothing does to the sets that it joins: a control for their number.

A larger set brings more gradient as well as more teaching. The mean difference between sets with
and without a placebo, one pair per set, is what gradient alone does; it is described, not claimed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweep.report.page import Entry, Section, Table, Text, bracket, join, number, signed
from sweep.report.sets import mean_of, placebos
from sweep.statistics.intervals import Interval, mean_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from sweep.report.evidence import Cell, Evidence
    from sweep.report.findings import Findings


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Sets with a placebo against the same sets without it, under one combiner.

    Attributes:
        placebo: The loss.
        combiner: Name.
        outcome: Name.
        difference: Mean over the sets, each a mean over its seeds; points.
        untrained: Sets with a run that did not train, with the placebo.
    """

    placebo: str
    combiner: str
    outcome: str
    difference: Interval
    untrained: int


def find(evidence: Evidence) -> list[Arm] | None:
    """Every placebo under every combiner on every outcome; None without a placebo."""
    plain = {(c.combiner, frozenset(c.losses)): c for c in evidence.finished}
    # without losses nothing is combined: one cell stands for all combiners
    none = next((c for c in evidence.finished if not c.losses), None)
    joined: dict[tuple[str, str], list[tuple[Cell, Cell]]] = {}
    arms = []
    for cell in evidence.finished:
        for name in placebos(cell):
            rest = frozenset(cell.losses) - {name}
            other = plain.get((cell.combiner, rest)) if rest else none
            if other is not None:
                joined.setdefault((name, cell.combiner), []).append((cell, other))
    for (name, combiner), pairs in joined.items():
        for outcome, patterns in evidence.outcomes.items():
            gaps = [mean_of(one, patterns) - mean_of(two, patterns) for one, two in pairs]
            kept = [gap for gap in gaps if math.isfinite(gap)]
            if kept:
                arms.append(
                    Arm(
                        placebo=name,
                        combiner=combiner,
                        outcome=outcome,
                        difference=mean_interval(kept),
                        untrained=sum(bool(one.untrained) for one, _ in pairs),
                    )
                )
    return arms or None


def sentences(findings: Findings, arms: Sequence[Arm]) -> list[Text]:
    """What the placebo does to the outcomes of the answer."""
    found = []
    for name in dict.fromkeys(arm.placebo for arm in arms):
        mine = [a for a in arms if a.placebo == name and a.outcome in findings.evidence.headline]
        told = [f"{arm.outcome} [{arm.combiner}] {_seen(arm)}" for arm in mine]
        if told:
            found.append(
                Text(
                    text=f"Control: joined to {_sets(mine[0].difference.n)}, `{name}`, which "
                    f"teaches nothing, changes {join(told)} points. What a further loss gains "
                    "beyond that is no matter of more gradient.",
                    tone="open",
                )
            )
    return found


def sections(_: Findings, arms: Sequence[Arm]) -> list[Section]:
    """One table: placebos by combiner, all outcomes."""
    outcomes = list(dict.fromkeys(arm.outcome for arm in arms))
    rows: dict[tuple[str, str], list[Entry | str]] = {}
    for arm in arms:
        details = [_sets(arm.difference.n)]
        details += [f"{arm.untrained} did not train"] if arm.untrained else []
        name = Entry(text=f"{arm.placebo} [{arm.combiner}]", details=tuple(details))
        row = rows.setdefault((arm.placebo, arm.combiner), [name])
        spread = bracket(arm.difference.low, arm.difference.high) or "n=1"
        row.append(Entry(text=signed(arm.difference.mean), details=(spread,)))
    table = Table(
        columns=["placebo joined to sets", *outcomes],
        rows=list(rows.values()),
        caption="Sets with a loss that teaches nothing minus the same sets without it, in points; "
        "95 % t interval over the sets, each a mean over its seeds. A control, not a claim.",
        csv="placebo.csv",
    )
    return [Section(title="Number of losses", blocks=[table])]


def tables(arms: Sequence[Arm]) -> dict[str, pd.DataFrame]:
    """The same numbers in full."""
    import pandas as pd  # late: the answer alone needs none

    rows = [
        {
            "placebo": arm.placebo,
            "combiner": arm.combiner,
            "outcome": arm.outcome,
            "loss_sets": arm.difference.n,
            "difference": arm.difference.mean,
            "low": arm.difference.low,
            "high": arm.difference.high,
            "sets_not_trained": arm.untrained,
        }
        for arm in arms
    ]
    return {"placebo": pd.DataFrame(rows)}


def _seen(arm: Arm) -> str:
    return f"by {signed(arm.difference.mean)} {bracket(arm.difference.low, arm.difference.high)}"


def _sets(count: int) -> str:
    return f"{number(count, 0)} set{'s' if count != 1 else ''}"

"""Shapley values in the report: what the cells give, their table and figure, and the sentences."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pandas as pd

from sweep.report import figures
from sweep.report.names import points_of
from sweep.report.page import Entry, Figure, Section, Table, Text, bracket, join, number, signed
from sweep.statistics.intervals import Interval, mean_interval
from sweep.statistics.shapley import (
    SampledShapley,
    kernel_shap,
    sampled_shapley,
    shapley,
    shares_by_seed,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sweep.report.evidence import Evidence
    from sweep.report.findings import Findings

SAMPLED = "sampled orders"
EXACT = "exact Shapley"
KERNEL = "KernelSHAP"


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """Shapley value of every loss for one outcome under one combiner, in points.

    Attributes:
        method: `sampled orders`, `exact Shapley` or `KernelSHAP`.
        shares: Loss -> mean with an interval over seeds.
        points: Loss -> one value per seed.
        total: Sum of the values.
        gain: All minus none over the same seeds; equal to ``total`` but for rounding.
        sampled: The doubt about the drawn orders; None for the other methods.
        outcome: Name.
        combiner: Name.
    """

    method: str
    shares: Mapping[str, Interval]
    points: Mapping[str, Sequence[float]]
    total: float
    gain: float
    sampled: SampledShapley | None = field(default=None, repr=False)
    outcome: str = ""
    combiner: str = ""

    def resolved(self, loss: str) -> bool:
        """Whether every interval of the value excludes 0: over seeds, and over orders if drawn.

        Equal values in all seeds resolve nothing.
        """
        seeds = self.shares[loss]
        intervals = [seeds]
        if self.sampled is not None:
            intervals.append(self.sampled.over_orders[loss])
        return seeds.high > seeds.low and all(_excludes_zero(i) for i in intervals)


def find(evidence: Evidence) -> list[Attribution]:
    """Shapley values where the cells determine them.

    From the orders of a design that drew some; beside it, and in every design that does not pick
    its cells, exact on a factorial and KernelSHAP on whatever other cells exist.
    """
    players = evidence.losses
    found = []
    if len(players) < 2 or evidence.row.picked:
        return []
    with_losses = [c for c in evidence.finished if c.losses]
    for outcome in evidence.headline:
        patterns = evidence.outcomes[outcome]
        for combiner in dict.fromkeys(c.combiner for c in with_losses):
            values = {
                frozenset(c.losses): c.values(patterns)
                for c in evidence.finished
                if not c.losses or c.combiner == combiner
            }
            rows = [_from_orders(evidence, values), _from_cells(values, players)]
            found += [replace(a, outcome=outcome, combiner=combiner) for a in rows if a is not None]
    return sorted(found, key=lambda a: a.method != SAMPLED)


Values = dict[frozenset[str], dict[int, float]]


def _from_orders(evidence: Evidence, values: Values) -> Attribution | None:
    orders = evidence.row.orders
    if orders is None:
        return None
    try:
        pairs = orders(evidence.losses, evidence.design_settings)
        sampled = sampled_shapley(values, pairs)
    except ValueError:
        return None  # no pair is complete yet
    total = sum(i.mean for i in sampled.over_orders.values())
    return Attribution(
        method=SAMPLED,
        shares=sampled.over_seeds,
        points=sampled.per_seed,
        total=total,
        gain=sampled.gain,
        sampled=sampled,
    )


def _from_cells(values: Values, players: Sequence[str]) -> Attribution | None:
    factorial = len(values) == 2 ** len(players)
    if len(values) - 2 <= len(players) and not factorial:
        return None  # leave-one-out cells alone only restate the contrasts
    method = shapley if factorial else kernel_shap
    points = shares_by_seed(values, players, method)
    seeds = sorted(set.union(*(set(row) for row in points.values())))
    if not seeds:
        return None
    shares = {name: mean_interval(row.values()) for name, row in points.items()}
    full, empty = values[frozenset(players)], values[frozenset()]
    return Attribution(
        method=EXACT if factorial else KERNEL,
        shares=shares,
        points={name: tuple(row.values()) for name, row in points.items()},
        total=sum(share.mean for share in shares.values()),
        gain=sum(full[s] - empty[s] for s in seeds) / len(seeds),
    )


def _excludes_zero(interval: Interval) -> bool:
    return interval.low > 0 or interval.high < 0


# ---------------------------------------------------------------------------- the section


_NOTES = {
    SAMPLED: "It is estimated from {pairs} drawn orders, each also taken backwards. Two doubts "
    "are kept apart: about the orders that were not drawn (t interval over the {pairs} pairs) and "
    "about the seeds; `both` draws orders and seeds anew (bootstrap).",
    EXACT: "Exact values: every subset was run.",
    KERNEL: "KernelSHAP estimates it from the cells that exist by weighted least squares; with few "
    "cells per size it leans on losses adding up.",
}


def sections(findings: Findings, rows: Sequence[Attribution]) -> list[Section]:
    """Shapley values: what they are, a figure, one table per method."""
    if not rows:
        return []
    methods = list(dict.fromkeys(a.method for a in rows))
    notes = " ".join(
        _NOTES[m].format(pairs=max(_pairs(a) for a in rows if a.method == m)) for m in methods
    )
    blocks: list[Text | Table | Figure] = [
        Text(
            text="**Shapley value**: the share of the whole set's gain that a loss earns on "
            f"average over all orders of adding losses. {notes}"
        ),
        _figure(findings, [a for a in rows if a.method == methods[0]]),
    ]
    losses = findings.evidence.losses
    blocks += [_table([a for a in rows if a.method == m], losses) for m in methods]
    return [Section(title="Effect of each loss", blocks=blocks)]


def _pairs(row: Attribution) -> int:
    if row.sampled is None:
        return 0
    return len(next(iter(row.sampled.per_pair.values())))


def _figure(findings: Findings, rows: Sequence[Attribution]) -> Figure:
    panels = {_title(a, rows): _bars(a, findings.evidence.losses) for a in rows}
    drawn = rows[0].sampled is not None
    shown = "; ".join(
        f"{loss} on {_title(a, rows)} {signed(a.shares[loss].mean)}"
        for a in rows
        for loss in findings.evidence.losses
    )
    doubt = "over drawn orders and over seeds" if drawn else "over seeds"
    return findings.figure(
        "shapley",
        figures.forest(
            panels, unit=points_of(findings.evidence).replace("difference", "Shapley value")
        ),
        alt=f"Shapley values: {shown}.",
        caption=f"Shapley values ({rows[0].method}) with 95 % intervals {doubt}; small dots are "
        + ("single pairs of orders and single seeds" if drawn else "single seeds")
        + ", filled marks exclude 0.",
    )


def _bars(row: Attribution, losses: Sequence[str]) -> list[figures.Bar]:
    bars: list[figures.Bar] = []
    for loss in losses:
        parts = [("", row.shares[loss], row.points[loss])]
        if row.sampled is not None:
            over_orders = row.sampled.over_orders[loss]
            parts = [
                (", orders", over_orders, row.sampled.per_pair[loss]),
                (", seeds", row.shares[loss], row.points[loss]),
            ]
        bars += [
            figures.Bar(
                label=f"{loss}{name}",
                mean=interval.mean,
                low=interval.low,
                high=interval.high,
                points=points,
                n=interval.n,
                strong=_excludes_zero(interval),
                apart=row.sampled is not None and i == 0 and bool(bars),
            )
            for i, (name, interval, points) in enumerate(parts)
        ]
    return bars


def _table(rows: Sequence[Attribution], losses: Sequence[str]) -> Table:
    body: list[list[Entry | str]] = [[loss, *(_entry(a, loss) for a in rows)] for loss in losses]
    body.append(["sum", *(Entry(text=signed(a.total)) for a in rows)])
    body.append(["all minus none", *(Entry(text=signed(a.gain)) for a in rows)])
    gap = max(abs(a.total - a.gain) for a in rows)
    caption = f"Shapley values in percentage points, {rows[0].method}."
    if gap < 1e-9:
        caption += " The values sum to all minus none to 1e-9."
    else:
        caption += f" **The values miss all minus none by {gap:.2g}.**"
    dropped = max((a.sampled.dropped for a in rows if a.sampled), default=0)
    if dropped:
        caption += f" {dropped} pairs of orders lack a finished cell and are left out."
    return Table(
        columns=["loss", *(_title(a, rows) for a in rows)],
        rows=body,
        caption=caption,
        csv="shapley.csv",
    )


def _entry(row: Attribution, loss: str) -> Entry:
    share = row.shares[loss]
    details = [bracket(share.low, share.high) if share.n > 1 else f"n={share.n}"]
    if row.sampled is not None:
        orders, both = row.sampled.over_orders[loss], row.sampled.over_both[loss]
        details = [
            f"orders {bracket(orders.low, orders.high)}",
            f"seeds {details[0]}",
            f"both {bracket(both.low, both.high)}",
        ]
    tone = ("good" if share.mean > 0 else "bad") if row.resolved(loss) else ""
    return Entry(text=signed(share.mean), details=tuple(details), tone=tone)


def _title(row: Attribution, rows: Sequence[Attribution]) -> str:
    several = len({a.combiner for a in rows}) > 1
    return f"{row.outcome} [{row.combiner}]" if several else row.outcome


# ---------------------------------------------------------------------------- the answer


def sentences(findings: Findings, found: Sequence[Attribution]) -> list[str]:
    """One sentence per loss from the drawn orders, resolved or not."""
    rows = [a for a in found if a.sampled is not None]
    losses = list(dict.fromkeys(loss for a in rows for loss in a.shares))
    said = []
    for loss in losses:
        verdicts = []
        for verb, sign in (("pays on", 1), ("hurts on", -1)):
            there = [
                _title(a, rows) for a in rows if a.resolved(loss) and sign * a.shares[loss].mean > 0
            ]
            if there:
                verdicts.append(f"{verb} {join(there)}")
        lead = f"{loss} {' and '.join(verdicts)}" if verdicts else f"{loss} is not resolved"
        parts = [f"{_title(a, rows)} {_doubt(a, loss)}" for a in rows]
        said.append(f"**{lead}**, by Shapley value: {'; '.join(parts)}.")
    return said


def _doubt(row: Attribution, loss: str) -> str:
    share = row.shares[loss]
    text = f"{signed(share.mean)} points"
    if row.sampled is None:
        return text
    orders = row.sampled.over_orders[loss]
    seeds = bracket(share.low, share.high) if math.isfinite(share.low) else f"n={share.n}"
    return f"{text} (orders ±{number(orders.half)}, seeds {seeds})"


# ---------------------------------------------------------------------------- full numbers


def tables(found: Sequence[Attribution]) -> dict[str, pd.DataFrame]:
    """Shapley values with intervals over seeds, and over orders where those were drawn."""
    rows = pd.DataFrame(
        [
            {
                "outcome": row.outcome,
                "combiner": row.combiner,
                "loss": loss,
                "method": row.method,
                "share": share.mean,
                "low": share.low,
                "high": share.high,
                "seeds": share.n,
                **({} if row.sampled is None else _doubt_about_orders(row.sampled, loss)),
            }
            for row in found
            for loss, share in row.shares.items()
        ]
    )
    return {"shapley": rows}


def _doubt_about_orders(sampled: SampledShapley, loss: str) -> dict[str, float]:
    orders, both = sampled.over_orders[loss], sampled.over_both[loss]
    return {
        "orders_low": orders.low,
        "orders_high": orders.high,
        "pairs_of_orders": orders.n,
        "both_low": both.low,
        "both_high": both.high,
    }

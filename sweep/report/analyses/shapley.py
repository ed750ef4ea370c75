"""Shapley values in the report: what the cells give, their table and figure, and the sentences.

From drawn orders they are judged by the joint interval over seeds and orders, and losses x outcomes
join the family of the report: intervals over seeds or orders alone cover 59 to 90 % where they say
95. Exact values and KernelSHAP are described: their designs are judged by their comparisons.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sweep.report import figures
from sweep.report.names import points_of
from sweep.report.page import Entry, Figure, Section, Table, Text, bracket, signed
from sweep.report.sets import DELAY
from sweep.report.verdict import graded, standing
from sweep.statistics.claims import Claim
from sweep.statistics.intervals import NAN, CrossedInterval, Interval, mean_interval
from sweep.statistics.shapley import (
    Order,
    SampledShapley,
    kernel_shap,
    sampled_shapley,
    shapley,
    shares_by_seed,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from sweep.report.evidence import Cell, Evidence
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
        trained: The same from the runs that trained; None where all did, or no pair is left.
        failed: Number of runs that did not train.
        outcome: Name.
        combiner: Name.
        about: What is claimed of a loss is called `Shapley value of <loss>` and this.
    """

    method: str
    shares: Mapping[str, Interval]
    points: Mapping[str, Sequence[float]]
    total: float
    gain: float
    sampled: SampledShapley | None = field(default=None, repr=False)
    trained: SampledShapley | None = field(default=None, repr=False)
    failed: int = 0
    outcome: str = ""
    combiner: str = ""
    about: str = ""

    def claimed(self, loss: str) -> tuple[str, str]:
        """Under which claims know the value of a loss."""
        return f"Shapley value of {loss}{self.about}", self.outcome

    def interval(self, loss: str) -> CrossedInterval | Interval:
        """Over seeds and orders at once; over seeds where no orders were drawn."""
        return self.shares[loss] if self.sampled is None else self.sampled.joint[loss]

    def p(self, loss: str) -> float:
        """Of the claim: the value has to be there with and without runs that did not train."""
        if self.sampled is None or (self.failed and self.trained is None):
            return NAN
        p = self.sampled.joint[loss].p
        if self.trained is None:
            return p
        trained = self.trained.joint[loss].p
        return max(p, trained) if math.isfinite(trained) else NAN

    def disagrees(self, loss: str) -> bool:
        """Whether runs that trained say something else than all."""
        if self.sampled is None or self.trained is None:
            return False
        return _sign(self.sampled.joint[loss]) != _sign(self.trained.joint[loss])

    @property
    def units(self) -> int:
        """Seeds or pairs of orders, of which there are fewer."""
        found = self.trained or self.sampled
        return min(_pairs(found), _seeds(found))


def find(evidence: Evidence) -> list[Attribution]:
    """Shapley values where the cells determine them.

    From the orders of a design that drew some; beside it, and in every design that does not pick
    its cells, exact on a factorial and KernelSHAP on whatever other cells exist.
    """
    players = evidence.losses
    found = []
    if len(players) < 2 or evidence.row.picked:
        return []
    names = list(dict.fromkeys(c.combiner for c in evidence.finished if c.losses))
    for outcome in evidence.headline:
        patterns = evidence.outcomes[outcome]
        for combiner in names:
            cells = [c for c in evidence.finished if not c.losses or c.combiner == combiner]
            values = {frozenset(c.losses): c.values(patterns) for c in cells}
            rows = [_from_orders(evidence, values, cells), _from_cells(values, players)]
            about = f" ({combiner})" if len(names) > 1 else ""
            found += [
                replace(a, outcome=outcome, combiner=combiner, about=about)
                for a in rows
                if a is not None
            ]
    return sorted(found, key=lambda a: a.method != SAMPLED)


Values = dict[frozenset[str], dict[int, float]]


def _from_orders(evidence: Evidence, values: Values, cells: Sequence[Cell]) -> Attribution | None:
    orders = evidence.row.orders
    if orders is None:
        return None
    pairs = orders(evidence.losses, evidence.design_settings)
    sampled = _sampled(values, pairs)
    if sampled is None:
        return None
    failed = sum(len(c.untrained) for c in cells)
    lost = {frozenset(c.losses): c.untrained for c in cells}
    kept = {
        subset: {seed: v for seed, v in row.items() if seed not in lost[subset]}
        for subset, row in values.items()
    }
    total = sum(i.mean for i in sampled.over_orders.values())
    return Attribution(
        method=SAMPLED,
        shares=sampled.over_seeds,
        points=sampled.per_seed,
        total=total,
        gain=sampled.gain,
        sampled=sampled,
        trained=_sampled(kept, pairs) if failed else None,
        failed=failed,
    )


def _sampled(values: Values, pairs: Sequence[tuple[Order, Order]]) -> SampledShapley | None:
    try:
        return sampled_shapley(values, pairs)
    except ValueError:
        return None  # no pair is complete


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


def _sign(interval: CrossedInterval) -> int:
    """1 or -1 where the interval excludes 0, else 0."""
    if not (interval.low > 0 or interval.high < 0):
        return 0
    return 1 if interval.mean > 0 else -1


# ---------------------------------------------------------------------------- the claims


def claims(found: Sequence[Attribution]) -> list[Claim]:
    """Every loss on every outcome of the answer, from drawn orders."""
    return [
        Claim(
            comparison=row.claimed(loss)[0],
            outcome=row.outcome,
            p=row.p(loss),
            pairs=row.units,
            disagrees=row.disagrees(loss),
        )
        for row in found
        if row.sampled is not None
        for loss in row.shares
    ]


# ---------------------------------------------------------------------------- the section


_NOTES = {
    SAMPLED: "It is estimated from {pairs} drawn orders, each also taken backwards. The interval "
    "has the doubt about orders that were not drawn and about seeds at once (two-way t interval); "
    "the parts are in the file.",
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
        _NOTES[m].format(pairs=max(_pairs(a.sampled) for a in rows if a.method == m))
        for m in methods
    )
    blocks: list[Text | Table | Figure] = [
        Text(
            text="**Shapley value**: the share of the whole set's gain that a loss earns on "
            f"average over all orders of adding losses. {notes}"
        ),
        _figure(findings, [a for a in rows if a.method == methods[0]]),
    ]
    blocks += [_table(findings, [a for a in rows if a.method == m]) for m in methods]
    return [Section(title="Effect of each loss", blocks=blocks)]


def _pairs(sampled: SampledShapley | None) -> int:
    return 0 if sampled is None else len(next(iter(sampled.per_pair.values())))


def _seeds(sampled: SampledShapley | None) -> int:
    return 0 if sampled is None else len(next(iter(sampled.per_seed.values())))


def _figure(findings: Findings, rows: Sequence[Attribution]) -> Figure:
    losses = findings.evidence.losses
    panels = {_title(a, rows): _bars(findings, a) for a in rows}
    drawn = rows[0].sampled is not None
    shown = "; ".join(
        f"{loss} on {_title(a, rows)} {signed(a.shares[loss].mean)}"
        for a in rows
        for loss in losses
    )
    doubt = "over seeds and drawn orders" if drawn else "over seeds"
    return findings.figure(
        "shapley",
        figures.forest(
            panels, unit=points_of(findings.evidence).replace("difference", "Shapley value")
        ),
        alt=f"Shapley values: {shown}.",
        caption=f"Shapley values ({rows[0].method}) with 95 % intervals {doubt}; small dots are "
        "single seeds" + (", filled marks hold over the whole report." if drawn else "."),
    )


def _bars(findings: Findings, row: Attribution) -> list[figures.Bar]:
    return [
        figures.Bar(
            label=loss,
            mean=interval.mean,
            low=interval.low,
            high=interval.high,
            points=row.points[loss],
            n=row.shares[loss].n,
            strong=_holds(findings, row, loss),
        )
        for loss in findings.evidence.losses
        for interval in (row.interval(loss),)
    ]


def _holds(findings: Findings, row: Attribution, loss: str) -> bool:
    claim = None if row.sampled is None else findings.claims.get(row.claimed(loss))
    return claim is not None and claim.grade == "holds"


def _table(findings: Findings, rows: Sequence[Attribution]) -> Table:
    losses = findings.evidence.losses
    body: list[list[Entry | str]] = [
        [loss, *(_entry(findings, a, loss) for a in rows)] for loss in losses
    ]
    body.append(["sum", *(Entry(text=signed(a.total)) for a in rows)])
    body.append(["all minus none", *(Entry(text=signed(a.gain)) for a in rows)])
    gap = max(abs(a.total - a.gain) for a in rows)
    caption = f"Shapley values in percentage points, {rows[0].method}"
    if rows[0].sampled is None:
        caption += ", with 95 % intervals over seeds: description, not corrected for their number."
    else:
        caption += (
            ", with 95 % intervals over seeds and orders. Coloured: what holds over the whole "
            "report."
        )
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


def _entry(findings: Findings, row: Attribution, loss: str) -> Entry:
    interval = row.interval(loss)
    details = [bracket(interval.low, interval.high) or f"n={row.shares[loss].n}"]
    claim = None if row.sampled is None else findings.claims.get(row.claimed(loss))
    if claim is not None and claim.grade != "unresolved":
        details.append(claim.grade)
    tone = ("good" if interval.mean > 0 else "bad") if _holds(findings, row, loss) else ""
    return Entry(text=signed(interval.mean), details=tuple(details), tone=tone)


def _title(row: Attribution, rows: Sequence[Attribution]) -> str:
    several = len({a.combiner for a in rows}) > 1
    return f"{row.outcome} [{row.combiner}]" if several else row.outcome


# ---------------------------------------------------------------------------- the answer


def sentences(findings: Findings, found: Sequence[Attribution]) -> list[Text]:
    """From the drawn orders: one sentence per value that is found, one for all others."""
    said, open_on, late = [], [], []
    for row in (a for a in found if a.sampled is not None):
        for loss in row.shares:
            claim = findings.claims[row.claimed(loss)]
            value = f"{loss}{row.about} on {row.outcome} {_points(row, loss)}"
            if row.failed and (claim.disagrees or math.isnan(claim.p)):
                late.append(value)
            elif claim.grade == "unresolved":
                open_on.append(value)
            else:
                verb = "pays on" if row.shares[loss].mean > 0 else "hurts on"
                said.append(
                    graded(
                        f"**{loss} {verb} {row.outcome}{row.about}**, by Shapley value: "
                        f"{_points(row, loss)} ({_pairs(row.sampled)} pairs of orders, "
                        f"{_seeds(row.sampled)} seeds; {standing(claim)}).",
                        claim,
                    )
                )
    if open_on:
        text = f"Not resolved by Shapley value: {'; '.join(open_on)}."
        said.append(Text(text=text, tone="open"))
    if late:
        text = f"No verdict by Shapley value: {'; '.join(late)}. They hang on runs that did not"
        said.append(Text(text=f"{text} train. {DELAY}", tone="open"))
    return said


def _points(row: Attribution, loss: str) -> str:
    interval = row.interval(loss)
    return f"{signed(interval.mean)} points {bracket(interval.low, interval.high)}".strip()


# ---------------------------------------------------------------------------- full numbers


def tables(found: Sequence[Attribution]) -> dict[str, pd.DataFrame]:
    """Shapley values; from drawn orders with the joint interval and both of its parts."""
    import pandas as pd  # late: the answer alone needs none

    rows = pd.DataFrame(
        [
            {
                "outcome": row.outcome,
                "combiner": row.combiner,
                "loss": loss,
                "method": row.method,
                "share": share.mean,
                "low": row.interval(loss).low,
                "high": row.interval(loss).high,
                "p": row.p(loss),
                "seeds": share.n,
                "seeds_low": share.low,
                "seeds_high": share.high,
                **({} if row.sampled is None else _doubt_about_orders(row.sampled, loss)),
            }
            for row in found
            for loss, share in row.shares.items()
        ]
    )
    return {"shapley": rows}


def _doubt_about_orders(sampled: SampledShapley, loss: str) -> dict[str, float]:
    orders = sampled.over_orders[loss]
    return {
        "pairs_of_orders": orders.n,
        "orders_low": orders.low,
        "orders_high": orders.high,
    }

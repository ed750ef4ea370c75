"""Looks at a sweep while its seeds come: how many there were, and what may still be claimed.

A sweep that was declared to look (`design.stopping`) shares one error over the declared looks. One
that grew by `--extend seeds=` after somebody had read its report has looked without saying so, and
may do so again. Everything here follows from the records and the ledger.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import yaml

from sweep.report.comparisons import INTERACTIONS, comparisons
from sweep.report.effects import graded, outcome_effects
from sweep.report.evidence import collect
from sweep.settings.design import StoppingSettings
from sweep.statistics import sequential

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from sweep.report.evidence import Cell, Evidence
    from sweep.statistics.claims import Claim


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """How often the seeds of a sweep were looked at.

    Attributes:
        kind: `once`: as any report. `declared`: by `design.stopping`. `extended`: seeds were added
            after a report, which nobody had declared.
        seeds: Numbers of seeds at which somebody or a rule looked, rising; the last is that of now.
        planned: Number of declared looks, made or not; 0 where none were declared.
        order: Training seeds in the order in which they came.
        resolved: Whether the rule ended the sweep before its last seed.
    """

    kind: Literal["once", "declared", "extended"]
    seeds: tuple[int, ...]
    planned: int
    order: tuple[int, ...]
    resolved: bool = False

    @property
    def price(self) -> int:
        """By how much every p of the report is multiplied."""
        if self.kind == "once":
            return 1
        return sequential.price(len(self.seeds) or 1, self.planned)

    @property
    def next_price(self) -> int:
        """The same for a report after more seeds that nobody has declared yet."""
        return self.price if self.planned else sequential.price(len(self.seeds) + 1)


def looks(evidence: Evidence) -> Looks:
    """How often the seeds of a sweep were looked at, from its study and ledger."""
    order = seed_order(evidence)
    stopping = (evidence.study.get("design") or {}).get("stopping")
    if stopping:
        planned = StoppingSettings(**stopping).looks
        told = [e for e in evidence.events if e.get("event") == "looked"]
        return Looks(
            kind="declared",
            seeds=tuple(n for n in planned if n <= len(order)),
            planned=len(planned),
            order=order,
            resolved=bool(told) and bool(told[-1]["resolved"]) and len(order) < planned[-1],
        )
    before = {n for n in map(_seeds_before, evidence.events) if n is not None and n < len(order)}
    return Looks(
        kind="extended" if before else "once",
        seeds=(*sorted(before), len(order)),
        planned=0,
        order=order,
    )


def _seeds_before(event: Mapping[str, Any]) -> int | None:
    """Seeds that a sweep had when it grew by some; None for other events."""
    changes = [str(line) for line in event.get("changes") or ()]
    grew = next((line for line in changes if line.startswith("seeds: ")), None)
    if event.get("event") != "extended" or grew is None:
        return None
    if "seeds_before" in event:
        return len(event["seeds_before"])
    old = yaml.safe_load(grew.removeprefix("seeds: ").partition(" -> ")[0])  # an earlier program
    return len(old) if isinstance(old, list) else int(old)


def seed_order(evidence: Evidence) -> tuple[int, ...]:
    """Training seeds of the compared cells in the order of the plan."""
    mine = {seed for cell in evidence.cells for seed in cell.keys}
    planned = (int(row["seed"]) for row in evidence.plan.get("cells", ()) if "seed" in row)
    return tuple(dict.fromkeys(seed for seed in (*planned, *sorted(mine)) if seed in mine))


def in_words(found: Looks) -> str:
    """What the looks were and how every p allows for them; "" where there was one."""
    if found.kind == "once":
        return ""
    at = ", ".join(map(str, found.seeds))
    how = "added when a report could be read"
    if found.kind == "declared":
        how = f"declared, {found.planned} looks in all"
        if found.resolved:
            how += ", and the sweep ended since all that it judges holds"
    return (
        f"Looks: after {at} seeds ({how}). Every p is {found.price} times that of this look alone, "
        "so that all looks share an error of 5 %; intervals are those of this look alone."
    )


# ------------------------------------------------------------------------------------- the rule


def rule(sweep: Path, seeds: int) -> dict[str, Any]:
    """The rule of `design.stopping`: see ``sweep.engine.blocks.Rule``.

    Every comparison of the design but interactions, on the primary outcome or else on every
    outcome of the headline, has to hold as in the report: over the looks and the family.
    """
    found = claims_at(collect(sweep), seeds)
    holds = sum(claim.grade == "holds" for claim in found)
    return {
        "resolved": bool(found) and holds == len(found),
        "holds": holds,
        "comparisons": len(found),
        "claims": {
            f"{c.comparison} | {c.outcome}": {
                "p": c.p if math.isfinite(c.p) else None, "pairs": c.pairs, "grade": c.grade,
            }
            for c in found
        },
    }  # fmt: skip


def claims_at(evidence: Evidence, seeds: int) -> list[Claim]:
    """What the report of the first seeds claims of the comparisons that decide.

    Args:
        evidence: The sweep.
        seeds: How many of its seeds, in the order of the plan; later ones are not read.
    """
    part = first_seeds(evidence, looks(evidence).order[:seeds])
    effects = outcome_effects(part, comparisons(part))
    judged, _ = graded(part, effects, price=looks(part).price)
    primary = part.primary_outcome
    return [
        e.claim
        for e in judged
        if e.claim is not None
        and e.outcome == (primary or e.outcome)
        and e.comparison.kind not in INTERACTIONS
    ]


def first_seeds(evidence: Evidence, seeds: Iterable[int]) -> Evidence:
    """The sweep as it was when only these seeds had run."""
    kept = set(seeds)

    def cut(cell: Cell) -> Cell:
        return replace(
            cell,
            records={seed: r for seed, r in cell.records.items() if seed in kept},
            keys={seed: key for seed, key in cell.keys.items() if seed in kept},
        )

    return replace(evidence, cells=tuple(cut(cell) for cell in evidence.cells))

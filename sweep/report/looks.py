"""Looks at a sweep while its seeds come: how many there were, and what may still be claimed.

A sweep that was declared to look (`design.stopping`) spends one error over the declared looks. One
that grew by `--extend seeds=` after somebody had read its report has looked without saying so; its
tests are then those that hold at any number of looks. Everything here follows from the records and
the ledger.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import yaml

from sweep.report.comparisons import INTERACTIONS, comparisons
from sweep.report.effects import effect_of
from sweep.report.evidence import collect
from sweep.settings.design import StoppingSettings
from sweep.statistics import sequential
from sweep.statistics.claims import Claim, candidate, grades
from sweep.statistics.contrasts import paired_contrast
from sweep.statistics.intervals import NAN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from sweep.report.comparisons import Comparison
    from sweep.report.effects import Effect
    from sweep.report.evidence import Cell, Evidence
    from sweep.statistics.contrasts import Contrast

#: Familywise error of all looks together.
ALPHA = 0.05


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjusted:
    """A test and an interval that hold at all looks together; ``method`` in words."""

    p: float
    low: float
    high: float
    method: str


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


def adjusted(found: Looks, differences: Mapping[int, float], *, alpha: float = ALPHA) -> Adjusted:
    """What paired differences say after all looks so far.

    Args:
        found: The looks.
        differences: Seed -> difference, such as those of a ``Contrast``.
        alpha: Of the interval. The p goes into Holm's correction as any.
    """
    x = [differences[seed] for seed in found.order if seed in differences]
    if found.kind == "extended":
        path = sequential.looks(x, alpha=alpha)
        if not path:
            return Adjusted(p=NAN, low=NAN, high=NAN, method="")
        last = path[-1]
        return Adjusted(
            p=last.p, low=last.low, high=last.high, method="valid however often one looks"
        )
    level = 1 - (alpha / found.planned if found.kind == "declared" else alpha)
    whole = dict(enumerate(x))
    now = paired_contrast(whole, dict.fromkeys(whole, 0.0), level=level)
    if found.kind == "once":
        return Adjusted(p=now.t_p, low=now.low, high=now.high, method="")
    parts = [_first(differences, found.order, n) for n in found.seeds]
    p = sequential.over_looks([one.t_p for one in parts], found.planned)
    return Adjusted(
        p=p, low=now.low, high=now.high, method=f"{found.planned} declared looks share the error"
    )


def _first(differences: Mapping[int, float], order: Sequence[int], count: int) -> Contrast:
    kept = {seed: differences[seed] for seed in order[:count] if seed in differences}
    return paired_contrast(kept, dict.fromkeys(kept, 0.0))


def over_all(evidence: Evidence, effects: Sequence[Effect]) -> list[Effect]:
    """The effects with candidates whose p hold at all looks together.

    Intervals stay those of the last look alone.
    """
    found = looks(evidence)
    if found.kind == "once":
        return list(effects)
    if found.kind == "extended":
        return [_anytime(found, effect) for effect in effects]
    parts = [first_seeds(evidence, found.order[:count]) for count in found.seeds]
    named = [(part, {c.name: c for c in comparisons(part)}) for part in parts]
    return [_declared(found, named, effect) for effect in effects]


def _anytime(found: Looks, effect: Effect) -> Effect:
    """With the test over seeds that may be read at any look; the others it has to pass as well."""
    claim = effect.claim
    if claim is None:
        return effect
    rows = [effect.contrast] + ([effect.trained] if effect.trained is not None else [])
    tests = [adjusted(found, row.differences).p for row in rows]
    p = max(claim.p, *tests) if all(map(math.isfinite, tests)) else NAN
    return replace(effect, claim=replace(claim, p=p))


def _declared(
    found: Looks, parts: Sequence[tuple[Evidence, Mapping[str, Comparison]]], effect: Effect
) -> Effect:
    """With the smallest p of the looks so far, times the number that was declared."""
    name, outcome = effect.comparison.name, effect.outcome
    if effect.claim is None:
        return effect
    path = [_candidate(part, rows[name], outcome).p for part, rows in parts if name in rows]
    p = sequential.over_looks(path, found.planned)
    return replace(effect, claim=replace(effect.claim, p=p))


def in_words(found: Looks) -> str:
    """What the looks were and how the p allow for them; "" where there was one."""
    at = ", ".join(map(str, found.seeds))
    if found.kind == "declared":
        ended = ", and the sweep ended since all that it judges holds" if found.resolved else ""
        return (
            f"Looks: after {at} seeds, of {found.planned} that were declared{ended}. Every p is "
            f"that of the look that says most, times {found.planned}; intervals are those of the "
            "last look."
        )
    if found.kind == "extended":
        return (
            f"Looks: after {at} seeds; the later ones were added when a report could be read. "
            "Every p holds however often one looks (Gaussian mixture e-value), and is larger than "
            "that of one look; intervals are those of the last look alone."
        )
    return ""


# ------------------------------------------------------------------------------------- the rule


def rule(sweep: Path, seeds: int) -> dict[str, Any]:
    """The rule of `design.stopping`: see ``sweep.engine.blocks.Rule``.

    Every comparison of the design but interactions, on the primary outcome or else on every
    outcome of the headline, has to hold: over the declared looks and over the family (Holm).
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
    """What may be claimed of the first seeds of a sweep with declared looks.

    Args:
        evidence: The sweep.
        seeds: How many of its seeds, in the order of the plan; later ones are not read.
    """
    declared = looks(evidence)
    primary = evidence.primary_outcome
    outcomes = evidence.headline if primary is None else [primary]
    by_look: list[list[Claim]] = []
    for count in (n for n in declared.seeds if n <= seeds):
        part = first_seeds(evidence, declared.order[:count])
        compared = [c for c in comparisons(part) if c.kind not in INTERACTIONS]
        by_look.append([_candidate(part, c, name) for name in outcomes for c in compared])
    if not by_look:
        return []
    merged = [
        replace(now, p=sequential.over_looks([one.p for one in path], declared.planned))
        for now, path in ((path[-1], path) for path in zip(*by_look, strict=True))
    ]
    return grades(merged, alpha=ALPHA)


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


def _candidate(evidence: Evidence, comparison: Comparison, outcome: str) -> Claim:
    effect = effect_of(evidence, comparison, outcome)
    return candidate(
        comparison.name,
        outcome,
        effect.contrast,
        trained=effect.trained,
        combined=effect.combined,
    )

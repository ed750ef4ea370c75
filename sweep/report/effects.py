"""What the comparisons of a design say, paired by seed, and what may be claimed of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sweep.metrics.robustness import absolute_robustness, relative_robustness
from sweep.records.patterns import clean_of
from sweep.records.patterns import outcome as outcome_of
from sweep.report.comparisons import INTERACTIONS, Comparison
from sweep.report.evidence import Cell, Evidence, outcome_arrays
from sweep.statistics.aggregates import MarginTest, margin_test, within_margin_p
from sweep.statistics.claims import FEWEST_PAIRS, Claim, candidate, grades
from sweep.statistics.contrasts import Contrast, adjust, paired_contrast
from sweep.statistics.detectable import detectable, pooled_spread, power
from sweep.statistics.failures import among_trained
from sweep.statistics.intervals import CrossedInterval, seeds_and_clips

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sweep.records.record import TrialRecord


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One comparison on one outcome.

    Attributes:
        comparison: What was compared.
        outcome: Name of the outcome, or of a heat map's column.
        contrast: Paired by seed, in percentage points.
        trained: The same over the pairs of which both sides trained; None where all did.
        combined: The same difference with doubt about seeds and test clips at once; None without
            per-clip outcomes.
        claim: What may be said of it; None where it is described and not judged.
        adjusted_p: Of a heat map's column, Benjamini-Hochberg over the map; else that of the claim.
        gamma: Contrast of relative robustness times 100; None for `clean`.
        margin: Whether the difference stays within what the study calls no matter.
        harmless: The claim that it does; None without a margin.
    """

    comparison: Comparison
    outcome: str
    contrast: Contrast
    trained: Contrast | None = None
    combined: CrossedInterval | None = None
    claim: Claim | None = None
    adjusted_p: float = math.nan
    gamma: Contrast | None = None
    margin: MarginTest | None = None
    harmless: Claim | None = None

    @property
    def low(self) -> float:
        """Lower bound of the 95 % interval: over seeds and clips, or over seeds alone."""
        return self.contrast.low if self.combined is None else self.combined.low

    @property
    def high(self) -> float:
        """Upper bound of the same."""
        return self.contrast.high if self.combined is None else self.combined.high

    @property
    def holds(self) -> bool:
        """Whether it may be claimed."""
        return self.claim is not None and self.claim.grade == "holds"

    @property
    def suggestive(self) -> bool:
        """Whether its own interval excludes no effect, and the family's correction does not."""
        return self.claim is not None and self.claim.grade == "suggestive"

    @property
    def disagrees(self) -> bool:
        """Whether pairs that trained say something else than all pairs."""
        return self.claim is not None and self.claim.disagrees


# -------------------------------------------------------------------------------------- effects


def outcome_effects(evidence: Evidence, compared: Sequence[Comparison]) -> list[Effect]:
    """Every comparison on every outcome, those that are judged with a claim to be graded."""
    found: list[Effect] = []
    for name in evidence.outcomes:
        for comparison in compared:
            effect = effect_of(evidence, comparison, name)
            if name in evidence.headline and not described(evidence, comparison):
                effect = _judged(evidence, effect)
            found.append(effect)
    return found


def effect_of(evidence: Evidence, comparison: Comparison, outcome: str) -> Effect:
    """One comparison on one outcome, not judged."""
    patterns = evidence.outcomes[outcome]
    contrast = contrast_of(comparison, patterns)
    return Effect(
        comparison=comparison,
        outcome=outcome,
        contrast=contrast,
        trained=among_trained(contrast, _failed(comparison)),
        combined=_combined(evidence, comparison, patterns, contrast),
        gamma=None if patterns == ["clean"] else _gamma(comparison, patterns),
    )


def described(evidence: Evidence, comparison: Comparison) -> bool:
    """Whether a comparison is described only: a single set of a design that asks for a trend."""
    return evidence.trend and comparison.kind == "cell"


def _judged(evidence: Evidence, effect: Effect) -> Effect:
    """The effect with its candidates for the family of the report."""
    name, contrast, trained = effect.comparison.name, effect.contrast, effect.trained
    claim = candidate(name, effect.outcome, contrast, trained=trained, combined=effect.combined)
    margin = evidence.margins.get(effect.outcome)
    if margin is None or effect.comparison.kind in INTERACTIONS:
        return replace(effect, claim=claim)
    # "leaving it out does no harm", or "the other side is no better": reference minus treated
    turned = paired_contrast(dict.fromkeys(contrast.differences, 0.0), contrast.differences)
    test = margin_test(turned, margin)
    p = test.p_no_worse if trained is None else math.nan
    if effect.combined is not None:
        p = max(p, within_margin_p(effect.combined, margin))
    harmless = Claim(comparison=_harmless(name), outcome=effect.outcome, p=p, pairs=contrast.n)
    return replace(effect, claim=claim, margin=test, harmless=harmless)


def _harmless(name: str) -> str:
    """Name of the claim that the absence of something does no harm."""
    return f"without {name}"


def graded(
    evidence: Evidence, effects: Sequence[Effect], others: Sequence[Claim] = (), *, price: int = 1
) -> tuple[list[Effect], dict[tuple[str, str], Claim]]:
    """Judge all that a report may claim as one family.

    Args:
        evidence: The sweep, for its primary outcome.
        effects: With their candidates.
        others: Candidates of analyses.
        price: By how much every p is multiplied, for looks (``statistics.sequential``).

    Returns:
        The effects with graded claims; all claims by (what is claimed, outcome).
    """
    candidates = [c for e in effects for c in (e.claim, e.harmless) if c is not None]
    candidates += others
    candidates = [replace(c, p=min(1.0, price * c.p) if c.p <= 1 else c.p) for c in candidates]
    primary = evidence.primary_outcome
    if all(c.outcome != primary for c in candidates):
        primary = None
    claims = {(c.comparison, c.outcome): c for c in grades(candidates, primary=primary)}
    found = []
    for effect in effects:
        claim = claims.get((effect.comparison.name, effect.outcome))
        if effect.claim is None or claim is None:
            found.append(effect)
            continue
        harmless = claims.get((_harmless(effect.comparison.name), effect.outcome))
        found.append(replace(effect, claim=claim, adjusted_p=claim.adjusted_p, harmless=harmless))
    return found, claims


def column_effects(
    compared: Sequence[Comparison], columns: Mapping[str, list[str]]
) -> list[Effect]:
    """Every comparison on every column of a heat map; Benjamini-Hochberg over all of them."""
    family = [
        Effect(comparison=comparison, outcome=column, contrast=contrast_of(comparison, conditions))
        for comparison in compared
        for column, conditions in columns.items()
    ]
    p = adjust([effect.contrast.t_p for effect in family], "bh")
    return [replace(e, adjusted_p=value) for e, value in zip(family, p, strict=True)]


def against_none(evidence: Evidence) -> list[Comparison]:
    """Every cell against `none`, whatever the design."""
    empty = next((c for c in evidence.cells if not c.losses), None)
    if empty is None:
        return []
    return [
        Comparison(
            name=cell.name,
            kind="cell",
            treated=(cell,),
            reference=(empty,),
            formula=f"{cell.name} minus {empty.name}",
        )
        for cell in evidence.finished
        if cell is not empty
    ]


def contrast_of(comparison: Comparison, patterns: list[str]) -> Contrast:
    """Paired contrast of mean accuracy over the patterns."""
    return paired_contrast(
        _side(comparison.treated, patterns, comparison.scale),
        _side(comparison.reference, patterns, comparison.scale),
    )


def gamma_of(record: TrialRecord, patterns: list[str]) -> tuple[float, float]:
    """Absolute and relative robustness of one record, averaged over the patterns' conditions."""
    clean, tested = outcome_of(record, [clean_of(patterns)]), outcome_of(record, patterns)
    return absolute_robustness(clean, tested).item(), relative_robustness(clean, tested).item()


def _side(cells: Sequence[Cell], patterns: list[str], scale: float) -> dict[int, float]:
    """Seed -> mean over the cells times the scale, for seeds that all cells have."""
    rows = [cell.values(patterns) for cell in cells]
    seeds = set.intersection(*(set(row) for row in rows)) if rows else set()
    return {seed: scale * float(np.mean([row[seed] for row in rows])) for seed in sorted(seeds)}


def _gamma(comparison: Comparison, patterns: list[str]) -> Contrast | None:
    sides = []
    for cells in (comparison.treated, comparison.reference):
        rows = [
            {
                seed: 100 * comparison.scale * gamma_of(record, patterns)[1]
                for seed, record in cell.records.items()
            }
            for cell in cells
        ]
        seeds = set.intersection(*(set(row) for row in rows)) if rows else set()
        sides.append({seed: float(np.mean([row[seed] for row in rows])) for seed in seeds})
    return paired_contrast(*sides)


def _failed(comparison: Comparison) -> set[int]:
    """Seeds of which a run on either side did not train."""
    return {s for cell in (*comparison.treated, *comparison.reference) for s in cell.untrained}


def _combined(
    evidence: Evidence, comparison: Comparison, patterns: list[str], contrast: Contrast
) -> CrossedInterval | None:
    """Interval over seeds and clips; a side of several cells is their mean, clip by clip."""
    if contrast.n < 2:
        return None
    cells = (*comparison.treated, *comparison.reference)
    rows = [[cell.records[seed] for seed in contrast.differences] for cell in cells]
    arrays = outcome_arrays(evidence, rows, patterns)
    if arrays is None or min(array.shape[2] for array in arrays[0]) < 2:
        return None
    count = len(comparison.treated)
    treated, reference = (
        [comparison.scale * np.mean(parts, axis=0) for parts in zip(*side, strict=True)]
        for side in (arrays[:count], arrays[count:])
    )
    return seeds_and_clips(treated, reference)


# ----------------------------------------------------------------------- what seeds can show


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """What the seeds of this sweep can and cannot show for one outcome.

    Attributes:
        outcome: Name.
        n: Pairs of the comparisons (the largest).
        family: Number of tests that are corrected together, 1 for an outcome that is not judged.
        price: What the looks so far multiply every p by.
        next_price: What one look more would.
        sd: Standard deviation of the paired differences, pooled over the comparisons, points.
        upper: What the true one stays below with 80 % confidence.
        half: Median half width of the 95 % intervals, points.
        widest: Widest of them.
        detectable: True mean difference that is found at least about four times out of five, after
            the correction, with the spread at its upper bound.
        at: The same for more seeds.
    """

    outcome: str
    n: int
    family: int
    price: int
    next_price: int
    sd: float
    upper: float
    half: float
    widest: float
    detectable: float
    at: Mapping[int, float]

    def power(self, pairs: int, effect: float, *, added: bool = False) -> float:
        """Least chance that a true difference of so many points holds with so many seeds.

        Args:
            pairs: Number of seeds.
            effect: In points.
            added: Whether seeds are added to those of this report, which is one look more.
        """
        tests = self.family * (self.next_price if added else 1)
        return power(pairs, effect, self.upper, family=tests)


def resolution(
    effects: Sequence[Effect], outcomes: Iterable[str], *, price: int = 1, next_price: int = 1
) -> list[Resolution]:
    """What the seeds resolve, per outcome, over the comparisons that trained and have a spread.

    Interactions, whose differences of differences spread more, do not count.

    Args:
        effects: Graded.
        outcomes: Names.
        price: What the looks so far multiply every p by.
        next_price: What one look more would.
    """
    found = []
    for outcome in outcomes:
        rows = [
            e for e in effects if e.outcome == outcome and e.comparison.kind not in INTERACTIONS
        ]
        contrasts = [c for e in rows if (c := e.trained or e.contrast).sd > 0]
        if not contrasts:
            continue
        n = max(c.n for c in contrasts)
        pooled = pooled_spread(contrasts)
        family = max((e.claim.family for e in rows if e.claim is not None), default=0) or 1
        halves = [(e.high - e.low) / 2 for e in rows if e.trained is None]
        halves = [h for h in halves if math.isfinite(h)] or [c.half for c in contrasts]
        later = [m for m in (FEWEST_PAIRS, 5, 8, 10, 12) if m > n]
        found.append(
            Resolution(
                outcome=outcome,
                n=n,
                family=family,
                price=price,
                next_price=next_price,
                sd=pooled.sd,
                upper=pooled.upper,
                half=float(np.median(halves)),
                widest=max(halves),
                detectable=detectable(n, pooled.upper, family=family * price),
                at={m: detectable(m, pooled.upper, family=family * next_price) for m in later[:3]},
            )
        )
    return found

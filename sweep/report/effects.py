"""What the comparisons of a design say, paired by seed, and what else its cells tell."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from sweep.metrics.robustness import absolute_robustness, relative_robustness
from sweep.records.condition import ORDER_CONTROLS
from sweep.records.patterns import clean_of
from sweep.records.patterns import outcome as outcome_of
from sweep.report.comparisons import INTERACTIONS, Comparison
from sweep.report.evidence import Cell, Evidence, outcome_arrays
from sweep.statistics.contrasts import Contrast, adjust, detectable_effect, paired_contrast
from sweep.statistics.correlation import Association, spearman
from sweep.statistics.intervals import Interval, clip_bootstrap, mean_interval
from sweep.statistics.regression import DoseResponse, Slope, dose_response, mixed_slope

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
        adjusted_p: Holm (outcomes) or Benjamini-Hochberg (columns) over the family.
        clips: The same difference with the uncertainty of the choice of clips; None without
            per-clip outcomes.
        gamma: Contrast of relative robustness times 100; None for `clean`.
    """

    comparison: Comparison
    outcome: str
    contrast: Contrast
    adjusted_p: float = math.nan
    clips: Interval | None = None
    gamma: Contrast | None = None


# -------------------------------------------------------------------------------------- effects


def outcome_effects(evidence: Evidence, compared: Sequence[Comparison]) -> list[Effect]:
    """Every comparison on every outcome; Holm over the family of comparisons of one outcome."""
    found: list[Effect] = []
    for name, patterns in evidence.outcomes.items():
        families: dict[str, list[Effect]] = {}
        for comparison in compared:
            contrast = contrast_of(comparison, patterns)
            families.setdefault(family(evidence, comparison), []).append(
                Effect(
                    comparison=comparison,
                    outcome=name,
                    contrast=contrast,
                    clips=_clips(evidence, comparison, patterns, contrast),
                    gamma=None if patterns == ["clean"] else _gamma(comparison, patterns),
                )
            )
        for members in families.values():
            found += _adjusted(members, "holm")
    return found


def family(evidence: Evidence, comparison: Comparison) -> str:
    """Comparisons that are corrected together: all of an outcome, with two exceptions.

    Interactions are a family of their own, and so are the single loss sets of a design whose
    question is a trend over them: their crowd shall not drown the other comparisons.
    """
    if comparison.kind in INTERACTIONS:
        return "interactions"
    return "cells" if evidence.trend and comparison.kind == "cell" else "all"


def column_effects(
    compared: Sequence[Comparison], columns: Mapping[str, list[str]]
) -> list[Effect]:
    """Every comparison on every column of a heat map; Benjamini-Hochberg over all of them."""
    family = [
        Effect(comparison=comparison, outcome=column, contrast=contrast_of(comparison, conditions))
        for comparison in compared
        for column, conditions in columns.items()
    ]
    return _adjusted(family, "bh")


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


def _clips(
    evidence: Evidence, comparison: Comparison, patterns: list[str], contrast: Contrast
) -> Interval | None:
    if len(comparison.treated) != 1 or len(comparison.reference) != 1 or not contrast.n:
        return None
    left, right = comparison.treated[0].records, comparison.reference[0].records
    seeds = list(contrast.differences)
    arrays = outcome_arrays(
        evidence, [left[seed] for seed in seeds], [right[seed] for seed in seeds], patterns
    )
    return clip_bootstrap(*arrays) if arrays else None


def _adjusted(family: list[Effect], method: Literal["holm", "bh"]) -> list[Effect]:
    p = adjust([effect.contrast.t_p for effect in family], method)
    return [replace(e, adjusted_p=value) for e, value in zip(family, p, strict=True)]


# --------------------------------------------------------------------- designs with more to say


@dataclass(frozen=True, kw_only=True)
class Dose:
    """Outcome against the number of losses under one combiner.

    Attributes:
        outcome: Name.
        combiner: Name.
        points: One (k, mean over seeds, cell) per configuration.
        means: k -> interval over configurations.
        fits: None with too few points.
        slope: Points per further loss given clean accuracy, random intercept per seed; None for
            `clean` or with too few rows.
        association: Spearman of k with the outcome over configurations.
    """

    outcome: str
    combiner: str
    points: tuple[tuple[int, float, str], ...]
    means: Mapping[int, Interval]
    fits: DoseResponse | None
    slope: Slope | None
    association: Association


def doses(evidence: Evidence) -> list[Dose]:
    """Dose-response in the number of losses, per outcome and combiner, headline first."""
    found = []
    with_losses = [c for c in evidence.finished if c.losses]
    for outcome in evidence.outcomes:
        patterns = evidence.outcomes[outcome]
        for combiner in dict.fromkeys(c.combiner for c in with_losses):
            cells = [c for c in evidence.finished if not c.losses or c.combiner == combiner]
            rows = [(len(c.losses), c.values(patterns), c) for c in cells]
            points = [(k, float(np.mean([*v.values()])), c.name) for k, v, c in rows if v]
            if len(points) < 2:
                continue
            by_k: dict[int, list[float]] = {}
            for k, value, _ in points:
                by_k.setdefault(k, []).append(value)
            try:
                fits = dose_response([p[0] for p in points], [p[1] for p in points])
            except ValueError:
                fits = None
            found.append(
                Dose(
                    outcome=outcome,
                    combiner=combiner,
                    points=tuple(points),
                    means={k: mean_interval(v) for k, v in sorted(by_k.items())},
                    fits=fits,
                    slope=None if patterns == ["clean"] else _slope(cells, patterns),
                    association=spearman([p[0] for p in points], [p[1] for p in points]),
                )
            )
    return found


def _slope(cells: Sequence[Cell], patterns: list[str]) -> Slope | None:
    rows = [
        (cell.values(patterns)[seed], len(cell.losses), seed, cell.values(["clean"]).get(seed))
        for cell in cells
        for seed in cell.values(patterns)
    ]
    rows = [row for row in rows if row[3] is not None]
    if not rows:
        return None
    response, count, seed, clean = zip(*rows, strict=True)
    try:
        return mixed_slope(response, count, seed, {"clean": clean})
    except ValueError:
        return None


@dataclass(frozen=True, kw_only=True)
class Control:
    """A planted control: accuracy on order-destroyed clips against clean ones."""

    name: str
    clean: float
    destroyed: float
    drop: Contrast
    worst_cell: str
    worst_drop: float


def controls(evidence: Evidence) -> list[Control]:
    """Frame shuffle and reversal where they were tested, mean over cells paired by seed."""
    found = []
    for name in ORDER_CONTROLS:
        conditions = evidence.perturbations.get(name, [])
        cells = [c for c in evidence.finished if c.values(conditions)] if conditions else []
        if not cells:
            continue
        clean: dict[int, list[float]] = {}
        destroyed: dict[int, list[float]] = {}
        drops: dict[str, float] = {}
        for cell in cells:
            before, after = cell.values(["clean"]), cell.values(conditions)
            shared = sorted(set(before) & set(after))
            for seed in shared:
                clean.setdefault(seed, []).append(before[seed])
                destroyed.setdefault(seed, []).append(after[seed])
            if shared:
                drops[cell.name] = float(np.mean([before[s] - after[s] for s in shared]))
        if not drops:
            continue
        left = {seed: float(np.mean(v)) for seed, v in clean.items()}
        right = {seed: float(np.mean(v)) for seed, v in destroyed.items()}
        worst = min(drops, key=lambda n: drops[n])
        found.append(
            Control(
                name=name,
                clean=float(np.mean([*left.values()])),
                destroyed=float(np.mean([*right.values()])),
                drop=paired_contrast(left, right),
                worst_cell=worst,
                worst_drop=drops[worst],
            )
        )
    return found


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """What the seeds of this sweep can and cannot show for one outcome.

    Attributes:
        outcome: Name.
        n: Pairs of the comparisons (the largest).
        sd: Median over the comparisons of the SD of the paired differences, points.
        half: Median half width of the 95 % intervals, points.
        widest: Largest half width.
        detectable: Smallest true difference found with 80 % power at n pairs, points.
        at: Number of pairs -> the same for more seeds.
    """

    outcome: str
    n: int
    sd: float
    half: float
    widest: float
    detectable: float
    at: Mapping[int, float]


def resolution(effects: Sequence[Effect], outcomes: Iterable[str]) -> list[Resolution]:
    """One row per outcome that has a comparison with some spread between the seeds.

    Interactions, whose differences of differences spread more, do not count.
    """
    found = []
    gains = [e for e in effects if e.comparison.kind not in INTERACTIONS]
    for outcome in outcomes:
        contrasts = [e.contrast for e in gains if e.outcome == outcome and e.contrast.sd > 0]
        if not contrasts:
            continue
        n = max(c.n for c in contrasts)
        sd = float(np.median([c.sd for c in contrasts]))
        found.append(
            Resolution(
                outcome=outcome,
                n=n,
                sd=sd,
                half=float(np.median([c.half for c in contrasts])),
                widest=max(c.half for c in contrasts),
                detectable=detectable_effect(n) * sd,
                at={m: detectable_effect(m) * sd for m in (3, 5, 8, 10) if m > n},
            )
        )
    return found

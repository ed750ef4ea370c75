"""Outcomes against the number of losses, and combiners against each other at every number."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sweep.report import figures
from sweep.report.comparisons import Comparison, common_sets
from sweep.report.effects import contrast_of
from sweep.report.names import unit_of
from sweep.report.page import (
    Entry,
    Figure,
    Section,
    Table,
    Text,
    bracket,
    join,
    number,
    p_value,
    signed,
)
from sweep.statistics.correlation import Association, spearman
from sweep.statistics.intervals import Interval, mean_interval
from sweep.statistics.regression import DoseResponse, Slope, dose_response, mixed_slope

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sweep.report.evidence import Cell, Evidence
    from sweep.report.findings import Findings
    from sweep.statistics.contrasts import Contrast


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


@dataclass(frozen=True, kw_only=True)
class Gap:
    """One combiner minus another on the loss sets of one size that both have, paired by seed.

    Attributes:
        first, second: Combiners.
        size: Number of losses.
        sets: Loss sets of this size.
        outcome: Name.
        contrast: In points.
    """

    first: str
    second: str
    size: int
    sets: int
    outcome: str
    contrast: Contrast


@dataclass(frozen=True, kw_only=True)
class DoseFindings:
    """What the number of losses does.

    Attributes:
        headline: Outcomes of the answer.
        doses: Per outcome and combiner, headline first.
        gaps: Combiners against each other, per number of losses.
        trends: Two combiners -> outcome -> change of their difference per further loss; None with
            too few rows.
    """

    headline: Sequence[str]
    doses: Sequence[Dose]
    gaps: Sequence[Gap]
    trends: Mapping[tuple[str, str], Mapping[str, Slope | None]]


# ------------------------------------------------------------------------------- the numbers


def find(evidence: Evidence) -> DoseFindings:
    """Dose-responses, and what one combiner has over another at every number of losses."""
    names = dict.fromkeys(c.combiner for c in evidence.finished if c.losses)
    pairs = list(itertools.combinations(names, 2))
    return DoseFindings(
        headline=evidence.headline,
        doses=_doses(evidence),
        gaps=[gap for pair in pairs for gap in _gaps(evidence, *pair)],
        trends={
            pair: {
                outcome: _gap_slope(evidence, *pair, patterns)
                for outcome, patterns in evidence.outcomes.items()
            }
            for pair in pairs
        },
    )


def _doses(evidence: Evidence) -> list[Dose]:
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


def _gaps(evidence: Evidence, first: str, second: str) -> list[Gap]:
    one, two = common_sets(evidence.finished, first, second)
    found = []
    for size in sorted({len(c.losses) for c in one}):
        rows = [i for i, c in enumerate(one) if len(c.losses) == size]
        comparison = Comparison(
            name=f"{first} against {second}, {size} losses",
            kind="combiner",
            treated=tuple(one[i] for i in rows),
            reference=tuple(two[i] for i in rows),
            formula="",
        )
        found += [
            Gap(
                first=first,
                second=second,
                size=size,
                sets=len(rows),
                outcome=outcome,
                contrast=contrast_of(comparison, patterns),
            )
            for outcome, patterns in evidence.outcomes.items()
        ]
    return found


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


# ------------------------------------------------------------------------------- the answer


def sentences(findings: Findings, found: DoseFindings) -> list[str]:
    """What the number of losses does, and whether it changes what a combiner has over another."""
    doses = [dose for dose in found.doses if dose.outcome in found.headline]
    return dose_sentences(doses) + _gap_sentences(found)


def dose_sentences(doses: Sequence[Dose]) -> list[str]:
    """What the number of losses does: outcomes whose rank correlation excludes 0, then the rest."""
    found, open_rows = [], []
    several = len({dose.combiner for dose in doses}) > 1
    for dose in doses:
        rho = dose.association
        name = f"{dose.outcome} ({dose.combiner})" if several else dose.outcome
        text = f"Spearman ρ {number(rho.rho, 2)} {bracket(rho.low, rho.high, 2)}".strip()
        if not (rho.low > 0 or rho.high < 0):
            open_rows.append(f"{name}: {text}" if math.isfinite(rho.rho) else f"{name}: too few")
            continue
        verb = "rises" if rho.rho > 0 else "falls"
        sentence = (
            f"**Accuracy on {name} {verb} with the number of losses**: {text} over {rho.n} loss "
            f"sets, permutation p {p_value(rho.p)}"
        )
        if dose.fits is not None:
            best = dose.fits.best
            sentence += f"; best curve by AICc: {best.name} (weight {number(best.weight, 2)})"
        if dose.slope is not None:
            slope = dose.slope
            sentence += (
                f"; at equal clean accuracy {signed(slope.mean)} points per further loss "
                f"{bracket(slope.low, slope.high)}"
            )
        found.append(f"{sentence}.")
    if open_rows:
        found.append(f"**No dependence on the number of losses resolved**: {'; '.join(open_rows)}.")
    return found


def _gap_sentences(found: DoseFindings) -> list[str]:
    rows = []
    for (first, second), trends in found.trends.items():
        parts, resolved = [], []
        for outcome in found.headline:
            slope = trends[outcome]
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
            rows.append(f"**{lead}**: {'; '.join(parts)} (same loss sets and seeds).")
    return rows


# ------------------------------------------------------------------------------- the section


def sections(findings: Findings, found: DoseFindings) -> list[Section]:
    """Dose-response, combiners by number of losses, and what each loss weighs there."""
    tables = (_gap_table(found), _weight_table(findings.evidence))
    blocks = [*_dose_blocks(findings, found.doses), *(t for t in tables if t is not None)]
    return [Section(title="Number of losses", blocks=blocks)]


def picture(findings: Findings, found: DoseFindings, outcome: str) -> Figure | None:
    """One outcome against the number of losses, a panel per combiner."""
    doses = [dose for dose in found.doses if dose.outcome == outcome]
    if not doses:
        return None
    panels = [
        figures.DosePanel(
            title=f"{outcome} [{d.combiner}]" if len(doses) > 1 else outcome,
            points=[(k, value) for k, value, _ in d.points],
            means={k: (i.mean, i.low, i.high) for k, i in d.means.items()},
            curves={},
        )
        for d in doses
    ]
    return findings.figure(
        "answer",
        figures.dose(panels, y_unit=unit_of(findings.evidence), width_in=4.6),
        alt=f"{outcome} against the number of auxiliary losses: "
        + "; ".join(
            f"{d.combiner} {k} losses {number(i.mean)} %" for d in doses for k, i in d.means.items()
        )
        + ".",
        caption=f"{outcome} against the number of losses. A dot is a loss set; black: mean and "
        "95 % interval over the sets of one size.",
    )


def _dose_blocks(findings: Findings, doses: Sequence[Dose]) -> list[Text | Table | Figure]:
    panels = []
    for dose in doses:
        drawn = {}
        if dose.fits is not None:
            x = np.linspace(min(dose.means), max(dose.means), 60)
            drawn = {fit.name: (x, fit.curve(x)) for fit in dose.fits.fits}
        several = len({d.combiner for d in doses}) > 1
        panels.append(
            figures.DosePanel(
                title=f"{dose.outcome} [{dose.combiner}]" if several else dose.outcome,
                points=[(k, value) for k, value, _ in dose.points],
                means={k: (i.mean, i.low, i.high) for k, i in dose.means.items()},
                curves=drawn,
            )
        )
    if not panels:
        return [Text(text="Too few finished cells for a dose-response.", tone="note")]
    kinds = ("constant", "linear", "quadratic", "saturating")
    rows = []
    for dose in doses:
        fits = {fit.name: fit for fit in dose.fits.fits} if dose.fits else {}
        rho = dose.association
        row = [
            Entry(text=f"{dose.outcome} [{dose.combiner}]"),
            Entry(text=number(rho.rho, 2), details=(bracket(rho.low, rho.high, 2),)),
            Entry(text=p_value(rho.p)),
        ]
        for kind in kinds:
            fit = fits.get(kind)
            best = dose.fits is not None and fit is dose.fits.best
            row.append(
                Entry(
                    text=number(fit.aicc) if fit else "–",
                    details=(f"weight {number(fit.weight, 2)}",) if fit else (),
                    tone="good" if best else "",
                )
            )
        slope = dose.slope
        row.append(
            Entry(
                text=signed(slope.mean, 2),
                details=(bracket(slope.low, slope.high, 2), slope.method),
            )
            if slope
            else Entry(text="–")
        )
        rows.append(row)
    return [
        Text(
            text="One dot is one loss set (mean over its seeds); intervals are over loss sets. "
            "Curves are compared by AICc, a constant among them, so that `no dependence` can win."
        ),
        findings.figure(
            "dose_response",
            figures.dose(panels, y_unit=unit_of(findings.evidence)),
            alt="Accuracy against the number of auxiliary losses with fitted curves; best curve "
            + "; ".join(f"{d.outcome}: {d.fits.best.name}" for d in doses if d.fits),
            caption="Solid: best curve by AICc, named in the title; dashed: the others; black: "
            "mean and 95 % t interval over the loss sets of one size.",
        ),
        Table(
            columns=["outcome", "Spearman ρ", "p", *(f"AICc {k}" for k in kinds), "per loss"],
            rows=rows,
            caption="Rank correlation over loss sets, AICc of the curves (lowest is best), and the "
            "change in points per further loss at equal clean accuracy (random intercept per "
            "seed; where that fit fails, least squares with errors clustered by seed).",
            csv="dose_response.csv",
        ),
    ]


def _gap_table(found: DoseFindings) -> Table | None:
    rows: dict[tuple[str, str, int], list[Entry | str]] = {}
    for gap in found.gaps:
        noun = "set" if gap.sets == 1 else "sets"
        versus = f"{gap.first} minus {gap.second}, {gap.sets} {noun}"
        name = Entry(text=f"{gap.size} losses", details=(versus,))
        contrast = gap.contrast
        rows.setdefault((gap.first, gap.second, gap.size), [name]).append(
            Entry(
                text=signed(contrast.mean),
                details=(bracket(contrast.low, contrast.high) or f"n={contrast.n}",),
                tone=("good" if contrast.mean > 0 else "bad") if contrast.resolved else "",
            )
        )
    if not rows:
        return None
    trends: list[list[Entry | str]] = []
    for (first, second), slopes in found.trends.items():
        trend: list[Entry | str] = [
            Entry(text="per further loss", details=(f"{first} minus {second}",))
        ]
        trend += [
            Entry(
                text=signed(slope.mean, 2),
                details=(bracket(slope.low, slope.high, 2), slope.method),
            )
            if slope
            else Entry(text="–")
            for slope in slopes.values()
        ]
        trends.append(trend)
    return Table(
        columns=["combiners at", *dict.fromkeys(gap.outcome for gap in found.gaps)],
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


# ------------------------------------------------------------------------------- full numbers


def tables(found: DoseFindings) -> dict[str, pd.DataFrame]:
    """One row per curve of every dose-response; one per combiners, number of losses, outcome."""
    curves = [
        {
            "outcome": dose.outcome,
            "combiner": dose.combiner,
            "curve": fit.name,
            "parameters": " ".join(repr(value) for value in fit.parameters),
            "rss": fit.rss,
            "aicc": fit.aicc,
            "weight": fit.weight,
            "loss_sets": len(dose.points),
        }
        for dose in found.doses
        if dose.fits
        for fit in dose.fits.fits
    ]
    gaps = [
        {
            "comparison": f"{gap.first} minus {gap.second}",
            "losses": gap.size,
            "loss_sets": gap.sets,
            "outcome": gap.outcome,
            "difference": gap.contrast.mean,
            "low": gap.contrast.low,
            "high": gap.contrast.high,
            "pairs": gap.contrast.n,
            "t_p": gap.contrast.t_p,
        }
        for gap in found.gaps
    ]
    return {"dose_response": pd.DataFrame(curves), "combiners_by_count": pd.DataFrame(gaps)}

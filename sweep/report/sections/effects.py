"""Sections on the comparisons of a design: contrasts, doses, attribution, resolution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sweep.cells.designs.catalogue import DESIGNS
from sweep.report import figures
from sweep.report.analyses import count
from sweep.report.analyses.shapley import attribution_blocks
from sweep.report.effects import Effect, family
from sweep.report.findings import DAGGER, Findings, points_of, unit_of
from sweep.report.page import Entry, Figure, Section, Table, Text, bracket, number, p_value, signed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweep.report.evidence import Evidence

#: Longer tables of comparisons show the resolved loss sets only; the file has all.
MOST_ROWS = 12


def effect_section(found: Findings) -> Section:
    """The comparisons of the design, per headline outcome."""
    evidence = found.evidence
    titles = {"count": "Number of losses", "search": "The winners with fresh seeds"}
    judged = found.attributions or any(e.comparison.kind == "loss" for e in found.effects)
    usual = "Effect of each loss" if judged else "Effect of each loss set"
    blocks: list[Text | Table | Figure] = []
    notes = design_notes(evidence)
    if notes:
        blocks.append(Text(text=f"**What this design can tell.** {' '.join(notes)}"))
    if evidence.design == "count":
        blocks += _dose_blocks(found)
        blocks += count.blocks(found)
    if found.effects:
        blocks += _contrast_blocks(found)
        blocks += _interaction_blocks(found)
    if found.attributions:
        blocks += attribution_blocks(found)
    if not blocks:
        text = "No comparison of this design has finished cells yet."
        if evidence.design == "search":
            text = "No winner has run with fresh seeds yet: there is nothing to claim."
        blocks = [Text(text=text, tone="note")]
    return Section(title=titles.get(evidence.design, usual), blocks=blocks)


def design_notes(evidence: Evidence) -> list[str]:
    """What the cells estimate and cannot tell apart, for designs that are not plain lists."""
    design = DESIGNS.get(evidence.design)
    if design is None or not (design.compares or evidence.design == "shapley"):
        return []
    return [design.estimates, *design.aliases(evidence.losses, evidence.design_settings)]


_MEANING = {
    "loss": "A loss is judged by the cells with it minus the cells without it",
    "company": "`alone - in the set` is its gain alone minus its gain in the full set (positive: "
    "the others do part of its work; negative: it needs them)",
    "interaction": "an interaction `a × b` is what both gain together minus what each gains alone",
    "set": "the whole set by `all` minus `none`",
    "cell": "a loss set by its cell minus `none`",
    "combiner": "combiners by their full sets",
}


def _contrast_blocks(found: Findings) -> list[Text | Table | Figure]:
    evidence = found.evidence
    effects = [e for e in found.effects if e.contrast.n]
    kinds = dict.fromkeys(e.comparison.kind for e in effects)
    # the crowd of single sets is no answer to a trend, and would make a figure of metres;
    # interactions have a map of their own
    left_out = {"interaction", "cell"} if evidence.trend else {"interaction"}
    drawn = [e for e in effects if e.comparison.kind not in left_out]
    sizes: dict[str, set[str]] = {}
    for e in effects:
        sizes.setdefault(family(evidence, e.comparison), set()).add(e.comparison.name)
    corrected = " and ".join(str(len(members)) for members in sizes.values())
    intro = (
        f"{'; '.join(_MEANING[kind] for kind in kinds)}. Differences are paired by seed, in "
        "percentage points; brackets are 95 % t intervals. **Bold** excludes 0. p is that of the "
        f"paired t test, Holm corrects it over the {corrected} comparisons of one outcome; below a "
        "difference stand the single seeds. g_z is the difference in its own standard deviations "
        "(Hedges). The interval over clips keeps the seeds and redraws the test clips."
    )
    blocks: list[Text | Table | Figure] = [Text(text=intro[0].upper() + intro[1:])]
    panels = {
        outcome: [
            figures.Bar(
                label=e.comparison.name,
                mean=e.contrast.mean,
                low=e.contrast.low,
                high=e.contrast.high,
                points=list(e.contrast.differences.values()),
                n=e.contrast.n,
                strong=e.contrast.resolved,
                apart=i > 0 and e.comparison.kind != rows[i - 1].comparison.kind,
            )
            for i, e in enumerate(rows)
        ]
        for outcome in evidence.headline
        if (rows := [e for e in drawn if e.outcome == outcome])
    }
    n = max(e.contrast.n for e in effects)
    if panels:
        blocks.append(
            found.figure(
                "effects",
                figures.forest(panels, unit=points_of(found.evidence)),
                alt=_forest_alt(drawn, evidence.headline),
                caption=(
                    f"Paired differences with 95 % t intervals, up to n = {n} seeds; small dots "
                    "are single seeds, filled marks exclude 0, an arrow means that the interval "
                    "goes on."
                ),
            )
        )
    for outcome in [
        *evidence.headline,
        *(o for o in evidence.outcomes if o not in evidence.headline),
    ]:
        rows = [e for e in effects if e.outcome == outcome]
        blocks.append(_contrast_table(outcome, rows, evidence))
    flagged = dict.fromkeys(name for e in effects for name in e.comparison.untrained)
    if flagged:
        blocks.append(
            Text(
                text=f"{DAGGER} A side of the comparison holds a run that did not train: "
                f"{', '.join(flagged)}. It is kept; one such run can widen an interval until "
                "nothing is resolved.",
                tone="note",
            )
        )
    return blocks


def _interaction_blocks(found: Findings) -> list[Text | Table | Figure]:
    """Map of interactions: loss x loss per outcome, with each loss's own gain on the diagonal."""
    evidence = found.evidence
    losses = evidence.losses
    rows = [e for e in found.effects if e.outcome in evidence.headline and e.contrast.n]
    if not any(e.comparison.kind == "interaction" for e in rows):
        return []
    blocks: list[Text | Table | Figure] = []
    for combiner in dict.fromkeys(e.comparison.combiner for e in rows if e.comparison.pair):
        values = np.full((len(losses), len(evidence.headline) * len(losses)), np.nan)
        strong = np.zeros(values.shape, dtype=bool)
        for e in rows:
            comparison = e.comparison
            pair = comparison.pair or ((comparison.loss,) * 2 if comparison.loss else ())
            if not pair or comparison.combiner != combiner:
                continue
            start = evidence.headline.index(e.outcome) * len(losses)
            for one, two in (pair, pair[::-1]):
                at = losses.index(one), start + losses.index(two)
                values[at], strong[at] = e.contrast.mean, e.adjusted_p < 0.05
        several = len(evidence.combiners) > 1
        blocks.append(
            found.figure(
                f"interactions_{combiner}" if several else "interactions",
                figures.heatmap(
                    values,
                    rows=losses,
                    columns=[*losses] * len(evidence.headline),
                    groups=[o for o in evidence.headline for _ in losses],
                    unit=points_of(evidence),
                    diverging=True,
                    marked=strong,
                ),
                alt="Interactions of pairs of losses per outcome: "
                + "; ".join(
                    f"{e.comparison.name} on {e.outcome} {signed(e.contrast.mean)}"
                    for e in rows
                    if e.comparison.kind == "interaction"
                )
                + ".",
                caption="What two losses gain together minus what each gains alone; on the "
                "diagonal what the loss gains itself. Bold: below .05 after Holm."
                + (f" Combiner {combiner}." if several else ""),
            )
        )
    return blocks


def _contrast_table(outcome: str, rows: Sequence[Effect], evidence: Evidence) -> Table:
    every = len(rows)
    if every > MOST_ROWS:
        crowd = {"cell", "interaction"}
        rows = [e for e in rows if e.comparison.kind not in crowd or e.contrast.resolved]
    patterns = ", ".join(evidence.outcomes[outcome])
    with_gamma = any(e.gamma for e in rows)
    with_clips = any(e.clips for e in rows)
    columns = ["comparison", f"{outcome}: difference"]
    columns += ["interval over clips"] if with_clips else []
    columns += ["t p", "Holm p", "sign-flip p", "g_z"]
    columns += ["γr × 100"] if with_gamma else []
    body = []
    for e in rows:
        c = e.contrast
        name = f"{e.comparison.name} {DAGGER}" if e.comparison.untrained else e.comparison.name
        seeds = " / ".join(signed(v) for v in c.differences.values())
        details = [seeds] if c.n > 1 else [f"n={c.n}"]
        if c.missing:
            details.append(f"{c.missing} pair{'s' if c.missing > 1 else ''} missing")
        row = [
            Entry(text=name, details=(e.comparison.formula,)),
            Entry(
                text=f"{signed(c.mean)} {bracket(c.low, c.high)}".strip(),
                details=details,
                tone=("good" if c.mean > 0 else "bad") if c.resolved else "",
            ),
        ]
        if with_clips:
            row.append(Entry(text=bracket(e.clips.low, e.clips.high) if e.clips else "–"))
        row += [
            Entry(text=p_value(c.t_p)),
            Entry(text=p_value(e.adjusted_p)),
            Entry(text=p_value(c.sign_flip_p)),
            Entry(text=number(c.effect)),
        ]
        if with_gamma:
            g = e.gamma
            interval = (bracket(g.low, g.high),) if g and g.n > 1 else ()
            row.append(
                Entry(text=signed(g.mean), details=interval) if g and g.n else Entry(text="–")
            )
        body.append(row)
    caption = f"Outcome {outcome}: mean accuracy over `{patterns}`."
    if len(rows) < every:
        caption += f" {every - len(rows)} rows that are not resolved are left to the file."
    if with_gamma:
        caption += " γr: change of relative robustness, accuracy / clean accuracy."
    return Table(columns=columns, rows=body, caption=caption, csv="contrasts.csv")


def _forest_alt(effects: Sequence[Effect], headline: Sequence[str]) -> str:
    rows = [
        f"{e.comparison.name} on {e.outcome} {signed(e.contrast.mean)} "
        f"{bracket(e.contrast.low, e.contrast.high)}".strip()
        for e in effects
        if e.outcome in headline
    ]
    return f"Forest plot of paired differences in points: {'; '.join(rows)}."


def _dose_blocks(found: Findings) -> list[Text | Table | Figure]:
    panels = []
    for dose in found.doses:
        drawn = {}
        if dose.fits is not None:
            x = np.linspace(min(dose.means), max(dose.means), 60)
            drawn = {fit.name: (x, fit.curve(x)) for fit in dose.fits.fits}
        several = len({d.combiner for d in found.doses}) > 1
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
    for dose in found.doses:
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
        found.figure(
            "dose_response",
            figures.dose(panels, y_unit=unit_of(found.evidence)),
            alt="Accuracy against the number of auxiliary losses with fitted curves; best curve "
            + "; ".join(f"{d.outcome}: {d.fits.best.name}" for d in found.doses if d.fits),
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


def resolution_section(found: Findings) -> Section:
    """What the number of seeds can show."""
    more = sorted({n for row in found.resolutions for n in row.at})
    rows = [
        [
            row.outcome,
            str(row.n),
            number(row.sd),
            f"±{number(row.half)} (widest ±{number(row.widest)})",
            number(row.detectable),
            *(number(row.at[n]) if n in row.at else "–" for n in more),
        ]
        for row in found.resolutions
    ]
    return Section(
        title="What these seeds can resolve",
        blocks=[
            Text(
                text="Smallest true difference that a paired t test finds with 80 % power (two-"
                "sided 5 %), from the median spread of the paired differences of this sweep. The "
                "spread is itself an estimate from few seeds: read it as an order of magnitude."
            ),
            Table(
                columns=[
                    "outcome",
                    "pairs",
                    "SD of differences",
                    "half width of the intervals",
                    "detectable now",
                    *(f"with {n} seeds" for n in more),
                ],
                rows=rows,
                caption="Percentage points.",
                csv="detectable.csv",
            ),
        ],
    )

"""Sections on the comparisons of a design: contrasts, interactions, what seeds can resolve."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sweep.report import figures
from sweep.report.names import DAGGER, points_of
from sweep.report.page import (
    Block,
    Entry,
    Figure,
    Section,
    Table,
    Text,
    bracket,
    number,
    p_value,
    signed,
)
from sweep.report.verdict import NO_PAIR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweep.report.effects import Effect
    from sweep.report.evidence import Evidence
    from sweep.report.findings import Findings

#: Longer tables of comparisons show the resolved loss sets only; the file has all.
MOST_ROWS = 12


def effect_section(
    found: Findings, opening: Sequence[Section] = (), closing: Sequence[Section] = ()
) -> Section:
    """The comparisons of the design, per headline outcome.

    Args:
        found: What was found.
        opening: Of analyses; stand first and give the title.
        closing: Of analyses; stand last and give the title where none opens.
    """
    evidence = found.evidence
    blocks: list[Block] = []
    notes = design_notes(evidence)
    if notes:
        blocks.append(Text(text=f"**What this design can tell.** {' '.join(notes)}"))
    blocks += [block for section in opening for block in section.blocks]
    if any(e.contrast.n for e in found.effects):
        blocks += _contrast_blocks(found)
        blocks += _interaction_blocks(found)
    elif found.effects:
        blocks.append(Text(text=NO_PAIR, tone="note"))
    blocks += [block for section in closing for block in section.blocks]
    if not blocks:
        text = "No comparison of this design has finished cells yet."
        if not evidence.claims:
            text = "No winner has run with fresh seeds yet: there is nothing to claim."
        blocks = [Text(text=text, tone="note")]
    titles = [section.title for section in (*opening, *closing)]
    return Section(title=titles[0] if titles else _title(found), blocks=blocks)


def _title(found: Findings) -> str:
    if found.evidence.row.picked:
        return "The winners with fresh seeds"
    judged = any(e.comparison.kind == "loss" for e in found.effects)
    return "Effect of each loss" if judged else "Effect of each loss set"


def design_notes(evidence: Evidence) -> list[str]:
    """What the cells estimate and cannot tell apart, for designs that are not plain lists."""
    design = evidence.row
    if not (design.compares or design.orders):
        return []
    notes = [design.estimates, *design.aliases(evidence.losses, evidence.design_settings)]
    return [note for note in notes if note]


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
    intro = (
        f"{'; '.join(_MEANING[kind] for kind in kinds)}. Differences are paired by seed, in "
        f"percentage points; {_intervals(effects)}. {_family(found)} Below a difference stand the "
        "single seeds. g_z is the difference in its own standard deviations (Hedges)."
    )
    blocks: list[Text | Table | Figure] = [Text(text=intro[0].upper() + intro[1:])]
    panels = {
        outcome: bars(rows)
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
                    f"Paired differences with 95 % intervals, up to n = {n} seeds; small dots "
                    "are single seeds, filled marks hold after correction, an arrow means that the "
                    "interval goes on."
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


def bars(rows: Sequence[Effect]) -> list[figures.Bar]:
    """Rows of a forest plot; a line parts the kinds of comparisons."""
    return [
        figures.Bar(
            label=e.comparison.name,
            mean=e.contrast.mean,
            low=e.low,
            high=e.high,
            points=list(e.contrast.differences.values()),
            n=e.contrast.n,
            strong=e.holds,
            apart=i > 0 and e.comparison.kind != rows[i - 1].comparison.kind,
        )
        for i, e in enumerate(rows)
    ]


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
                values[at], strong[at] = e.contrast.mean, e.holds
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
                "diagonal what the loss gains itself. Bold: holds after correction."
                + (f" Combiner {combiner}." if several else ""),
            )
        )
    return blocks


def _contrast_table(outcome: str, rows: Sequence[Effect], evidence: Evidence) -> Table:
    every = len(rows)
    if every > MOST_ROWS:
        crowd = {"cell", "interaction"}
        rows = [e for e in rows if e.comparison.kind not in crowd or e.holds or e.suggestive]
    patterns = ", ".join(evidence.outcomes[outcome])
    with_gamma = any(e.gamma for e in rows)
    judged = any(e.claim for e in rows)
    columns = ["comparison", f"{outcome}: difference"]
    columns += ["grade", "p", "Holm p"] if judged else ["t p"]
    columns += ["sign-flip p", "g_z"]
    columns += ["γr × 100"] if with_gamma else []
    body = []
    for e in rows:
        c = e.contrast
        name = f"{e.comparison.name} {DAGGER}" if e.comparison.untrained else e.comparison.name
        seeds = " / ".join(signed(v) for v in c.differences.values())
        details = [seeds] if c.n > 1 else [f"n={c.n}"]
        if c.missing:
            details.append(f"{c.missing} pair{'s' if c.missing > 1 else ''} missing")
        if e.trained is not None:
            t = e.trained
            among = f"{signed(t.mean)} {bracket(t.low, t.high)}".strip() if t.n else "–"
            details.append(f"of {t.n} pairs that trained: {among}")
        tone = "suggestive" if e.suggestive else ""
        if e.holds:
            tone = "good" if c.mean > 0 else "bad"
        row = [
            Entry(text=name, details=(e.comparison.formula,)),
            Entry(
                text=f"{signed(c.mean)} {bracket(e.low, e.high)}".strip(),
                details=details,
                tone=tone,
            ),
        ]
        if judged and e.claim is not None:
            word = "no verdict" if e.disagrees else _GRADES[e.claim.grade]
            row += [
                Entry(text=word, tone=tone),
                Entry(text=p_value(e.claim.p)),
                Entry(text=p_value(e.claim.adjusted_p)),
            ]
        else:
            row += [Entry(text="–")] * 3 if judged else [Entry(text=p_value(c.t_p))]
        row += [Entry(text=p_value(c.sign_flip_p)), Entry(text=number(c.effect))]
        if with_gamma:
            g = e.gamma
            interval = (bracket(g.low, g.high),) if g and g.n > 1 else ()
            row.append(
                Entry(text=signed(g.mean), details=interval) if g and g.n else Entry(text="–")
            )
        body.append(row)
    caption = f"Outcome {outcome}: mean accuracy over `{patterns}`."
    if not judged:
        caption += " Described, not judged: nothing here is corrected or claimed."
    if len(rows) < every:
        caption += f" {every - len(rows)} rows that are not resolved are left to the file."
    if with_gamma:
        caption += " γr: change of relative robustness, accuracy / clean accuracy."
    return Table(columns=columns, rows=body, caption=caption, csv="contrasts.csv")


_GRADES = {"holds": "holds", "suggestive": "suggestive", "unresolved": "not resolved"}


def _intervals(effects: Sequence[Effect]) -> str:
    """What the brackets are about."""
    if all(e.combined is None for e in effects):
        return "brackets are 95 % t intervals over the seeds"
    return (
        "brackets are 95 % intervals over seeds and test clips together (two-way; each alone is in "
        "the file)"
    )


def _family(found: Findings) -> str:
    """What is corrected together, and what the grades mean."""
    size = max((c.family for c in found.claims.values()), default=0)
    if not size:
        return "Nothing is judged: a claim needs three pairs with a spread."
    primary = found.evidence.primary_outcome
    what = f"the {size} tests of this page are one family"
    if primary is not None:
        first = max((c.family for c in found.claims.values() if c.outcome == primary), default=0)
        what = (
            f"the {first} tests of the primary outcome {primary} are one family, and the other "
            "outcomes are tested only if all of it holds"
        )
    return (
        f"A difference **holds** if it survives Holm's correction: {what}. It is suggestive if its "
        "own interval excludes 0 and the correction does not, else not resolved. p is the largest "
        "of the tests that a claim has to pass (over seeds, over clips, among runs that trained)."
    )


def _forest_alt(effects: Sequence[Effect], headline: Sequence[str]) -> str:
    rows = [
        f"{e.comparison.name} on {e.outcome} {signed(e.contrast.mean)} "
        f"{bracket(e.low, e.high)}".strip()
        for e in effects
        if e.outcome in headline
    ]
    return f"Forest plot of paired differences in points: {'; '.join(rows)}."


def resolution_section(found: Findings) -> Section:
    """What the number of seeds can show."""
    more = sorted({n for row in found.resolutions for n in row.at})
    rows = [
        [
            row.outcome,
            str(row.n),
            f"{number(row.sd)} (below {number(row.upper)})",
            str(row.family),
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
                text="True difference that is found at least about four times out of five, after "
                "the correction over the tests of its family. The spread of the paired differences "
                "is pooled over the comparisons that trained and taken at the bound that the true "
                "one stays below with 80 % confidence: few seeds say little about a spread."
            ),
            Table(
                columns=[
                    "outcome",
                    "pairs",
                    "SD of differences",
                    "tests in the family",
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

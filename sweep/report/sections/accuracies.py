"""Sections on accuracy: cells, perturbations, robustness, severity."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np

from sweep.records.condition import JOINT
from sweep.records.patterns import clean_of
from sweep.report import figures
from sweep.report.effects import Effect, gamma_of
from sweep.report.evidence import Cell, Evidence, severity
from sweep.report.names import (
    DAGGER,
    DOUBLE_DAGGER,
    brief,
    brief_note,
    cell_colours,
    marked,
    points_of,
    short,
    unit_of,
    with_seeds,
)
from sweep.report.page import Entry, Figure, Section, Table, Text, number, ratio, signed
from sweep.statistics.contrasts import rank_stability
from sweep.statistics.intervals import mean_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweep.report.findings import Findings


def accuracy_section(found: Findings) -> Section:
    """All cells, all outcomes; robustness ratios beside, never alone."""
    evidence = found.evidence
    names = list(evidence.outcomes)
    rows = [
        [
            Entry(text=marked(cell), details=_incomplete(cell)),
            *(_with_gamma(cell, evidence.outcomes[name]) for name in names),
        ]
        for cell in evidence.finished
    ]
    seeds = ", ".join(map(str, evidence.seeds))
    blocks: list[Text | Table | Figure] = [
        Text(
            text=f"{_capital(evidence.score_name)} in percent: mean ± half width of the 95 % "
            f"interval over seeds, below it the single seeds ({seeds}) and the robustness ratios: "
            "γr = accuracy / clean accuracy, γa = 1 − (clean − accuracy) / 100. Read γ beside its "
            "accuracy only: a model that never learned loses nothing under stress."
        ),
        Table(
            columns=["cell", *names],
            rows=rows,
            caption=_outcome_caption(evidence),
            csv="leaderboard.csv",
        ),
    ]
    stability = [
        [
            name,
            number(r.tau, 2),
            f"{number(r.lowest, 2)} to {number(r.highest, 2)}" if r.pairs > 1 else "–",
            str(r.pairs),
            str(r.cells),
        ]
        for name in names
        if (
            r := rank_stability(
                {c.name: c.values(evidence.outcomes[name]) for c in evidence.finished}
            )
        ).pairs
    ]
    if stability:
        blocks.append(
            Table(
                columns=["outcome", "mean τ", "range", "pairs of seeds", "cells"],
                rows=stability,
                caption="Rank stability: Kendall's τ between the rankings that two seeds give the "
                "cells. 1 = same order, 0 = unrelated: then do not read the table above as a "
                "ranking.",
            )
        )
    return Section(title="Accuracies", blocks=blocks)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _with_gamma(cell: Cell, patterns: list[str]) -> Entry:
    entry = with_seeds(cell, patterns)
    if patterns == [clean_of(patterns)] or entry.text == "–":
        return entry
    gammas = np.array([gamma_of(record, patterns) for record in cell.records.values()])
    gammas = gammas[np.isfinite(gammas).all(axis=1)]
    if not len(gammas):
        return entry
    absolute, relative = gammas.mean(axis=0)
    details = (*entry.details, f"γr {ratio(relative)}, γa {ratio(absolute)}")
    return Entry(text=entry.text, details=details)


def _incomplete(cell: Cell) -> tuple[str, ...]:
    absent = len(cell.keys) - len(cell.records)
    return (f"{len(cell.records)} of {len(cell.keys)} seeds",) if absent else ()


def _outcome_caption(evidence: Evidence) -> str:
    parts = []
    for name, patterns in evidence.outcomes.items():
        parts.append(f"{name} = mean over `{', '.join(patterns)}`")
    text = f"{'; '.join(parts)}."
    if evidence.untrained:
        text += f" {DAGGER} did not train."
    return text


def heat_section(found: Findings) -> Section:
    """Cells and losses against every perturbation."""
    evidence = found.evidence
    columns = evidence.columns()
    titles = [_column_title(name, rows, evidence) for name, rows in columns.items()]
    groups = [evidence.group(rows[0]) for rows in columns.values()]
    n = max(len(c.records) for c in evidence.finished)
    mean = f"mean over severities, n ≤ {n} seeds"
    blocks: list[Text | Table | Figure] = []
    if found.columns:
        blocks.append(
            _effect_map(
                found,
                found.columns,
                titles,
                groups,
                "heat_effects",
                f"What each comparison gains or loses per perturbation ({mean}). Blue gains, red "
                "loses; bold: still below .05 after Benjamini-Hochberg over the whole map.",
            )
        )
    if found.cells and not any(c.comparison.kind == "cell" for c in found.columns):
        blocks.append(
            _effect_map(
                found,
                found.cells,
                titles,
                groups,
                "heat_difference",
                f"Every cell minus `none`, paired by seed ({mean}).",
            )
        )
    absolute = np.array(
        [
            [mean_interval(cell.values(rows).values()).mean for rows in columns.values()]
            for cell in evidence.finished
        ]
    )
    blocks.append(
        found.figure(
            "heat_accuracy",
            figures.heatmap(
                absolute,
                rows=[short(marked(cell)) for cell in evidence.finished],
                columns=titles,
                groups=groups,
                unit=unit_of(evidence),
                diverging=False,
            ),
            alt=f"Heat map of accuracy for {len(evidence.finished)} cells and {len(columns)} "
            "conditions; the numbers are in conditions.csv.",
            caption=f"{_capital(evidence.score_name)} in percent ({mean}).",
        )
    )
    if evidence.unequal_pixels:
        blocks.append(
            Text(
                text=f"{DOUBLE_DAGGER} The tested pixels differ between cells: not comparable. "
                + "; ".join(f"{c} ({evidence.made_with(c)})" for c in evidence.unequal_pixels),
                tone="warning",
            )
        )
    blocks.append(
        Text(text="Numbers: `tables/contrasts_by_condition.csv`, `tables/conditions.csv`.")
    )
    return Section(title="Perturbation by perturbation", blocks=blocks)


def _column_title(name: str, rows: Sequence[str], evidence: Evidence) -> str:
    title = name.replace("_", " ")
    return f"{title} {DOUBLE_DAGGER}" if any(r in evidence.unequal_pixels for r in rows) else title


def _effect_map(
    found: Findings,
    effects: Sequence[Effect],
    titles: Sequence[str],
    groups: Sequence[str],
    name: str,
    caption: str,
) -> Figure:
    rows = list(dict.fromkeys(e.comparison.name for e in effects))
    table = {(e.comparison.name, e.outcome): e for e in effects}
    columns = list(dict.fromkeys(e.outcome for e in effects))
    values = np.array([[table[row, column].contrast.mean for column in columns] for row in rows])
    bold = np.array([[table[row, column].adjusted_p < 0.05 for column in columns] for row in rows])
    daggers = {e.comparison.name: f" {DAGGER}" if e.comparison.untrained else "" for e in effects}
    strongest = sorted(
        (e for e in effects if math.isfinite(e.contrast.mean)), key=lambda e: -abs(e.contrast.mean)
    )
    alt = "; ".join(
        f"{e.comparison.name} on {e.outcome} {signed(e.contrast.mean)}" for e in strongest[:5]
    )
    return found.figure(
        name,
        figures.heatmap(
            values,
            rows=[short(row) + daggers[row] for row in rows],
            columns=titles,
            groups=groups,
            unit=points_of(found.evidence),
            diverging=True,
            marked=bold,
        ),
        alt=f"Heat map of differences in points; largest: {alt}.",
        caption=caption,
    )


def scatter_section(found: Findings) -> Section:
    """Clean accuracy against the other headline outcomes."""
    evidence = found.evidence
    palette = cell_colours(evidence)
    panels = {}
    for name in evidence.headline:
        patterns = evidence.outcomes[name]
        dots = []
        for cell in evidence.finished:
            clean, tested = cell.values([clean_of(patterns)]), cell.values(patterns)
            shared = sorted(set(clean) & set(tested))
            if shared and patterns != [clean_of(patterns)]:
                dots.append(
                    figures.Dots(
                        label=brief(marked(cell)),
                        colour=palette[cell.name],
                        points=[(clean[s], tested[s]) for s in shared],
                    )
                )
        if dots:
            panels[name] = dots
    title = "Accuracy against robustness"
    if not panels:
        return Section(
            title=title, blocks=[Text(text="Only clean accuracy was measured.", tone="note")]
        )
    means = "; ".join(
        f"{dots.label} {number(float(np.mean([p[1] for p in dots.points])))} % {name} at "
        f"{number(float(np.mean([p[0] for p in dots.points])))} % clean"
        for name, rows in panels.items()
        for dots in rows
    )
    return Section(
        title=title,
        blocks=[
            found.figure(
                "robustness",
                figures.scatter(panels, x_unit="clean accuracy (%)", y_unit=unit_of(evidence)),
                alt=f"Scatter of clean accuracy against accuracy under stress: {means}.",
                caption=f"{brief_note(evidence)}Large: mean of a cell, small: its seeds. Solid: "
                "as good as on clean clips (γr = 1); dashed: equal relative robustness. Up along "
                "a dashed line = a better model; up across the lines = a more robust one.",
            )
        ],
    )


def severity_section(found: Findings) -> Section:
    """Accuracy against severity, clean at 0."""
    evidence = found.evidence
    palette = cell_colours(evidence)
    panels = []
    single = []
    for name, conditions in evidence.perturbations.items():
        steps = [severity(c) for c in conditions]
        if evidence.categories[conditions[0]] == JOINT:
            continue
        if steps == [1] and not evidence.levels.get(conditions[0]):
            single.append(name)
            continue
        lines = []
        for cell in evidence.finished:
            values = [mean_interval(cell.values([c]).values()).mean for c in conditions]
            clean = mean_interval(cell.values(["clean"]).values()).mean
            lines.append(
                figures.Line(
                    label=brief(marked(cell)),
                    colour=palette[cell.name],
                    x=[0, *steps],
                    y=[clean, *values],
                    dashed=not cell.losses,
                )
            )
        ticks = {0.0: "clean"}
        for condition, step in zip(conditions, steps, strict=True):
            level = _short_level(evidence.levels.get(condition, ""))
            ticks[float(step)] = f"{step}\n{level}" if level else str(step)
        panels.append(figures.Panel(title=name.replace("_", " "), lines=lines, ticks=ticks))
    title = "Severity curves"
    if evidence.fidelity:
        return Section(
            title=title,
            blocks=[
                Text(
                    text=f"Not shown at fidelity {evidence.fidelity['name']}: a single severity "
                    f"was tested on {evidence.fidelity['clips_per_cell']} clips only.",
                    tone="note",
                )
            ],
        )
    if not panels:
        return Section(title=title, blocks=[Text(text="No perturbation was tested.", tone="note")])
    clips = evidence.clips.get(next(iter(evidence.perturbations.values()))[0], (0, 0))[1]
    seeds = max(len(c.records) for c in evidence.finished)
    drops = "; ".join(
        f"{p.title} {number(p.lines[0].y[0])} to {number(p.lines[0].y[-1])} %"
        for p in panels
        if p.lines
    )
    caption = (
        f"{brief_note(evidence)}Mean over up to {seeds} seeds, {clips} clips each; severity 0 is "
        "clean; below the severity the constant of the perturbation (full text in the protocol)."
    )
    if single:
        caption += f" Without severities, in the heat maps only: {', '.join(single)}."
    return Section(
        title=title,
        blocks=[
            found.figure(
                "severity",
                figures.curves(
                    panels,
                    x_unit="severity",
                    y_unit=unit_of(evidence),
                    floor=0.0,
                    markers=True,
                    height_in=2.05,
                ),
                alt=f"Accuracy against severity; {evidence.finished[0].name}: {drops}.",
                caption=caption,
            )
        ],
    )


def _short_level(level: str) -> str:
    """The numbers of a level for a tick: `radius 3, sigma 1 px` -> `3, 1`; "" if that is long."""
    either_way = re.match(r"-([\d.]+) to \+\1\b", level)
    if either_way:
        return f"±{either_way[1]}"
    main = level.partition(", at least")[0]
    text = ", ".join(re.findall(r"[±+-]?\d[\d.]*[%°]?", main))
    return text if len(text) <= 10 else ""

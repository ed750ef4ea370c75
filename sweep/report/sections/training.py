"""Sections on training: effective weights, losses, curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sweep.records.files import validation_of
from sweep.report import figures
from sweep.report.names import DAGGER, brief, cell_colours, marked
from sweep.report.page import Entry, Figure, Section, Table, Text, join, number, seconds
from sweep.report.sections.failures import failure_blocks
from sweep.report.sections.protocol import seconds_of
from sweep.report.weights import NOISE, Weighing, clipped_share, weighings

if TYPE_CHECKING:
    from sweep.records.record import TrialRecord
    from sweep.report.evidence import Cell, Evidence
    from sweep.report.findings import Findings

#: A history curve has at most this many points: more cannot be seen.
CURVE_POINTS = 160


@dataclass(frozen=True, kw_only=True)
class _Trace:
    """Curves of one quantity of one cell: step -> value per seed."""

    cell: Cell
    seeds: Sequence[tuple[np.ndarray, np.ndarray]]

    def line(self, colour: str, *, faint: bool) -> figures.Line:
        """Mean over the seeds at common steps, with ``faint`` the seeds behind it."""
        thin = [(_thin(x), _thin(y)) for x, y in self.seeds]
        shared = sorted(set.intersection(*(set(x.tolist()) for x, _ in thin))) if thin else []
        rows = [dict(zip(x.tolist(), y.tolist(), strict=True)) for x, y in thin]
        means = [float(np.mean([row[step] for row in rows])) for step in shared]
        return figures.Line(
            label=brief(marked(self.cell)),
            colour=colour,
            x=shared,
            y=means,
            band=thin if len(thin) > 1 and faint else (),
            dashed=not self.cell.losses,
        )


def training_sections(found: Findings) -> list[Section]:
    """Effective weights (or the losses themselves) and training curves."""
    evidence = found.evidence
    histories = {
        (cell.name, seed): evidence.history(record)
        for cell in evidence.finished
        for seed, record in cell.records.items()
    }
    if not any(histories.values()):
        note = Text(text="No training history was stored.", tone="note")
        return [Section(title="Weights and training", blocks=[note, *failure_blocks(found)])]
    return [
        Section(title="Effective weights", blocks=_weight_blocks(found, histories)),
        Section(title="Training", blocks=_training_blocks(found, histories)),
    ]


Histories = Mapping[tuple[str, int], Sequence[Mapping[str, Any]]]


def _traces(evidence: Evidence, histories: Histories, *path: str) -> list[_Trace]:
    """Cell by cell the curves of `row[path[0]][path[1]]` where they exist.

    The validation of a row is its headline.
    """
    traces = []
    for cell in evidence.finished:
        seeds = []
        for seed in cell.records:
            points = []
            for row in histories[cell.name, seed]:
                headline = next(iter(validation_of(row).values()), None)
                value: Any = {**row, "validation": headline}
                for key in path:
                    value = value.get(key) if isinstance(value, Mapping) else None
                if value is not None:
                    points.append((float(row["step"]), float(value)))
            if points:
                x, y = (np.array(v) for v in zip(*points, strict=True))
                seeds.append((x, y))
        if seeds:
            traces.append(_Trace(cell=cell, seeds=seeds))
    return traces


def _loss_names(histories: Histories, part: str) -> list[str]:
    names: dict[str, None] = {}
    for rows in histories.values():
        for row in rows[:3]:
            names |= dict.fromkeys(row.get(part) or {})
    return list(names)


def _weight_blocks(found: Findings, histories: Histories) -> list[Text | Table | Figure]:
    evidence = found.evidence
    palette = cell_colours(evidence)
    faint = len(evidence.finished) <= figures.MOST_LABELS
    names = _loss_names(histories, "slopes")
    traces = {name: _traces(evidence, histories, "slopes", name) for name in names}
    moving = [
        name
        for name, rows in traces.items()
        if any(np.ptp(y) > 1e-6 * max(1e-12, np.abs(y).max()) for t in rows for _, y in t.seeds)
    ]
    if moving:
        panels = [
            figures.Panel(
                title=name, lines=[t.line(palette[t.cell.name], faint=faint) for t in traces[name]]
            )
            for name in names
        ]
        caption = (
            "Slope dM/dl of the combined objective M with respect to each loss: what the loss "
            "weighs at this step, comparable across combiners. Thin: single seeds."
        )
        figure, y_unit = "weights", "effective weight dM/dl"
        intro = "The combiner learns its weights."
    else:
        auxiliary = [n for n in _loss_names(histories, "losses") if n in evidence.losses]
        panels = [
            figures.Panel(
                title=name,
                lines=[
                    t.line(palette[t.cell.name], faint=faint)
                    for t in _traces(evidence, histories, "losses", name)
                ],
            )
            for name in auxiliary
        ]
        caption = "Raw value of each auxiliary loss during training. Thin: single seeds."
        figure, y_unit = "losses", "loss"
        fixed = {n: _final_weight(evidence, n) for n in names}
        intro = (
            "The weights are fixed: "
            + ", ".join(f"{n} {number(w, 2)}" for n, w in fixed.items())
            + ". The curves show the losses themselves."
        )
    if not panels:
        return [Text(text="No auxiliary loss was trained.", tone="note")]
    weighed = _weighed(evidence)
    return [
        Text(text=intro),
        *_noise(weighed),
        _weighed_table(weighed),
        found.figure(
            figure,
            figures.curves(
                panels,
                x_unit="step",
                y_unit=y_unit,
                share_y=figure == "weights",
                columns=min(3, len(panels)) if len(panels) != 4 else 2,
            ),
            alt=f"{y_unit} against training step for {', '.join(p.title for p in panels)}.",
            caption=caption,
        ),
    ]


Weighed = Mapping[tuple[str, str], Sequence[Weighing]]


def _weighed(evidence: Evidence) -> Weighed:
    """(Loss, combiner) -> what it weighed in every run that has auxiliary losses."""
    found: dict[tuple[str, str], list[Weighing]] = {}
    for record in evidence.records:
        if record.losses:
            for name, weighing in weighings(evidence, record).items():
                found.setdefault((name, record.combiner), []).append(weighing)
    return found


def _noise(weighed: Weighed) -> list[Text]:
    """Losses whose learned weight no signal has moved."""
    noise: dict[str, list[str]] = {}
    for (name, combiner), rows in weighed.items():
        known = [row.signal for row in rows if math.isfinite(row.signal)]
        if known and abs(float(np.mean(known))) < NOISE:
            noise.setdefault(combiner, []).append(f"`{name}`")
    return [
        Text(
            text=f"The meta gradient of {combiner} is noise for {join(names)}: its mean is less "
            f"than {NOISE:g} of what one meta step differs from the next by. What such a loss "
            "weighs at the end is where it began, moved by chance.",
            tone="note",
        )
        for combiner, names in noise.items()
    ]


def _weighed_table(weighed: Weighed) -> Table:
    several = len({combiner for _, combiner in weighed}) > 1
    rows: list[list[Entry | str]] = [
        [
            f"{name} [{combiner}]" if several else name,
            _over_runs([row.slope for row in found], lambda v: number(v, 2)),
            _over_runs([row.relative for row in found], lambda v: number(v, 2)),
            _over_runs([100 * row.share for row in found], lambda v: f"{number(v, 0)} %"),
            _over_runs([row.signal for row in found], lambda v: number(v, 2)),
        ]
        for (name, combiner), found in weighed.items()
    ]
    return Table(
        columns=["loss", "slope dM/dl", "over the primary's", "gradient share", "meta signal"],
        rows=rows,
        caption="At the end of training, mean over runs with the loss, smallest and largest below. "
        "A slope depends on the unit of its loss; over the primary's it is what one unit of the "
        "loss counts for in units of the primary. Gradient share: slope times the norm of the "
        "loss's gradient at what the encoders put out, over the sum of all losses. Meta signal: "
        "mean over the standard deviation of one meta step of the derivative that a learned "
        "combiner judges the loss by.",
        csv="weights.csv",
    )


def _over_runs(values: Sequence[float], shape: Callable[[float], str]) -> Entry:
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return Entry(text="–")
    low, high = shape(min(known)), shape(max(known))
    return Entry(
        text=shape(float(np.mean(known))), details=(f"{low} to {high}",) if low != high else ()
    )


def _final_weight(evidence: Evidence, name: str) -> float:
    values = [r.weights[name] for r in evidence.records if name in r.weights]
    return float(np.mean(values)) if values else math.nan


def _training_blocks(found: Findings, histories: Histories) -> list[Text | Table | Figure]:
    evidence = found.evidence
    palette = cell_colours(evidence)
    faint = len(evidence.finished) <= figures.MOST_LABELS
    low, high = evidence.trained_below
    panels = []
    primary = [n for n in _loss_names(histories, "losses") if n not in evidence.losses]
    for name in primary[:1]:
        traces = _traces(evidence, histories, "losses", name)
        panels.append(
            figures.Panel(
                title=name.replace("_", " "),
                lines=[t.line(palette[t.cell.name], faint=faint) for t in traces],
                rule=(low, f"did not train above {low:.4g}") if low == high else None,
            )
        )
    for key, title in (("gradient_norm", "gradient norm"), ("validation", "clean accuracy, %")):
        traces = _traces(evidence, histories, key)
        if traces:
            panels.append(
                figures.Panel(
                    title=title, lines=[t.line(palette[t.cell.name], faint=faint) for t in traces]
                )
            )
    blocks: list[Text | Table | Figure] = []
    if panels:
        blocks.append(
            found.figure(
                "training",
                figures.curves(
                    panels,
                    x_unit="step",
                    y_unit="",
                    share_y=False,
                    columns=3,
                    height_in=2.2,
                    floor=0.0,
                    labelled=lambda i: i == 0,
                ),
                alt=f"Training curves: {', '.join(p.title for p in panels)} against step.",
                caption="Mean over seeds, single seeds thin; colours as in the first panel. "
                + ("The dashed line is the" if low == high else "No line shows the")
                + " threshold of the flag `did not train`, which is applied to the "
                "last 5 % of the steps"
                + (f": {evidence.trained_rule}." if evidence.trained_rule else "."),
            )
        )
    rows = [
        [
            Entry(text=marked(cell)),
            _per_seed(cell, lambda r: number(float(r.final.get("cross_entropy") or math.nan), 2)),
            _per_seed(cell, lambda r: number(float(r.final.get("unified_loss") or math.nan), 2)),
            _per_seed(cell, lambda r: _percent(clipped_share(evidence, r))),
            _per_seed(
                cell,
                lambda r: seconds(seconds_of(r).get("all", math.nan)) if seconds_of(r) else "–",
            ),
        ]
        for cell in evidence.finished
    ]
    blocks.append(
        Table(
            columns=["cell", "final cross-entropy", "final unified loss", "clipped steps", "time"],
            rows=rows,
            caption="Per seed, in the order of the seeds. Clipped steps: share of the logged steps "
            "whose gradient was longer than `train.clip_norm`: where it differs, cells differ in "
            "the length of their steps, too.",
            csv="runs.csv",
        )
    )
    return blocks + failure_blocks(found)


def _percent(share: float) -> str:
    return f"{number(100 * share, 0)} %" if math.isfinite(share) else "–"


def _per_seed(cell: Cell, text: Callable[[TrialRecord], str]) -> Entry:
    parts = [
        f"{text(record)}{DAGGER if seed in cell.untrained else ''}"
        for seed, record in cell.records.items()
    ]
    return Entry(text=" / ".join(parts))


def _thin(values: np.ndarray) -> np.ndarray:
    """Every k-th point and the last one."""
    step = max(1, math.ceil(len(values) / CURVE_POINTS))
    kept = list(range(0, len(values), step))
    if kept and kept[-1] != len(values) - 1:
        kept.append(len(values) - 1)
    return values[kept]

"""Tables of the robustness measures, and of what thinned tests say about the whole grid."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from sweep.report.names import marked
from sweep.report.page import (
    Entry,
    Figure,
    Section,
    Table,
    Text,
    bracket,
    join,
    number,
    ratio,
    signed,
    thousands,
)
from sweep.report.robustness import (
    CALIBRATION,
    ERRORS,
    NAN,
    PREDICTIONS,
    RANKS,
    RESAMPLES,
    Boot,
    Measures,
)
from sweep.report.sections.protocol import fidelity_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd

    from sweep.report.evidence import Cell
    from sweep.report.findings import Findings


def table_of(found: Measures) -> pd.DataFrame:
    """One row per run and measure, nothing rounded."""
    import pandas as pd  # late: the answer alone needs none

    names = {
        r.key: (cell.name, s) for cell in found.evidence.cells for s, r in cell.records.items()
    }
    rows = [
        {
            "cell": names[key][0],
            "seed": names[key][1],
            "measure": measure,
            "value": value,
            "which": found.worst.get(measure, {}).get(key, ""),
        }
        for measure, values in found.values.items()
        for key, value in values.items()
    ]
    return pd.DataFrame(rows)


def measure_section(found: Findings, measures: Measures) -> Section:
    """What is left of the clean accuracy, how predictions behave, what confidences are worth."""
    evidence = found.evidence
    title = "Robustness measures"
    if not measures.grid:
        return Section(title=title, blocks=[Text(text="No perturbation was tested.", tone="note")])
    clips = evidence.clips.get(measures.conditions[0], (0, 0))[1]
    size = (
        f"{len(measures.grid)} perturbations, {len(measures.conditions)} conditions, "
        f"{thousands(clips)} clips each"
    )
    blocks: list[Text | Table | Figure] = [
        Text(
            text=f"Over the grid of {size}, without the order controls; means over seeds. "
            "Brackets are 95 % intervals over videos: the test videos are redrawn "
            f"{thousands(RESAMPLES)} times, all perturbations, cells and seeds of a video "
            "together. They say nothing about other training seeds. Read every ratio beside the "
            "accuracies above."
        ),
        _share_table(measures),
        _behaviour_table(measures),
        *([_calibration_table(measures)] if "logits" in evidence.task.features else []),
    ]
    pool = measures.pool
    if pool is not None and pool.r2 < 0.8:
        blocks.append(
            Text(
                text=f"Effective robustness says little here: the line through the {pool.models} "
                f"runs explains {number(100 * pool.r2, 0)} % of the variance (R² below .8).",
                tone="note",
            )
        )
    if measures.effective is not None and measures.effective.descriptive:
        blocks.append(
            Text(
                text="Effective robustness is description here, nothing to judge by: "
                f"{measures.effective.descriptive}.",
                tone="note",
            )
        )
    if measures.reasons:
        items = [f"{name}: {reason}" for name, reason in _grouped(measures.reasons).items()]
        blocks.append(Text(text="n/a, and why:", items=items, tone="note"))
    return Section(title=title, blocks=blocks)


def _grouped(reasons: Mapping[str, str]) -> dict[str, str]:
    """Measures with one reason share a line."""
    members: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        members.setdefault(reason, []).append(name)
    return {join(names): reason for reason, names in members.items()}


def _share_table(measures: Measures) -> Table:
    rows = []
    for cell in measures.evidence.finished:
        row = [_name(cell)]
        for mark, name in (("γr", "γr micro"), ("γa", "γa micro")):
            value, _ = measures.mean(cell, name)
            boot = measures.boot.get((cell.name, mark), Boot())
            row.append(_entry(ratio, value, _span(boot)))
        boot = measures.boot.get((cell.name, "γr − none"), Boot())
        if not cell.losses:
            row.insert(2, Entry(text="reference", tone="quiet"))
        else:
            row.insert(2, _entry(_signed_ratio, boot.mean, _span(boot, _signed_ratio)))
        macro = ("γr macro", "γa macro")
        row += [_entry(ratio, measures.mean(cell, name)[0]) for name in macro]
        for name, shape in (("mPC", number), ("rPC", ratio), ("AUS", ratio)):
            row.append(_entry(shape, measures.mean(cell, name)[0]))
        for name in ERRORS:
            reference = Entry(text="reference", tone="quiet")
            row.append(
                reference if not cell.losses else _entry(ratio, measures.mean(cell, name)[0])
            )
        rows.append(row)
    return Table(
        columns=[
            "cell", "γr micro", "γr − none", "γa micro", "γr macro", "γa macro", "mPC, %", "rPC",
            "AUS", *ERRORS,
        ],
        rows=rows,
        caption="What is left of the clean accuracy. γr = accuracy / clean accuracy, γa = 1 − "
        "(clean − accuracy) / 100; micro: mean over perturbations, macro: over categories. mPC: "
        "mean accuracy over the grid, rPC = mPC / clean. AUS: area under accuracy / clean over "
        "severity, missing severities interpolated. mCE: errors over those of the run without "
        "auxiliary losses and with the same seed, mean over perturbations; relative mCE: the same "
        "of the rise of the error above its clean value. Below 1 is better than that run.",
        csv="measures.csv",
    )  # fmt: skip


def _behaviour_table(measures: Measures) -> Table:
    evidence = measures.evidence
    shifted = bool(measures.values.get("ρ shifts"))
    rho = "ρ shifts" if shifted else "ρ grid"
    rows = []
    for cell in evidence.finished:
        row = [_name(cell)]
        for name in ("worst perturbation", "worst condition"):
            named = measures.worst.get(name, {})
            which = dict.fromkeys(
                named[r.key].replace("_", " ") for r in cell.records.values() if r.key in named
            )
            row.append(_entry(ratio, measures.mean(cell, name)[0], tuple(which)))
        shares = ("CVaR", *PREDICTIONS)
        row += [_entry(ratio, measures.mean(cell, name)[0]) for name in shares]
        row.append(_entry(signed, measures.mean(cell, rho)[0]))
        row.append(_beyond(measures, cell))
        rows.append(row)
    target = "the shifts" if shifted else "the grid"
    return Table(
        columns=[
            "cell", "worst perturbation", "worst condition", "CVaR 20 %", "consistency",
            "flip rate", "resist rate", "order matters", "flips per step", "effective, points",
            "effective, log odds",
        ],
        rows=rows,
        caption="Tails are γr: of the worst perturbation and condition of each run, and the mean "
        "of the worst fifth of the conditions. Consistency: share of predictions that stay, flip "
        "rate the rest; resist rate: share of right ones that stay right; order matters: share of "
        "right ones that change when frames are shuffled (temporal sensitivity); flips per step: "
        "share of predictions that change from one severity to the next. Effective "
        f"robustness: accuracy under {target} beyond what the other runs predict from clean "
        "accuracy: in points by least squares, which takes clean accuracy for exact and calls "
        "merely better models robust (description); in log odds against the line of the other "
        "cells with the error of clean accuracy taken out, 95 % interval over seeds and line, not "
        "corrected for the number of cells.",
        csv="measures.csv",
    )  # fmt: skip


def _beyond(measures: Measures, cell: Cell) -> Entry:
    """Effective robustness with its interval; without one it is not shown."""
    found = measures.beyond.get(cell.name)
    if found is None or not math.isfinite(found.low):
        return Entry(text="n/a", tone="quiet")
    return Entry(text=signed(found.mean, 2), details=(bracket(found.low, found.high, 2),))


def _calibration_table(measures: Measures) -> Table:
    rows = []
    for cell in measures.evidence.finished:
        row = [_name(cell)]
        for name in CALIBRATION.values():
            clean, grid = (measures.mean(cell, f"{name} {where}")[0] for where in ("clean", "grid"))
            row.append(_entry(_hundredths, clean, (f"grid {_hundredths(grid)}",)))
        row += [_entry(_hundredths, measures.mean(cell, name)[0]) for name in RANKS.values()]
        rows.append(row)
    return Table(
        columns=["cell", *CALIBRATION.values(), *RANKS.values()],
        rows=rows,
        caption="What confidences are worth, on clean clips and (grid) as the mean over "
        "perturbations and severities; 0 is perfect. ECE: confidence against accuracy over 15 "
        "bins of equal width, adaptive: of equal counts; largest and root mean square gap of "
        "those bins; Brier and NLL (nats) of all class probabilities. Zipf and top-5 distance: how "
        "far perturbation moves the ranking of the classes.",
        csv="measures.csv",
    )


def estimate_section(found: Findings) -> Section | None:
    """What thinned tests say about the whole grid; None at `full`."""
    evidence = found.evidence
    if not evidence.fidelity:
        return None
    groups = list(dict.fromkeys(g for r in evidence.records for g in r.estimates))
    shown = [g for g in groups if not g.startswith("perturbation/")]
    many = {
        g for r in evidence.records for g, e in r.estimates.items() if g == "grid" or e["cells"] > 1
    }
    shown = [g for g in shown if g in many]
    rows = []
    for cell in evidence.finished:
        row = [_name(cell)]
        for group in shown:
            known = [e for r in cell.records.values() if (e := r.estimates.get(group))]
            mean = float(np.mean([e["mean"] for e in known])) if known else NAN
            half = float(np.mean([(e["high"] - e["low"]) / 2 for e in known])) if known else NAN
            row.append(_entry(number, mean, (f"± {number(half)}",) if known else ()))
        rows.append(row)
    name = evidence.fidelity["name"]
    return Section(
        title=f"Estimates at fidelity {name}",
        blocks=[
            Text(
                text=f"Fidelity {fidelity_text(evidence)}. Accuracies of perturbations in this "
                "report are those of the tested clips. Below: what testing every clip would have "
                "given, corrected by the clean outcomes of the tested clips. ± is the half width "
                "of the 95 % interval of one run over the choice of clips. All runs share the "
                "clips, so that differences between cells are surer than these intervals "
                "suggest. Numbers of single severities are not shown."
            ),
            Table(
                columns=["cell", *(g.removeprefix("category/") for g in shown)],
                rows=rows,
                caption="Estimated mean accuracy in percent over all clips; mean over seeds.",
                csv="estimates.csv",
            ),
        ],
    )


def _name(cell: Cell) -> Entry:
    n = len(cell.records)
    return Entry(text=marked(cell), details=(f"n = {n} seed{'s' if n != 1 else ''}",))


def _entry(shape: Callable[[float], str], value: float, details: Sequence[str] = ()) -> Entry:
    if not math.isfinite(value):
        return Entry(text="n/a", tone="quiet")
    return Entry(text=shape(value), details=tuple(d for d in details if d))


def _span(boot: Boot, shape: Callable[[float], str] = ratio) -> tuple[str, ...]:
    return (f"[{shape(boot.low)}, {shape(boot.high)}]",) if math.isfinite(boot.low) else ()


def _hundredths(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "n/a"


def _signed_ratio(value: float) -> str:
    text = ratio(value)
    return f"+{text}" if value > 0 and text != ".00" else text

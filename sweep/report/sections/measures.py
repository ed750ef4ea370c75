"""Robustness measures of every cell beside its accuracies: shares kept, tails, flips, calibration.

Definitions are those of ``sweep.metrics``. The grid is every perturbation tested except the
order-destroying controls. What cannot be computed is NaN and comes with its reason.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sweep.metrics.agreement import consistency, flip_probability, resist_rate, temporal_sensitivity
from sweep.metrics.calibration import calibration_error
from sweep.metrics.robustness import (
    AccuracyLine,
    absolute_robustness,
    accuracy_line,
    area_under_severity,
    corruption_error,
    leave_one_out_robustness,
    relative_corruption_error,
    relative_performance,
    relative_robustness,
    robustness,
    value_at_risk,
)
from sweep.records.condition import CAPTIONS, JOINT, ORDER_CONTROLS, Condition
from sweep.report.evidence import Cell, Evidence, severity
from sweep.report.findings import Findings, marked
from sweep.report.page import (
    Entry,
    Figure,
    Section,
    Table,
    Text,
    join,
    number,
    ratio,
    signed,
    thousands,
)
from sweep.report.sections.protocol import fidelity_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sweep.records.outcomes import Outcomes
    from sweep.records.record import TrialRecord

NAN = math.nan
RESAMPLES = 1_000
#: Resamples whose weights are in memory at a time.
_BLOCK = 100
#: Share of the worst conditions in the mean of the lower tail.
_TAIL = 0.2


@dataclass(frozen=True, kw_only=True)
class Boot:
    """A mean over seeds with its 95 % interval over videos."""

    mean: float = NAN
    low: float = NAN
    high: float = NAN


@dataclass(kw_only=True)
class Measures:
    """Every measure of every record of a sweep.

    Attributes:
        evidence: The sweep.
        grid: Perturbation -> its conditions by severity.
        values: Measure -> key of a record -> value.
        worst: Measure -> key of a record -> which perturbation or condition it is.
        boot: (cell, measure) -> interval over videos; `γr`, `γa` and `γr − none`.
        reasons: Measure -> why it is not available.
        pool: Line of the pool of all runs, for effective robustness.
    """

    evidence: Evidence
    grid: Mapping[str, list[str]]
    values: dict[str, dict[str, float]] = field(default_factory=dict)
    worst: dict[str, dict[str, str]] = field(default_factory=dict)
    boot: dict[tuple[str, str], Boot] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    pool: AccuracyLine | None = None

    @cached_property
    def conditions(self) -> list[str]:
        """All conditions of the grid."""
        return [c for rows in self.grid.values() for c in rows]

    def put(self, measure: str, key: str, value: float, worst: str = "") -> None:
        """Store one value."""
        self.values.setdefault(measure, {})[key] = value
        if worst:
            self.worst.setdefault(measure, {})[key] = worst

    def mean(self, cell: Cell, measure: str) -> tuple[float, int]:
        """Mean over the seeds of a cell that have it, and their number."""
        found = self.values.get(measure, {})
        known = [
            found[r.key] for r in cell.records.values() if math.isfinite(found.get(r.key, NAN))
        ]
        return (float(np.mean(known)), len(known)) if known else (NAN, 0)


def measure(evidence: Evidence) -> Measures:
    """Compute every measure; those that single cells are needed for only at `full`."""
    beside = (CAPTIONS, JOINT)  # retrieval: what is done to captions has a section of its own
    grid = {
        n: rows
        for n, rows in evidence.perturbations.items()
        if not evidence.tested[rows[0]].is_control and evidence.categories[rows[0]] not in beside
    }
    found = Measures(evidence=evidence, grid=grid)
    for record in evidence.records:
        _from_accuracies(found, record)
        table = evidence.outcome_table(record)
        if table is None:
            for name in _PREDICTIONS:
                found.reasons[name] = "no per-clip outcomes"
        else:
            _from_outcomes(found, record, table)
        _from_probabilities(found, record, table)
    _effective(found)
    _corruption_errors(found)
    _bootstrap(found)
    return found


# ------------------------------------------------------------------------------- per record


def _from_accuracies(found: Measures, record: TrialRecord) -> None:
    evidence, key = found.evidence, record.key
    accuracy = record.accuracy
    clean = accuracy.get("clean", NAN)
    tested = {
        name: {severity(c): accuracy[c] for c in rows if c in accuracy}
        for name, rows in found.grid.items()
    }
    tested = {name: levels for name, levels in tested.items() if levels}
    if not tested:
        found.reasons["γ"] = "no perturbation was tested"
        return
    categories = {name: evidence.categories[found.grid[name][0]] for name in tested}
    perturbed = {name: list(levels.values()) for name, levels in tested.items()}
    for mark, kind in (("γa", "absolute"), ("γr", "relative")):
        gamma = robustness(clean, perturbed, categories, kind=kind)  # type: ignore[arg-type]
        found.put(f"{mark} micro", key, gamma.micro)
        found.put(f"{mark} macro", key, gamma.macro)
        if mark == "γr":
            by_perturbation = gamma.by_perturbation
    # the mean over perturbations of the mean over severities: a kind with more severities
    # weighs no more, and mPC / clean is the micro mean of gamma
    mpc = float(np.mean([np.mean(values) for values in perturbed.values()]))
    found.put("mPC", key, mpc)
    found.put("rPC", key, relative_performance(clean, [[mpc]]).item())
    areas = [
        area_under_severity(clean, [*levels.values()], [*levels])
        for name, levels in tested.items()
        if len(levels) > 1 or evidence.levels.get(found.grid[name][0])
    ]
    found.put("AUS", key, float(np.mean(areas)) if areas else NAN)
    if not areas:
        found.reasons["AUS"] = "no perturbation has severities"
    if not clean > 0:
        undefined = ("γr micro", "γr macro", "rPC", "AUS", *_TAILS, *_PREDICTIONS[2:4])
        found.reasons |= dict.fromkeys(undefined, "undefined for a run with clean accuracy 0")
        return
    if evidence.fidelity:
        for name in _TAILS:
            found.reasons[name] = (
                "the least of noisy numbers is biased: ask for it at fidelity full"
            )
        return
    lowest = min(by_perturbation, key=lambda name: by_perturbation[name])
    found.put("worst perturbation", key, by_perturbation[lowest], lowest)
    single = {c: accuracy[c] / clean for c in found.conditions if c in accuracy}
    lowest = min(single, key=lambda name: single[name])
    found.put("worst condition", key, single[lowest], lowest)
    found.put("CVaR", key, value_at_risk([*single.values()], share=_TAIL))


_TAILS = ("worst perturbation", "worst condition", "CVaR")
_PREDICTIONS = (
    "consistency", "flip rate", "resist rate", "temporal sensitivity", "flips per step",
)  # fmt: skip
#: Measure of a record's ``probabilities`` -> how it is called; each clean and over the grid.
_CALIBRATION = {
    "ece": "ECE",
    "adaptive_ece": "adaptive ECE",
    "mce": "largest gap",
    "rms": "RMS gap",
    "brier": "Brier",
    "nll": "NLL",
}
#: The same, against the clean clips.
_RANKS = {"zipf": "Zipf distance", "top5": "top-5 distance"}
_ERRORS = ("mCE", "relative mCE")


def _from_outcomes(found: Measures, record: TrialRecord, table: Outcomes) -> None:
    key = record.key
    truth = table.labels.get("clean")
    cells = [
        c for c in found.conditions if c in table.predictions and table.clip_sets[c] == "clean"
    ]
    if truth is None or "clean" not in table.predictions:
        for name in _PREDICTIONS:
            found.reasons[name] = "no clean predictions"
        return
    clean = table.predictions["clean"]
    triples = [(clean[r := table.tested(c)], table.predictions[c], truth[r]) for c in cells]
    if triples:
        same = _mean(consistency(a, b) for a, b, _ in triples)
        found.put("consistency", key, same)
        found.put("flip rate", key, 1 - same)
        found.put("resist rate", key, _mean(resist_rate(*three) for three in triples))
    else:
        for name in ("consistency", "flip rate", "resist rate"):
            found.reasons[name] = "no perturbation was tested"
    shuffled = Condition.named(perturbation=ORDER_CONTROLS[0], severity=1).name
    if shuffled in table.predictions:
        rows = table.tested(shuffled)
        found.put(
            "temporal sensitivity",
            key,
            temporal_sensitivity(clean[rows], table.predictions[shuffled], truth[rows]),
        )
    else:
        found.reasons["temporal sensitivity"] = "`frame_shuffle` was not tested"
    _flips_per_step(found, record, table)


def _flips_per_step(found: Measures, record: TrialRecord, table: Outcomes) -> None:
    """Share of predictions that change from one severity to the next, clean first."""
    if table.rows:
        found.reasons["flips per step"] = "severities were tested on different clips"
        return
    ladders = [
        [c for c in rows if c in table.predictions]
        for rows in found.grid.values()
        if len(rows) > 1 and table.clip_sets.get(rows[0]) == "clean"
    ]
    steps = [
        flip_probability(np.stack([table.predictions[c] for c in ("clean", *rows)], axis=1))
        for rows in ladders
    ]
    found.put("flips per step", record.key, _mean(steps))
    if not steps:
        found.reasons["flips per step"] = "no perturbation has severities"


def _from_probabilities(found: Measures, record: TrialRecord, table: Outcomes | None) -> None:
    """Means over the grid and clean values; from confidences alone, ECE is left."""
    key, kept, task = record.key, record.probabilities, found.evidence.task
    names = [f"{name} {where}" for name in _CALIBRATION.values() for where in ("clean", "grid")]
    if not kept:
        gone = names
        if table is not None and "clean" in table.confidence:
            cells = [c for c in found.conditions if c in table.confidence]
            found.put("ECE clean", key, _ece(table, "clean"))
            found.put("ECE grid", key, _mean(_ece(table, c) for c in cells))
            gone = names[2:]
        for name in (*gone, *_RANKS.values()):
            found.reasons[name] = (
                f"{task.name} has no class probabilities"
                if "logits" not in task.features
                else "the records of these runs hold no class probabilities"
            )
        return
    cells = [c for c in found.conditions if c in kept]
    for measure, name in _CALIBRATION.items():
        found.put(f"{name} clean", key, _number(kept["clean"].get(measure)))
        found.put(f"{name} grid", key, _mean(_number(kept[c].get(measure)) for c in cells))
    for measure, name in _RANKS.items():
        found.put(name, key, _mean(_number(kept[c].get(measure)) for c in cells))
    if not all(math.isfinite(found.values[name][key]) for name in ("NLL clean", "NLL grid")):
        found.reasons["NLL"] = "infinite or undefined where a true class has probability 0"


def _number(value: float | None) -> float:
    return NAN if value is None else value


def _ece(table: Outcomes, condition: str) -> float:
    return calibration_error(table.confidence[condition] / 255, table.correct(condition))


def _effective(found: Measures) -> None:
    """Against the line of the other runs: accuracy under stress beyond what clean predicts."""
    evidence = found.evidence
    shifts = [c for c in evidence.conditions if evidence.categories[c] == "shift"]
    targets: dict[str, Callable[[TrialRecord], float]] = {
        "ρ shifts": lambda r: _mean(r.accuracy.get(c, NAN) for c in shifts),
        "ρ grid": lambda r: found.values.get("mPC", {}).get(r.key, NAN),
    }
    for name, of in targets.items():
        pool = [
            (r.key, r.accuracy.get("clean", NAN) / 100, value / 100)
            for r in evidence.records
            if math.isfinite(value := of(r))
        ]
        if len(pool) < 4:
            found.reasons[name] = (
                "nothing was tested"
                if not pool
                else f"a line through the other runs needs three of them, there are {len(pool) - 1}"
            )
            continue
        keys, clean, stressed = zip(*pool, strict=True)
        for key, rho in zip(keys, leave_one_out_robustness(clean, stressed), strict=True):
            found.put(name, key, 100 * float(rho))
        line = accuracy_line(clean, stressed)
        if name == "ρ shifts" or found.pool is None:
            found.pool = line
        if not math.isfinite(line.slope):
            found.reasons[name] = "all runs have the same clean accuracy"


def _corruption_errors(found: Measures) -> None:
    """Errors relative to those of the run without auxiliary losses and with the same seed."""
    baseline = next((c for c in found.evidence.finished if not c.losses), None)
    if baseline is None or not found.grid:
        why = "no run without auxiliary losses finished" if found.grid else "nothing was tested"
        found.reasons |= dict.fromkeys(_ERRORS, why)
        return
    for record in found.evidence.records:
        base = baseline.records.get(record.seed)
        if base is None or base.key == record.key:
            continue
        ours, theirs = record.accuracy, base.accuracy
        errors, rises = [], []
        for rows in found.grid.values():
            if not all(c in ours and c in theirs for c in rows):
                continue
            pair = [ours[c] for c in rows], [theirs[c] for c in rows]
            errors.append(corruption_error(*pair).item())
            rises.append(
                relative_corruption_error(
                    ours["clean"], [pair[0]], theirs["clean"], [pair[1]]
                ).item()
            )
        found.put("mCE", record.key, _mean(errors))
        found.put("relative mCE", record.key, _mean(rises))


# ------------------------------------------------------------------------------- over videos


def _bootstrap(found: Measures) -> None:
    """Redraw the clean videos; all perturbations of a video, all cells and seeds move together."""
    evidence = found.evidence
    cells = found.conditions
    tables: dict[str, Outcomes] = {}
    for record in evidence.records:
        table = evidence.outcome_table(record)
        if table is None or "clean" not in table.ids or not cells:
            continue
        if all(c in table.predictions and table.clip_sets[c] == "clean" for c in ("clean", *cells)):
            tables[record.key] = table
    if len({table.ids["clean"] for table in tables.values()}) != 1:
        why = "no per-clip outcomes" if not tables else "runs were tested on different clips"
        found.reasons["intervals over videos"] = why if cells else "no perturbation was tested"
        return
    clips = len(next(iter(tables.values())).ids["clean"])
    drawn = np.random.default_rng(0).multinomial(clips, np.full(clips, 1 / clips), size=RESAMPLES)
    # the first row is the data as they are; counts stay far below 256
    weights = np.vstack([np.ones(clips), drawn]).astype(np.uint8)
    whole = {key: _gammas(weights, table, found.grid) for key, table in tables.items()}
    empty = next((c for c in evidence.finished if not c.losses), None)
    for cell in evidence.finished:
        own = {s: whole[r.key] for s, r in cell.records.items() if r.key in whole}
        if not own:
            continue
        mean = np.mean([*own.values()], axis=0)
        found.boot[cell.name, "γa"] = _interval(mean[:, 0])
        found.boot[cell.name, "γr"] = _interval(mean[:, 1])
        if empty is None or empty is cell:
            continue
        pairs = [
            own[s][:, 1] - whole[r.key][:, 1]
            for s, r in empty.records.items()
            if s in own and r.key in whole
        ]
        if pairs:
            found.boot[cell.name, "γr − none"] = _interval(np.mean(pairs, axis=0))


def _gammas(weights: np.ndarray, table: Outcomes, grid: Mapping[str, Sequence[str]]) -> np.ndarray:
    """Micro means of both gammas under weights of the videos, (R, N) -> (R, 2)."""
    conditions = ["clean", *(c for rows in grid.values() for c in rows)]
    right = np.zeros((weights.shape[1], len(conditions)), np.float32)
    tested = np.zeros_like(right)
    for column, condition in enumerate(conditions):
        rows = table.tested(condition)
        right[rows, column] = table.correct(condition)
        tested[rows, column] = 1
    parts = []
    for start in range(0, len(weights), _BLOCK):
        block = weights[start : start + _BLOCK].astype(np.float32)
        held = block @ tested if table.rows else block.sum(axis=1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            parts.append(block @ right / held)
    share = dict(zip(conditions, np.concatenate(parts).astype(np.float64).T, strict=True))
    clean = share["clean"]
    kinds = [np.mean([share[c] for c in rows], axis=0) for rows in grid.values()]
    absolute = [absolute_robustness(100 * clean, 100 * kind) for kind in kinds]
    relative = [relative_robustness(clean, kind) for kind in kinds]
    return np.stack([np.mean(absolute, axis=0), np.mean(relative, axis=0)], axis=1)


def _interval(values: np.ndarray) -> Boot:
    """The first value is the estimate, the others are resamples."""
    resampled = values[1:][np.isfinite(values[1:])]
    if not len(resampled) or not math.isfinite(values[0]):
        return Boot()
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Boot(mean=float(values[0]), low=float(low), high=float(high))


# ------------------------------------------------------------------------------- for people


def table_of(found: Measures) -> pd.DataFrame:
    """One row per run and measure, nothing rounded."""
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
        for name in _ERRORS:
            reference = Entry(text="reference", tone="quiet")
            row.append(
                reference if not cell.losses else _entry(ratio, measures.mean(cell, name)[0])
            )
        rows.append(row)
    return Table(
        columns=[
            "cell", "γr micro", "γr − none", "γa micro", "γr macro", "γa macro", "mPC, %", "rPC",
            "AUS", *_ERRORS,
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
        shares = ("CVaR", *_PREDICTIONS)
        row += [_entry(ratio, measures.mean(cell, name)[0]) for name in shares]
        row.append(_entry(signed, measures.mean(cell, rho)[0]))
        rows.append(row)
    target = "the shifts" if shifted else "the grid"
    return Table(
        columns=[
            "cell", "worst perturbation", "worst condition", "CVaR 20 %", "consistency",
            "flip rate", "resist rate", "order matters", "flips per step", "effective, points",
        ],
        rows=rows,
        caption="Tails are γr: of the worst perturbation and condition of each run, and the mean "
        "of the worst fifth of the conditions. Consistency: share of predictions that stay, flip "
        "rate the rest; resist rate: share of right ones that stay right; order matters: share of "
        "right ones that change when frames are shuffled (temporal sensitivity); flips per step: "
        "share of predictions that change from one severity to the next. Effective "
        f"robustness: accuracy under {target} beyond what the other runs predict from clean "
        "accuracy, in points.",
        csv="measures.csv",
    )  # fmt: skip


def _calibration_table(measures: Measures) -> Table:
    rows = []
    for cell in measures.evidence.finished:
        row = [_name(cell)]
        for name in _CALIBRATION.values():
            clean, grid = (measures.mean(cell, f"{name} {where}")[0] for where in ("clean", "grid"))
            row.append(_entry(_hundredths, clean, (f"grid {_hundredths(grid)}",)))
        row += [_entry(_hundredths, measures.mean(cell, name)[0]) for name in _RANKS.values()]
        rows.append(row)
    return Table(
        columns=["cell", *_CALIBRATION.values(), *_RANKS.values()],
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


def _mean(values: Iterable[float]) -> float:
    rows = [v for v in values if math.isfinite(v)]
    return float(np.mean(rows)) if rows else NAN

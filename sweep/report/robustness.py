"""Robustness measures of every cell beside its accuracies: shares kept, tails, flips, calibration.

Definitions are those of ``sweep.metrics``. The grid is every perturbation tested except the
order-destroying controls; frames that were tested before, or are those of the clean clips, are in
it once or not at all. What cannot be computed is NaN and comes with its reason.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from sweep.metrics.agreement import consistency, flip_probability, resist_rate, temporal_sensitivity
from sweep.metrics.calibration import calibration_error
from sweep.metrics.robustness import (
    AccuracyLine,
    absolute_robustness,
    accuracy_line,
    area_under_severity,
    corruption_error,
    leave_one_out_robustness,
    logit,
    relative_corruption_error,
    relative_performance,
    relative_robustness,
    robustness,
    value_at_risk,
)
from sweep.records.condition import CAPTIONS, JOINT, ORDER_CONTROLS, Condition
from sweep.report.evidence import Cell, Evidence, severity
from sweep.statistics.effective import EffectiveRobustness, effective_robustness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sweep.records.outcomes import Outcomes
    from sweep.records.record import TrialRecord
    from sweep.statistics.intervals import Interval

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
        effective: The same with doubt, in log odds, where every cell has the same seeds; None with
            too few runs.
        beyond: Cell -> its residual of ``effective``.
    """

    evidence: Evidence
    grid: Mapping[str, list[str]]
    values: dict[str, dict[str, float]] = field(default_factory=dict)
    worst: dict[str, dict[str, str]] = field(default_factory=dict)
    boot: dict[tuple[str, str], Boot] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    pool: AccuracyLine | None = None
    effective: EffectiveRobustness | None = None
    beyond: dict[str, Interval] = field(default_factory=dict)

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


def measure_robustness(evidence: Evidence) -> Measures:
    """Compute every measure; those that single cells are needed for only at `full`."""
    beside = (CAPTIONS, JOINT)  # retrieval: what is done to captions has a section of its own
    grid = {
        n: own
        for n, rows in evidence.perturbations.items()
        if not evidence.tested[rows[0]].is_control and evidence.categories[rows[0]] not in beside
        if (own := [c for c in rows if c in evidence.distinct])
    }
    found = Measures(evidence=evidence, grid=grid)
    for record in evidence.records:
        _from_accuracies(found, record)
        table = evidence.outcome_table(record)
        if table is None:
            for name in PREDICTIONS:
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
        undefined = ("γr micro", "γr macro", "rPC", "AUS", *_TAILS, *PREDICTIONS[2:4])
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
PREDICTIONS = (
    "consistency", "flip rate", "resist rate", "temporal sensitivity", "flips per step",
)  # fmt: skip
#: Measure of a record's ``probabilities`` -> how it is called; each clean and over the grid.
CALIBRATION = {
    "ece": "ECE",
    "adaptive_ece": "adaptive ECE",
    "mce": "largest gap",
    "rms": "RMS gap",
    "brier": "Brier",
    "nll": "NLL",
}
#: The same, against the clean clips.
RANKS = {"zipf": "Zipf distance", "top5": "top-5 distance"}
ERRORS = ("mCE", "relative mCE")


def _from_outcomes(found: Measures, record: TrialRecord, table: Outcomes) -> None:
    key = record.key
    truth = table.labels.get("clean")
    cells = [
        c for c in found.conditions if c in table.predictions and table.clip_sets[c] == "clean"
    ]
    if truth is None or "clean" not in table.predictions:
        for name in PREDICTIONS:
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
    names = [f"{name} {where}" for name in CALIBRATION.values() for where in ("clean", "grid")]
    if not kept:
        gone = names
        if table is not None and "clean" in table.confidence:
            cells = [c for c in found.conditions if c in table.confidence]
            found.put("ECE clean", key, _ece(table, "clean"))
            found.put("ECE grid", key, _mean(_ece(table, c) for c in cells))
            gone = names[2:]
        for name in (*gone, *RANKS.values()):
            found.reasons[name] = (
                f"{task.name} has no class probabilities"
                if "logits" not in task.features
                else "the records of these runs hold no class probabilities"
            )
        return
    cells = [c for c in found.conditions if c in kept]
    for measure, name in CALIBRATION.items():
        found.put(f"{name} clean", key, _number(kept["clean"].get(measure)))
        found.put(f"{name} grid", key, _mean(_number(kept[c].get(measure)) for c in cells))
    for measure, name in RANKS.items():
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
            _with_doubt(found, {key: (x, y) for key, x, y in pool})
        if not math.isfinite(line.slope):
            found.reasons[name] = "all runs have the same clean accuracy"


def _with_doubt(found: Measures, pool: Mapping[str, tuple[float, float]]) -> None:
    """Residuals of cells, with the error of clean accuracy taken out of the line."""
    seeds = found.evidence.seeds
    whole = {
        cell.name: [pool[cell.records[seed].key] for seed in seeds]
        for cell in found.evidence.finished
        if all(seed in cell.records and cell.records[seed].key in pool for seed in seeds)
    }
    values = np.array([*whole.values()]).reshape(len(whole), len(seeds), 2)
    if not np.isfinite(values).all():
        return
    odds = logit(values)
    found.effective = effective_robustness(odds[..., 0], odds[..., 1])
    found.beyond = dict(zip(whole, found.effective.residuals, strict=True))


def _corruption_errors(found: Measures) -> None:
    """Errors relative to those of the run without auxiliary losses and with the same seed."""
    baseline = next((c for c in found.evidence.finished if not c.losses), None)
    if baseline is None or not found.grid:
        why = "no run without auxiliary losses finished" if found.grid else "nothing was tested"
        found.reasons |= dict.fromkeys(ERRORS, why)
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


def _mean(values: Iterable[float]) -> float:
    rows = [v for v in values if math.isfinite(v)]
    return float(np.mean(rows)) if rows else NAN

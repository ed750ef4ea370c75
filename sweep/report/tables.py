"""Full numbers as data frames: what the CSV files hold, one row per fact, nothing rounded."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from sweep.records.patterns import outcome as outcome_of
from sweep.report.effects import gamma_of
from sweep.report.trained import by_cell, by_comparison
from sweep.report.weights import weighings
from sweep.statistics.diversity import POINTS, recorded
from sweep.statistics.intervals import mean_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sweep.report.comparisons import Comparison
    from sweep.report.effects import Effect, Resolution
    from sweep.report.evidence import Evidence


def runs(evidence: Evidence) -> pd.DataFrame:
    """One row per cell and seed, finished or not, with every outcome in percent."""
    state = {row.key: (row.state, row.reason) for row in evidence.missing}
    rows = []
    for cell in evidence.cells:
        for seed, key in cell.keys.items():
            record = cell.records.get(seed)
            row: dict[str, object] = {
                "cell": cell.name,
                "seed": seed,
                "key": key,
                "losses": "+".join(cell.losses) or "none",
                "combiner": cell.combiner,
                "status": "done" if record else state.get(key, ("missing", ""))[0],
                "reason": "" if record else state.get(key, ("", ""))[1],
                "trained": None if record is None else record.final.get("trained"),
                "cross_entropy": None if record is None else record.final.get("cross_entropy"),
            }
            for name, patterns in evidence.outcomes.items():
                row[name] = math.nan if record is None else outcome_of(record, patterns)
            rows.append(row)
    return pd.DataFrame(rows)


def conditions(evidence: Evidence) -> pd.DataFrame:
    """One row per run and condition: accuracy, both gammas, clips, hash of the pixels.

    Cells that were tested on few clips are too noisy to be read one by one and are left out.
    """
    rows = []
    thinned = {c for c in evidence.conditions if "/" in c} if evidence.fidelity else set()
    for cell in evidence.cells:
        for seed, record in cell.records.items():
            for score in record.scores:
                if score.condition in thinned:
                    continue
                absolute, relative = gamma_of(record, [score.condition])
                rows.append(
                    {
                        "cell": cell.name,
                        "seed": seed,
                        "condition": score.condition,
                        "category": score.category,
                        "severity": score.severity,
                        "level": score.level,
                        "accuracy": score.accuracy,
                        "clips": score.clips,
                        "gamma_a": absolute,
                        "gamma_r": relative,
                        "pixels": score.pixels,
                    }
                )
    return pd.DataFrame(rows)


def estimates(evidence: Evidence) -> pd.DataFrame:
    """One row per run and group of cells, as if all clips had been tested; empty at `full`."""
    rows = [
        {"cell": cell.name, "seed": seed, "group": group, **values}
        for cell in evidence.cells
        for seed, record in cell.records.items()
        for group, values in record.estimates.items()
        if group == "grid" or values["cells"] > 1
    ]
    return pd.DataFrame(rows)


def leaderboard(evidence: Evidence) -> pd.DataFrame:
    """One row per cell and outcome: mean over seeds, interval, robustness beside it."""
    rows = []
    for cell in evidence.finished:
        for name, patterns in evidence.outcomes.items():
            interval = mean_interval(cell.values(patterns).values())
            gammas = [gamma_of(record, patterns) for record in cell.records.values()]
            rows.append(
                {
                    "cell": cell.name,
                    "outcome": name,
                    "mean": interval.mean,
                    "low": interval.low,
                    "high": interval.high,
                    "n": interval.n,
                    "method": interval.method,
                    "gamma_a": mean_interval([g[0] for g in gammas]).mean,
                    "gamma_r": mean_interval([g[1] for g in gammas]).mean,
                    "untrained": len(cell.untrained),
                }
            )
    return pd.DataFrame(rows)


def contrasts(effects: Sequence[Effect]) -> pd.DataFrame:
    """One row per comparison and outcome (or column), paired by seed."""
    rows = []
    for effect in effects:
        contrast, gamma = effect.contrast, effect.gamma
        both, trained, claim = effect.combined, effect.trained, effect.claim
        rows.append(
            {
                "comparison": effect.comparison.name,
                "kind": effect.comparison.kind,
                "formula": effect.comparison.formula,
                "outcome": effect.outcome,
                "difference": contrast.mean,
                "low": effect.low,
                "high": effect.high,
                "grade": claim.grade if claim else "",
                "pairs": contrast.n,
                "missing_pairs": contrast.missing,
                "sd": contrast.sd,
                "t_p": contrast.t_p,
                "p": claim.p if claim else contrast.t_p,
                "adjusted_p": effect.adjusted_p,
                "family": claim.family if claim else 0,
                "sign_flip_p": contrast.sign_flip_p,
                "hedges_g": contrast.effect,
                "share_improved": contrast.share_improved,
                "seeds_low": contrast.low,
                "seeds_high": contrast.high,
                "clips_low": both.columns.low if both else math.nan,
                "clips_high": both.columns.high if both else math.nan,
                "trained_pairs": trained.n if trained else contrast.n,
                "trained_difference": trained.mean if trained else contrast.mean,
                "trained_low": trained.low if trained else contrast.low,
                "trained_high": trained.high if trained else contrast.high,
                "gamma_r_points": gamma.mean if gamma else math.nan,
                "gamma_r_low": gamma.low if gamma else math.nan,
                "gamma_r_high": gamma.high if gamma else math.nan,
                "untrained": "; ".join(effect.comparison.untrained),
            }
        )
    return pd.DataFrame(rows)


def failures(evidence: Evidence, compared: Sequence[Comparison]) -> pd.DataFrame:
    """Runs that did not train: one row per cell, against `none`, and per comparison with any."""
    rows = []
    for what, found in (
        ("cell", by_cell(evidence)),
        ("comparison", by_comparison(evidence, compared)),
    ):
        for row in found:
            reference = None if row.contrast is None else row.contrast.reference
            rows.append(
                {
                    "of": what,
                    "name": row.name,
                    "failed": row.rate.failed,
                    "runs": row.rate.runs,
                    "share": row.rate.share,
                    "low": row.rate.low,
                    "high": row.rate.high,
                    "reference_failed": None if reference is None else reference.failed,
                    "reference_runs": None if reference is None else reference.runs,
                    "fisher_p": math.nan if row.contrast is None else row.contrast.p,
                }
            )
    return pd.DataFrame(rows)


def weights(evidence: Evidence) -> pd.DataFrame:
    """What every loss of every run weighed, configured and at the end."""
    rows = [
        {
            "cell": cell.name,
            "seed": seed,
            "loss": loss,
            "configured": cell.weights.get(loss, math.nan),
            "effective": found.slope,
            "over_primary": found.relative,
            "gradient_share": found.share,
            "meta_signal_to_noise": found.signal,
        }
        for cell in evidence.cells
        for seed, record in cell.records.items()
        for loss, found in weighings(evidence, record).items()
    ]
    columns = ["cell", "seed", "loss", "configured", "effective", "over_primary", "gradient_share"]
    return pd.DataFrame(rows, columns=[*columns, "meta_signal_to_noise"])


def diversity_values(evidence: Evidence) -> pd.DataFrame:
    """Every measure of the diversity of losses, of every run at every point, one row each."""
    return pd.DataFrame(
        [
            {"cell": cell.name, "seed": seed, "measure": name, "value": value}
            for cell in evidence.cells
            for seed, record in cell.records.items()
            for name, value in recorded(record.diversity, ("set", *POINTS)).items()
        ]
    )


def detectable(found: Sequence[Resolution]) -> pd.DataFrame:
    """What the seeds resolve, per outcome."""
    return pd.DataFrame(
        [
            {
                "outcome": row.outcome,
                "pairs": row.n,
                "family": row.family,
                "sd": row.sd,
                "sd_upper": row.upper,
                "half_width": row.half,
                "widest": row.widest,
                "detectable": row.detectable,
                **{f"detectable_at_{n}": value for n, value in row.at.items()},
            }
            for row in found
        ]
    )


def missing(evidence: Evidence) -> pd.DataFrame:
    """Cells without a result and runs that did not train."""
    rows = [
        {"cell": m.name, "seed": m.seed, "key": m.key, "state": m.state, "reason": m.reason}
        for m in evidence.missing
    ]
    rows += [
        {
            "cell": cell.name,
            "seed": seed,
            "key": cell.keys[seed],
            "state": "did not train",
            "reason": f"final cross-entropy {cell.records[seed].final.get('cross_entropy')}",
        }
        for cell in evidence.cells
        for seed in cell.untrained
    ]
    return pd.DataFrame(rows, columns=["cell", "seed", "key", "state", "reason"])


def excluded(rows: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """Clips that were left out, with the reason."""
    return pd.DataFrame(rows, columns=["split", "id", "reason"])

"""`plan`: cells, seeds, cost and power of a study; nothing is started, nothing heavy imported."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.conditions import clips_per_cell, conditions, ladder
from sweep.config import StudyConfig, TrialConfig, load_study
from sweep.data.catalogue import DATASETS
from sweep.data_settings import options
from sweep.design import cells
from sweep.designs.catalogue import DESIGNS
from sweep.fidelity import clips_tested
from sweep.power import detectable_sd
from sweep.views import video_views

if TYPE_CHECKING:
    from sweep.data.options import DataOptions


def run(source: str, *, scale: str | None, overrides: Sequence[str], as_json: bool) -> int:
    """Print the plan; exit code 0, or 2 through ConfigError."""
    study = load_study(source, scale=scale, overrides=overrides)
    plan = make(study)
    if as_json:
        print(json.dumps(plan, indent=1))
    else:
        _show(study, plan)
    return 0


def make(study: StudyConfig) -> dict[str, Any]:
    """The plan as plain data."""
    data_options = options(study.data)
    data = _data(data_options)
    trials = cells(study, str(data.get("fingerprint") or ""))
    shifts = DATASETS[study.data.dataset].shifts
    rows = conditions(study.evaluate, shifts)
    test_clips = data.get("evaluation_clips") or 0
    forwards = {
        # a step costs three forwards (one forward, one backward of twice its cost) per view
        "train": sum(
            3 * t.train.steps * t.train.batch * len(video_views(t.losses)) for t in trials
        ),
        # clean clips and shifts are tested whole at every fidelity
        "evaluate": len(trials)
        * (
            clips_tested(sum(not r.perturbation for r in rows), test_clips, None)
            + clips_tested(
                sum(bool(r.perturbation) for r in rows), test_clips, clips_per_cell(study.evaluate)
            )
        ),
    }
    measured = _measured(study)
    known = [measured[kind] for t in trials if (kind := _cost_key(t)) in measured]
    seconds = sum(known) if len(known) == len(trials) else None
    design = DESIGNS[study.design.kind]
    return {
        "study": study.name,
        "scale": study.scale,
        "design": study.design.kind,
        "estimates": design.estimates,
        "aliases": design.aliases(tuple(sorted(study.losses)), study.design),
        "cells": [{"label": t.label, "seed": t.seed, "key": t.key} for t in trials],
        "labels": list(dict.fromkeys(t.label for t in trials)),
        "seeds": study.seed_list,
        "search_trials": study.search.trials if study.design.kind == "search" else 0,
        "conditions": [row.name for row in rows],
        "ladder": ladder(study.evaluate),
        "fidelity": study.evaluate.fidelity,
        "forwards": forwards,
        "data": data,
        "seconds_one_core": seconds,
        "gpus_per_trial": study.resources.gpus_per_trial,
        "detectable_sd": detectable_sd(len(study.seed_list)),
    }


def _data(data_options: DataOptions) -> dict[str, Any]:
    from sweep.data.survey import plan as plan_data

    return plan_data(data_options)


def _cost_key(trial: TrialConfig) -> str:
    """What the duration of a cell depends on, besides the machine."""
    train = trial.train
    return f"{trial.model.name}/{trial.loss_set}/{trial.combiner.name}/{train.steps}/{train.batch}"


def _measured(study: StudyConfig, root: Path = Path("runs")) -> dict[str, float]:
    """Median seconds of finished cells of the same kind in ``runs/``."""
    seconds: dict[str, list[float]] = {}
    for content in _results(root):
        trial = TrialConfig.model_validate(content["config"])
        if trial.data.dataset == study.data.dataset:
            seconds.setdefault(_cost_key(trial), []).append(content["run"]["seconds"]["all"])
    return {key: statistics.median(values) for key, values in seconds.items()}


def _results(root: Path) -> Iterator[dict[str, Any]]:
    newest = sorted(root.glob("*/cells/*/result.json"), key=lambda p: -p.stat().st_mtime)
    for path in newest[:200]:
        try:
            yield json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue


def _show(study: StudyConfig, plan: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    console.print(f"[bold]{study.title}[/bold]")
    console.print(study.question, highlight=False)
    console.print()
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    labels, seeds, planned = plan["labels"], plan["seeds"], plan["cells"]
    table.add_row("design", f"{plan['design']} ({plan['scale']} scale)")
    table.add_row("estimates", plan["estimates"])
    if plan["aliases"]:
        table.add_row("aliases", " ".join(plan["aliases"]))
    table.add_row("cells", f"{len(labels)}: " + escape(", ".join(labels)))
    table.add_row("seeds", f"{len(seeds)}: " + ", ".join(map(str, seeds)))
    table.add_row("trials", f"{len(planned)} planned")
    if plan["search_trials"]:
        table.add_row("", f"+ {plan['search_trials']} suggested by the search")
    thinned = clips_per_cell(study.evaluate)
    table.add_row(
        "conditions",
        f"{len(plan['conditions'])} (severity table {plan['ladder']}), fidelity {plan['fidelity']}"
        + (f": {thinned} clips per perturbation and severity" if thinned else ""),
    )
    data = plan["data"]
    table.add_row("data", f"{study.data.dataset}: {data['note']}")
    forwards = plan["forwards"]
    table.add_row(
        "forwards",
        f"{forwards['train'] / 1e3:,.0f} thousand clips of training, "
        f"{forwards['evaluate'] / 1e3:,.0f} thousand of testing",
    )
    table.add_row("time", _time(plan))
    table.add_row("power", _power(plan))
    console.print(table)


def _time(plan: dict[str, Any]) -> str:
    seconds = plan["seconds_one_core"]
    if seconds is None:
        return "no finished cell of each kind in runs/ to measure from"
    unit = "GPU" if plan["gpus_per_trial"] else "worker"
    return f"{seconds / 60:.0f} {unit}-minutes, from the cells finished in runs/"


def _power(plan: dict[str, Any]) -> str:
    detectable = plan["detectable_sd"]
    if detectable is None:
        return "one seed: no interval, no claim; give seeds=3 or more"
    return (
        f"{len(plan['seeds'])} paired seeds resolve a mean difference of {detectable:.2f} standard "
        "deviations (80 % power, 5 % two-sided)"
    )

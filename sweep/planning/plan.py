"""The plan of a study as plain data: what would run, what it takes, what it can resolve."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

from losses.combine.catalogue import ignored_weights
from losses.views import video_views
from sweep.cells.designs.catalogue import DESIGNS
from sweep.cells.resolve import cells, loss_sets, resolve
from sweep.cells.search.promotion import most_promoted
from sweep.data.survey import plan as plan_data
from sweep.evaluation.conditions import TestPlan, check_outcomes, seen_in_training
from sweep.planning import cost, pilot
from sweep.planning.budget import at_fidelity
from sweep.records.equal import equal_by_settings, in_words
from sweep.records.ledger import Ledger
from sweep.records.reuse import is_finished, offers, sweeps
from sweep.settings.losses import CombinerSettings
from sweep.settings.section import ConfigError
from sweep.statistics.power import DETECTABLE_SD, detectable_sd

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sweep.planning.cost import Rates
    from sweep.settings.resources import ResourceSettings
    from sweep.settings.study import StudyConfig
    from sweep.settings.trial import TrialConfig

#: Numbers of seeds whose detectable effects are listed.
SEEDS_SHOWN = (3, 5, 8, 10)


def make(
    study: StudyConfig,
    *,
    own: Path | None = None,
    rates: Rates | None = None,
    workers: int | None = None,
    ray: bool = True,
    others: Sequence[Path] = (),
) -> dict[str, Any]:
    """The plan of a study.

    Args:
        study: The study; cells of the sweeps in its `reuse` need not run.
        own: Folder of the sweep, where cells may be finished already.
        rates: Measured rates; None = those of finished cells, if there are any.
        workers: Trials at a time; None = what this machine holds.
        ray: Whether Ray runs the trials.
        others: Further sweeps whose finished cells may tell how long a cell takes.

    Raises:
        ConfigError: if the design, the data set or a folder cannot be used.
    """
    data = plan_data(study.data)
    tests = cost.planned_tests(study, data)
    names = [row.name for row in tests.rows]
    same = equal_by_settings(names, study.model_dump())
    check_outcomes(study.outcomes, tests.rows, study.name, same)
    trials = cells(study, str(data.get("fingerprint") or ""))
    here, elsewhere = _finished(study, trials, own)
    left = [t for t in trials if t.key not in here and t.key not in elsewhere]
    workers = local_workers(study.resources) if workers is None else workers
    sources = [*([own] if own is not None else []), *sweeps(study.reuse)]
    if rates is None and trials:
        rates = cost.from_cells(trials, dict.fromkeys([*sources, *others]))
    searched = _searched(study, trials)
    promoted = most_promoted(study, trials) if searched else []
    predicted = None
    if rates is not None:
        how: dict[str, Any] = {"data": data, "workers": workers, "ray": ray}
        predicted = cost.predict(study, [*left, *searched], rates, **how)
        if promoted:  # tested on all clips, after the search
            whole = at_fidelity(study, "full")
            predicted += cost.predict(whole, promoted, rates, **how, has_begun=True)
    found = pilot.pilot(study, sources)
    seeds = study.seed_list
    design = DESIGNS[study.design.kind]
    grid = sum(bool(row.perturbation) for row in tests.of_videos)
    return {
        "study": study.name,
        "scale": study.scale,
        "design": study.design.kind,
        "estimates": design.estimates,
        "aliases": design.aliases(tuple(sorted(study.losses)), study.design),
        "cells": [
            {"label": t.label, "seed": t.seed, "key": t.key, "state": _state(t, here, elsewhere)}
            for t in trials
        ],
        "labels": list(dict.fromkeys(t.label for t in trials)),
        "seeds": seeds,
        "search_trials": len(searched),
        "search_promoted": len(promoted),
        "duplicates": duplicates(study),
        "ignored_weights": ignored_weights(
            study.combiners, {name: one.weight for name, one in study.losses.items()}
        ),
        "finished": len(here),
        "reused": {str(path): list(elsewhere.values()).count(path) for path in elsewhere.values()},
        "to_run": len(left) + len(searched),
        "conditions": names,
        "equal_conditions": in_words(same),
        "seen_in_training": seen_in_training(study.train, tests.rows),
        "ladder": tests.ladder,
        "fidelity": study.evaluate.fidelity,
        "forwards": _forwards(study, trials, left, data, tests),
        "data": data,
        "cache_gb": {
            "decoded": data["cache_gb"],
            "perturbed": round(cost.perturbed_gb(study, data), 3),
        },
        "memory_gb": _memory(rates),
        "time": _time(study, rates, predicted, workers),
        "resources": {
            "cpus_per_trial": study.resources.cpus_per_trial,
            "gpus_per_trial": study.resources.gpus,
            "workers": workers,
            "ray": ray,
        },
        "detectable_sd": detectable_sd(len(seeds)),
        "detectable_sd_by_seeds": {n: DETECTABLE_SD[n] for n in SEEDS_SHOWN},
        "pilot": None
        if found is None
        else {
            "cells": found.cells,
            "sd": found.sd,
            "detectable_points": found.detectable(len(seeds)),
        },
        "grid_interval_points": pilot.grid_interval(grid, tests.clips, tests.per_cell),
    }


def _state(trial: TrialConfig, here: set[str], elsewhere: Mapping[str, Path]) -> str:
    if trial.key in here:
        return "finished"
    return "reused" if trial.key in elsewhere else "planned"


def _finished(
    study: StudyConfig, trials: Sequence[TrialConfig], own: Path | None
) -> tuple[set[str], dict[str, Path]]:
    """Cells that need not run: those finished in the sweep's folder, those of other sweeps."""
    keys = [trial.key for trial in trials]
    here: set[str] = set()
    if own is not None and (own / "plan.json").is_file():
        ledger = Ledger(own)
        here = {key for key in keys if is_finished(ledger, key)}
    return here, offers(study.reuse, [key for key in keys if key not in here])


def duplicates(study: StudyConfig) -> list[str]:
    """Planned cells that are equal to an earlier one, each once: `none [meltr] = none`."""
    known: dict[str, str] = {}
    found = []
    several = len(study.combiners) > 1
    for name, subset in loss_sets(study).items():
        for combiner, knobs in study.combiners.items():
            title = f"{name} [{combiner}]" if several else name
            trial = resolve(
                study,
                {loss: study.losses[loss] for loss in subset},
                CombinerSettings(name=combiner, knobs=dict(knobs or {})),
                label=title,
                seed=study.seed_list[0],
            )
            if trial.key in known:
                found.append(f"{title} = {known[trial.key]}")
            known.setdefault(trial.key, title)
    return found


def _searched(study: StudyConfig, trials: Sequence[TrialConfig]) -> list[TrialConfig]:
    """What a search will add, for its cost: its largest cell, as often as it may suggest one."""
    if study.design.kind != "search":
        return []
    largest = max(trials, key=lambda t: len(t.losses))
    return [largest] * study.search.trials


def _forwards(
    study: StudyConfig,
    trials: Sequence[TrialConfig],
    left: Sequence[TrialConfig],
    data: Mapping[str, Any],
    tests: TestPlan,
) -> dict[str, int]:
    """Clips forwarded by all cells of the plan, and how many of them need not be."""
    # clean clips and shifts are tested whole at every fidelity
    per_test = sum(map(tests.tested, tests.of_videos)) + cost.fitted_clips(study, data)
    thinned = sum(tests.clips - tests.tested(row) for row in tests.of_videos)

    def train(trial: TrialConfig) -> int:
        # a step costs three forwards (one forward, one backward of twice its cost) per view
        return (
            3
            * trial.train.steps
            * trial.train.batch
            * len(video_views((trial.primary, *trial.losses)))
        )

    done = {trial.key for trial in trials} - {trial.key for trial in left}
    finished = [trial for trial in trials if trial.key in done]
    return {
        "train": sum(map(train, trials)),
        "evaluate": len(trials) * per_test,
        "avoided": sum(map(train, finished)) + len(finished) * per_test + len(left) * thinned,
    }


def _memory(rates: Rates | None) -> dict[str, float | None]:
    """Peak per worker, as measured. Clips are read from the cache, which memory does not hold."""
    host = None if rates is None else rates.host_gb
    return {
        "host": None if host is None else round(host, 2),
        "gpu": None if rates is None else rates.gpu_gb,
    }


def _time(
    study: StudyConfig, rates: Rates | None, predicted: cost.Cost | None, workers: int
) -> dict[str, Any] | None:
    if rates is None or predicted is None:
        return None
    resources = study.resources
    return {
        "source": rates.source,
        "where": rates.where,
        "workers": workers,
        "wall_s": round(predicted.wall_s, 1),
        "wall_at_load_s": round(predicted.wall_s * rates.stretch, 1),
        "data_s": round(predicted.data_s, 1),
        "cell_s": round(sum(predicted.cells_s) / max(1, len(predicted.cells_s)), 2),
        "core_hours": round(predicted.worker_s * resources.cpus_per_trial / 3600, 4),
        "gpu_hours": round(predicted.worker_s * resources.gpus / 3600, 4),
        "stretch": round(rates.stretch, 3),
        "parts_s": {name: round(value, 1) for name, value in predicted.parts.items()},
    }


def local_workers(resources: ResourceSettings) -> int:
    """Trials that this machine holds at a time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return slots([(float(cores or 1), float(_gpus()) if resources.gpus else 0.0)], resources)


def slots(nodes: Sequence[tuple[float, float]], resources: ResourceSettings) -> int:
    """Trials at a time on nodes of so many CPUs and GPUs; at least 1.

    Raises:
        ConfigError: if no node can hold a trial.
    """
    count = 0
    for cpus, gpus in nodes:
        fits = int(cpus / resources.cpus_per_trial)
        if resources.gpus:
            fits = min(fits, int(gpus / resources.gpus))
        count += fits
    if resources.max_concurrent is not None:
        count = min(count, resources.max_concurrent)
    return max(1, count)


def _gpus() -> int:
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return len(done.stdout.strip().splitlines()) if done.returncode == 0 else 0


def cost_in(plan: Mapping[str, Any], unit: str) -> float:
    """Predicted cost in the unit of a budget.

    Raises:
        ConfigError: if nothing was measured, or the unit is none of this study.
    """
    time = plan["time"]
    if time is None:
        raise ConfigError(
            "--budget: no finished cell tells how long one takes; add --dry-step, which makes a "
            "few steps of every kind of cell on this machine"
        )
    if unit == "gpuh":
        if not plan["resources"]["gpus_per_trial"]:
            raise ConfigError(
                "--budget in gpuh: this study uses no GPU (resources.gpus_per_trial is 0); give "
                "cpuh, or h for the time from start to end"
            )
        return float(time["gpu_hours"])
    if unit == "cpuh":
        return float(time["core_hours"])
    return float(time["wall_at_load_s"]) / 3600

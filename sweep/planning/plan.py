"""The plan of a study: what would run, what it takes, what it can resolve."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from losses.combine.catalogue import ignored_weights
from losses.views import video_views
from sweep.cells.designs.catalogue import DESIGNS, Design
from sweep.cells.resolve import cells, loss_sets, resolve, withheld_share
from sweep.cells.search.dimensions import check_objectives
from sweep.cells.search.promotion import most_promoted
from sweep.data.survey import plan as plan_data
from sweep.evaluation.conditions import TestPlan, check_outcomes, seen_in_training
from sweep.planning import cost, pilot
from sweep.planning.budget import at_fidelity
from sweep.planning.contents import (
    CacheSize,
    CellState,
    Forwards,
    Memory,
    Places,
    Plan,
    Selection,
    Spread,
    TimeNeeded,
    Trend,
)
from sweep.planning.workers import local_workers
from sweep.records.equal import equal_by_settings, in_words
from sweep.records.files import has_plan
from sweep.records.ledger import Ledger
from sweep.records.reuse import is_finished, offers, sweeps
from sweep.settings.losses import CombinerSettings
from sweep.statistics.power import DETECTABLE_SD, detectable_correlation, detectable_sd

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
) -> Plan:
    """The plan of a study.

    Args:
        study: The study; cells of the sweeps in its `reuse` need not run.
        own: Folder of the sweep, where cells may be finished already.
        rates: Measured rates; None = those of finished cells, if there are any.
        workers: Cells at a time; None = what this machine holds.
        ray: Whether Ray runs the cells.
        others: Further sweeps whose finished cells may tell how long a cell takes.

    Raises:
        ConfigError: if the design, the data set or a folder cannot be used.
    """
    data = plan_data(study.data)
    tests = cost.planned_tests(study, data)
    names = [row.name for row in tests.rows]
    same = equal_by_settings(names, study.model_dump())
    check_outcomes(study.outcomes, tests.rows, study.name, same)
    if study.design.kind == "search":
        check_objectives(study, data["shifts"])
    trials = cells(study, str(data.get("fingerprint") or ""))
    keys = [trial.key for trial in trials]
    here, elsewhere = _finished(study, keys, own)
    pairs = list(zip(keys, trials, strict=True))
    left = [trial for key, trial in pairs if key not in here and key not in elsewhere]
    workers = local_workers(study.resources) if workers is None else workers
    sources = [*([own] if own is not None else []), *sweeps(study.reuse)]
    if rates is None and trials:
        rates = cost.from_cells(trials, dict.fromkeys([*sources, *others]))
    searched = _searched(study, trials)
    promoted = most_promoted(study, trials) if searched else []
    predicted = None
    if rates is not None:
        todo = [*left, *searched]
        predicted = _predict(study, todo, promoted, rates, data=data, workers=workers, ray=ray)
    design = DESIGNS[study.design.kind]
    return Plan(
        study=study.name,
        scale=study.scale,
        design=study.design.kind,
        estimates=design.estimates,
        aliases=tuple(design.aliases(tuple(sorted(study.losses)), study.design)),
        cells=_states(pairs, here, elsewhere),
        labels=tuple(dict.fromkeys(t.label for t in trials)),
        seeds=tuple(study.seed_list),
        looks=_looks(study),
        least_cells=_least_cells(study, trials),
        search_trials=len(searched),
        search_seeds=study.search.seeds if searched else 0,
        search_promoted=len(promoted),
        selection=_selection(study, data),
        withheld_share=withheld_share(study),
        duplicates=tuple(duplicates(study)),
        ignored_weights=_ignored_weights(study),
        finished=len(here),
        reused=dict(Counter(map(str, elsewhere.values()))),
        to_run=len(left) + len(searched),
        conditions=tuple(names),
        equal_conditions=tuple(in_words(same)),
        seen_in_training=seen_in_training(study.train, tests.rows),
        ladder=tests.ladder,
        fidelity=study.evaluate.fidelity,
        forwards=_forwards(study, trials, left, data, tests),
        data=data,
        cache_gb=_disk(study, data),
        memory_gb=_memory(rates),
        time=_time(study, rates, predicted, workers),
        resources=_places(study.resources, workers, ray=ray),
        trend=_trend(study, design) if design.trend else None,
        detectable_sd=detectable_sd(len(study.seed_list)),
        detectable_sd_by_seeds={n: DETECTABLE_SD[n] for n in SEEDS_SHOWN},
        pilot=_spread(study, sources),
        grid_interval_points=_grid_interval(tests),
    )


def _trend(study: StudyConfig, design: Design) -> Trend:
    every = tuple(sorted(study.losses))
    sets = list(loss_sets(study).values())
    if design.given_losses:
        sets = [subset for subset in sets if subset and subset != every]
    reach = detectable_correlation(len(sets), len(every) - 1 if design.given_losses else 0)
    return Trend(
        loss_sets=len(sets),
        fewest_sets=design.fewest_sets,
        given_losses=design.given_losses,
        detectable_correlation=round(reach, 2) if reach < 1 else None,
    )


def _looks(study: StudyConfig) -> tuple[int, ...]:
    """Numbers of seeds at which a study looks, from the fewest that run on."""
    stopping = study.design.stopping
    looks = [] if stopping is None else stopping.looks
    return tuple(n for n in looks if n >= study.least_seeds)


def _least_cells(study: StudyConfig, trials: Sequence[TrialConfig]) -> int:
    """Cells up to the first look; all, if nobody looks."""
    looks = _looks(study)
    first = set(study.seed_list[: looks[0]] if looks else study.seed_list)
    return sum(trial.seed in first for trial in trials)


def _states(
    cells: Sequence[tuple[str, TrialConfig]], here: set[str], elsewhere: Mapping[str, Path]
) -> tuple[CellState, ...]:
    def state(key: str) -> str:
        if key in here:
            return "finished"
        return "reused" if key in elsewhere else "planned"

    return tuple(
        CellState(label=cell.label, seed=cell.seed, key=key, state=state(key))
        for key, cell in cells
    )


def _ignored_weights(study: StudyConfig) -> tuple[str, ...]:
    weights = {name: one.weight for name, one in study.losses.items()}
    return tuple(ignored_weights(study.combiners, weights))


def _disk(study: StudyConfig, data: Mapping[str, Any]) -> CacheSize:
    perturbed = round(cost.perturbed_gb(study, data), 3)
    return CacheSize(decoded=data["cache_gb"], perturbed=perturbed)


def _places(resources: ResourceSettings, workers: int, *, ray: bool) -> Places:
    return Places(
        cpus_per_trial=resources.cpus_per_trial,
        gpus_per_trial=resources.gpus,
        workers=workers,
        ray=ray,
    )


def _grid_interval(tests: TestPlan) -> float:
    conditions = sum(bool(row.perturbation) for row in tests.of_videos)
    return pilot.grid_interval(conditions, tests.clips, tests.per_cell)


def _selection(study: StudyConfig, data: Mapping[str, Any]) -> Selection | None:
    """What a search chooses by; None for designs that choose nothing."""
    if study.design.kind != "search":
        return None
    kept = int(data["validation_clips"])
    on = study.search.objective_on
    early = "validation" if kept else "test"
    return Selection(
        by=tuple(study.search.objectives),
        on=on,
        clips=kept if on == "validation" else int(data["evaluation_clips"]),
        early=early if study.search.early_stopping else None,
        of_training=study.data.validation_share,
        spares_labels=study.data.labelled_per_class is not None,
    )


def _finished(
    study: StudyConfig, keys: Sequence[str], own: Path | None
) -> tuple[set[str], dict[str, Path]]:
    """Cells that need not run: those finished in the sweep's folder, those of other sweeps."""
    here: set[str] = set()
    if own is not None and has_plan(own):
        ledger = Ledger(own)
        here = {key for key in keys if is_finished(ledger, key)}
    return here, offers(study.reuse, [key for key in keys if key not in here])


def _predict(
    study: StudyConfig,
    todo: Sequence[TrialConfig],
    promoted: Sequence[TrialConfig],
    rates: Rates,
    **how: Any,
) -> cost.Cost:
    """What the cells that are still to run take, those for the best of a search included."""
    predicted = cost.predict(study, todo, rates, **how)
    if promoted:  # tested on all clips, after the search
        whole = at_fidelity(study, "full")
        predicted += cost.predict(whole, promoted, rates, **how, has_begun=True)
    return predicted


def _spread(study: StudyConfig, sources: Sequence[Path]) -> Spread | None:
    found = pilot.pilot(study, sources)
    if found is None:
        return None
    points = found.detectable(len(study.seed_list))
    return Spread(cells=found.cells, sd=dict(found.sd), detectable_points=points)


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
    return [largest] * study.search.trials * study.search.seeds


def _forwards(
    study: StudyConfig,
    trials: Sequence[TrialConfig],
    left: Sequence[TrialConfig],
    data: Mapping[str, Any],
    tests: TestPlan,
) -> Forwards:
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

    every, rest = sum(map(train, trials)), sum(map(train, left))
    finished = len(trials) - len(left)
    return Forwards(
        train=every,
        evaluate=len(trials) * per_test,
        avoided=every - rest + finished * per_test + len(left) * thinned,
    )


def _memory(rates: Rates | None) -> Memory:
    """Peak per worker, as measured. Clips are read from the cache, which memory does not hold."""
    host = None if rates is None else rates.host_gb
    return Memory(
        host=None if host is None else round(host, 2),
        gpu=None if rates is None else rates.gpu_gb,
    )


def _time(
    study: StudyConfig, rates: Rates | None, predicted: cost.Cost | None, workers: int
) -> TimeNeeded | None:
    if rates is None or predicted is None:
        return None
    resources = study.resources
    return TimeNeeded(
        source=rates.source,
        where=rates.where,
        workers=workers,
        wall_s=round(predicted.wall_s, 1),
        wall_at_load_s=round(predicted.wall_s * rates.stretch, 1),
        data_s=round(predicted.data_s, 1),
        cell_s=round(sum(predicted.cells_s) / max(1, len(predicted.cells_s)), 2),
        core_hours=round(predicted.worker_s * resources.cpus_per_trial / 3600, 4),
        gpu_hours=round(predicted.worker_s * resources.gpus / 3600, 4),
        stretch=round(rates.stretch, 3),
        parts_s={name: round(value, 1) for name, value in predicted.parts.items()},
    )

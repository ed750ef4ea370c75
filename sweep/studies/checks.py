"""What a study may say, held against the catalogues before anything is started."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from losses.catalogue import DATA_FEATURES, LOSSES, moving_targets, split_view
from losses.combine.catalogue import COMBINERS
from losses.views import needs_captions
from models.catalogue import MODELS
from perturb.catalogue import LADDERS, PERTURBATIONS, PROFILES
from perturb.text_catalogue import TEXT_PERTURBATIONS
from sweep.cells.designs.catalogue import DESIGNS
from sweep.cells.search.dimensions import check as check_search
from sweep.data.catalogue import DATASETS
from sweep.evaluation.probes import PROBES
from sweep.records.patterns import metric_of
from sweep.settings.budget import parse_budget
from sweep.settings.resources import ResourceRule, ResourceSettings, ResourceWhen
from sweep.settings.section import ConfigError, known, known_knobs
from sweep.tasks.catalogue import AUTO, TASKS, task_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sweep.settings.evaluate import EvaluateSettings
    from sweep.settings.study import StudyConfig
    from sweep.settings.train import ViewSettings
    from sweep.tasks.catalogue import TaskSpec

#: Clips per cell that a rung of the fidelity ladder may have.
FIDELITY_CLIPS = {"probe": (8, 63), "screen": (64, 200)}


#: Settings of a model that the trial derives from the data.
TRIAL_SETS = frozenset({"classes", "size_px", "vocabulary", "text"})


def check_names(study: StudyConfig, where: str) -> None:
    """Every name exists, every knob is known, every loss finds its features."""
    known(study.primary, LOSSES, f"{where}: primary", "loss")
    if study.primary in study.losses:
        raise ConfigError(
            f"{where}: losses.{study.primary}: it is the primary loss of this study; remove it "
            f"from the auxiliary ones: losses.{study.primary}=null"
        )
    auxiliary = [name for name, row in LOSSES.items() if not row.primary]
    for name, settings in study.losses.items():
        known(name, auxiliary, f"{where}: losses", "loss")
        known_knobs(settings.knobs, LOSSES[name].knobs, f"{where}: losses.{name}.knobs")
    for name, knobs in study.combiners.items():
        known(name, COMBINERS, f"{where}: combiners", "combiner")
        check_installed(
            COMBINERS[name].package, COMBINERS[name].extra, f"{where}: combiners.{name}"
        )
        known_knobs(knobs or {}, COMBINERS[name].knobs, f"{where}: combiners.{name}")
        held = moving_targets(study.losses)
        if (knobs or {}).get("method") == "fd" and held:
            raise ConfigError(
                f"{where}: combiners.{name}.method: fd does not see the derivative of "
                f"{', '.join(held)}, which hold a feature of the trained model fixed; use jvp, "
                "loop or auto"
            )
    if not study.combiners:
        raise ConfigError(f"{where}: combiners: at least one of {', '.join(COMBINERS)}")
    known(study.model.name, MODELS, f"{where}: model.name", "model")
    free = {k: v for k, v in MODELS[study.model.name].settings.items() if k not in TRIAL_SETS}
    known_knobs(study.model.knobs, free, f"{where}: model.knobs")
    known(study.data.dataset, DATASETS, f"{where}: data.dataset", "data set")
    if study.evaluate.profile is not None:
        known(study.evaluate.profile, PROFILES, f"{where}: evaluate.profile", "profile")
    for name, severities in (study.evaluate.conditions or {}).items():
        known(name, PERTURBATIONS, f"{where}: evaluate.conditions", "perturbation")
        allowed = PERTURBATIONS[name].severities
        if not severities or any(s not in allowed for s in severities):
            raise ConfigError(
                f"{where}: evaluate.conditions.{name}: severities are "
                f"{', '.join(map(str, allowed))}, given {severities}"
            )
    _check_fidelity(study.evaluate, where)
    _check_masks(study.train.views, where)
    _check_resources(study, where)
    if study.evaluate.ladder is not None:
        known(study.evaluate.ladder, LADDERS, f"{where}: evaluate.ladder", "severity table")
    known(study.design.kind, DESIGNS, f"{where}: design.kind", "design")
    for names in study.design.sets:
        for name in names:
            known(name, study.losses, f"{where}: design.sets", "loss of this study")
    for name in study.headline:
        known(name, study.outcomes, f"{where}: headline", "outcome")
    if study.design.kind == "search":
        try:
            check_search(study)
        except ValueError as error:
            raise ConfigError(f"{where}: {error}") from None
    if not study.seed_list:
        raise ConfigError(f"{where}: seeds: at least one")
    if len(set(study.seed_list)) != len(study.seed_list):
        raise ConfigError(f"{where}: seeds: each once, given {study.seed_list}")
    if not DATASETS[study.data.dataset].embedded and study.data.root is None:
        raise ConfigError(
            f"{where}: data.root: '{study.data.dataset}' is not embedded; give its folder, "
            "such as data.root=/data/ssv2"
        )
    trained = (study.primary, *study.losses)
    check_needs(trained, study.model.name, where)
    check_task(study, where)


def _check_resources(study: StudyConfig, where: str) -> None:
    """Ranks share a batch evenly and have a card each; rules name what exists."""
    resources = study.resources
    for number, one in enumerate(resources.rules):
        here = f"{where}: resources.rules.{number}.when"
        for name in one.when.losses:
            known(name, study.losses, f"{here}.losses", "loss of this study")
        if one.when.model is not None:
            known(one.when.model, MODELS, f"{here}.model", "model")
        if one.when.combiner is not None:
            known(one.when.combiner, COMBINERS, f"{here}.combiner", "combiner")
    for name in resources.custom:
        if name.lower() in {"cpu", "gpu", "memory", "object_store_memory"}:
            raise ConfigError(
                f"{where}: resources.custom.{name}: has a key of its own, such as cpus_per_trial"
            )
    if resources.budget is not None:
        _check_budget(resources, f"{where}: resources.budget")
    every = [ResourceRule(when=ResourceWhen()), *resources.rules]  # the first changes nothing
    for rule in every:
        workers = rule.workers_per_trial or resources.workers_per_trial
        gpus = rule.gpus_per_trial
        gpus = resources.gpus_per_trial if gpus is None else gpus
        if workers == 1:
            continue
        if study.train.batch % workers:
            raise ConfigError(
                f"{where}: resources.workers_per_trial: {workers} ranks cannot share train.batch "
                f"{study.train.batch} evenly; make the batch a multiple"
            )
        if gpus != "auto" and gpus % workers:
            raise ConfigError(
                f"{where}: resources.gpus_per_trial: {gpus:g} for {workers} ranks; each rank needs "
                "whole cards of its own: 0, or a multiple of resources.workers_per_trial"
            )
        if any(
            (knobs or {}).get("method") == "double_backward" for knobs in study.combiners.values()
        ):
            raise ConfigError(
                f"{where}: resources.workers_per_trial: the meta step's method double_backward is "
                "for one process; use jvp, loop or auto"
            )


def _check_budget(resources: ResourceSettings, where: str) -> None:
    """The limit can be read, and is of something that trials use."""
    try:
        budget = parse_budget(resources.budget or "")
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None
    given = [resources.gpus_per_trial, *(rule.gpus_per_trial for rule in resources.rules)]
    if budget.unit == "gpuh" and not any(given):
        raise ConfigError(
            f"{where}: {resources.budget}: no trial of this study asks for a GPU "
            "(resources.gpus_per_trial); give cpuh, or h for the time from start to end"
        )


def _check_fidelity(settings: EvaluateSettings, where: str) -> None:
    """Clips per cell belong to thinned tests, and to each rung its own range."""
    given = settings.clips_per_cell
    if given is None:
        return
    if settings.fidelity == "full":
        raise ConfigError(
            f"{where}: evaluate.clips_per_cell: {given} given, but evaluate.fidelity is 'full', "
            "which tests every clip; set evaluate.fidelity to 'probe' or 'screen'"
        )
    low, high = FIDELITY_CLIPS[settings.fidelity]
    if not low <= given <= high:
        raise ConfigError(
            f"{where}: evaluate.clips_per_cell: '{settings.fidelity}' takes {low} to {high} clips "
            f"per cell, given {given}"
        )


def _check_masks(views: ViewSettings, where: str) -> None:
    """Knobs of motion belong to policies that look at motion."""
    if views.mask_policy in {"motion", "aggressive"}:
        return
    for name in ("mask_strength", "mask_random"):
        given = getattr(views, name)
        if given is not None:
            raise ConfigError(
                f"{where}: train.views.{name}: {given} given, but train.views.mask_policy is "
                f"'{views.mask_policy}', which does not look at motion; set it to 'motion' or "
                "'aggressive'"
            )


def check_needs(loss_names: Iterable[str], model: str, where: str) -> None:
    """Refuse a loss that needs a feature which the model does not provide."""
    provides = MODELS[model].provides
    for name in loss_names:
        for feature in sorted(LOSSES[name].needs - DATA_FEATURES):
            base, _ = split_view(feature)
            if base not in provides:
                able = [row.name for row in MODELS.values() if base in row.provides]
                raise ConfigError(
                    f"{where}: loss '{name}' needs the feature '{base}', which model '{model}' "
                    f"does not provide (it provides {', '.join(sorted(provides))}; "
                    f"models that do: {', '.join(able) or 'none'})"
                )


def check_installed(package: str, extra: str, where: str) -> None:
    """Refuse what needs a package of an extra that is not there."""
    if package and importlib.util.find_spec(package) is None:
        raise ConfigError(
            f"{where}: needs the package {package}, which is not installed; "
            f"pip install 'auxsweep[{extra}]'"
        )


def check_task(study: StudyConfig, where: str) -> None:
    """The data and the model have what losses and task read; what is tested and told exists."""
    known(study.evaluate.task, (AUTO, *TASKS), f"{where}: evaluate.task", "task")
    task = task_of(study.evaluate, study.primary)
    _check_clips(study, task, where)
    missing = task.features - MODELS[study.model.name].provides
    if missing:
        raise ConfigError(
            f"{where}: evaluate.task: {task.name} needs {', '.join(sorted(missing))}, which the "
            f"model '{study.model.name}' does not provide"
        )
    if not task.thins and study.evaluate.fidelity != "full":
        raise ConfigError(
            f"{where}: evaluate.fidelity: '{study.evaluate.fidelity}' would shrink the gallery, "
            "and ranks in galleries of different sizes do not compare; fewer queries would save no "
            f"clip, since every one is in the gallery; {task.name} needs 'full'"
        )
    if "text" in task.sides:
        _check_captions(study.evaluate, where)
    if task.fits:
        known(study.evaluate.probe, PROBES, f"{where}: evaluate.probe", "probe")
    _check_metrics(study, task, where)


def _check_clips(study: StudyConfig, task: TaskSpec, where: str) -> None:
    """Classes and captions are there for those that learn or are tested by them."""
    dataset = DATASETS[study.data.dataset]
    have = {"labels": dataset.labelled, "captions": dataset.captions}
    words = {"labels": "classes", "captions": "captions"}
    trained = (study.primary, *study.losses)
    readers = {
        "labels": [name for name in trained if "labels" in LOSSES[name].needs],
        "captions": [name for name in trained if needs_captions([name])],
    }
    for kind, wanting in readers.items():
        if have[kind]:
            continue
        if study.primary in wanting:
            other = "captions instead, such as primary=infonce" if kind == "labels" else "classes"
            raise ConfigError(
                f"{where}: primary: '{study.primary}' needs {words[kind]}, which the data set "
                f"'{dataset.name}' does not have; train by {other}"
            )
        if wanting:
            raise ConfigError(
                f"{where}: the losses {', '.join(wanting)} need {words[kind]}, which the data set "
                f"'{dataset.name}' does not have; remove them: losses.{wanting[0]}=null"
            )
        if kind in task.clips:
            able = [row.name for row in TASKS.values() if all(have.get(k) for k in row.clips)]
            raise ConfigError(
                f"{where}: evaluate.task: '{dataset.name}' has no {words[kind]} to be tested by, "
                f"which {task.name} needs; tasks that it can be tested by: "
                f"{', '.join(able) or 'none'}"
            )


def _check_captions(settings: EvaluateSettings, where: str) -> None:
    """Known perturbations of captions, alone and in pairs."""
    if isinstance(settings.captions, dict):
        for name, severities in settings.captions.items():
            _known_captions(name, f"{where}: evaluate.captions")
            allowed = TEXT_PERTURBATIONS[name].severities
            if not severities or any(s not in allowed for s in severities):
                raise ConfigError(
                    f"{where}: evaluate.captions.{name}: severities are "
                    f"{', '.join(map(str, allowed))}, given {severities}"
                )
    if not isinstance(settings.joint, str):
        for video, text in settings.joint:
            known(video, PERTURBATIONS, f"{where}: evaluate.joint", "perturbation")
            if settings.joint_severity not in PERTURBATIONS[video].severities:
                raise ConfigError(
                    f"{where}: evaluate.joint: {video} has no severity {settings.joint_severity}"
                )
            _known_captions(text, f"{where}: evaluate.joint")


def _known_captions(name: str, where: str) -> None:
    known(name, TEXT_PERTURBATIONS, where, "perturbation of captions")
    if TEXT_PERTURBATIONS[name].needs_model:
        able = [n for n, row in TEXT_PERTURBATIONS.items() if not row.needs_model]
        raise ConfigError(
            f"{where}: '{name}' needs a language model; those that need none: {', '.join(able)}"
        )


def _check_metrics(study: StudyConfig, task: TaskSpec, where: str) -> None:
    """What stands before a colon in an outcome is a metric of the task."""
    for name, patterns in study.outcomes.items():
        metrics = {metric_of(pattern) for pattern in patterns}
        for metric in metrics - {""}:
            known(metric, task.outcomes, f"{where}: outcomes.{name}", f"metric of {task.name}")
        if len(metrics) > 1:
            raise ConfigError(
                f"{where}: outcomes.{name}: one metric per outcome, given {', '.join(patterns)}"
            )

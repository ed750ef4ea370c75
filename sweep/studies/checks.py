"""What a study may say, held against the catalogues before anything is started.

One function per subject; each takes the part of a study that it is about and raises ``ConfigError``
with `where` (the file or verb), the key, what was given and what is allowed.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from losses.catalogue import DATA_FEATURES, LOSSES, moving_targets, split_view
from losses.combine.catalogue import COMBINERS
from losses.views import needs_captions
from models.catalogue import MODELS, ModelSpec, clip_of, refusals
from models.catalogue import model as catalogued
from models.weights import find
from perturb.catalogue import LADDERS, PERTURBATIONS, PROFILES
from perturb.text_catalogue import TEXT_PERTURBATIONS
from sweep.cells.designs.catalogue import DESIGNS, OF_EVERY_KIND
from sweep.cells.resolve import withheld_share
from sweep.cells.search.dimensions import check as check_search_settings
from sweep.data.catalogue import DATASETS, given_options
from sweep.evaluation.probes import PROBES
from sweep.records.patterns import metric_of
from sweep.settings.budget import parse_budget
from sweep.settings.names import nearest
from sweep.settings.resources import ResourceRule, ResourceSettings, ResourceWhen
from sweep.settings.section import ConfigError, check_knobs, known
from sweep.settings.study import Disclosure
from sweep.tasks.catalogue import AUTO, TASKS, task_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sweep.settings.data import DataSettings
    from sweep.settings.design import DesignSettings
    from sweep.settings.evaluate import EvaluateSettings
    from sweep.settings.losses import LossSettings
    from sweep.settings.model import ModelSettings
    from sweep.settings.study import StudyConfig
    from sweep.settings.train import TrainSettings, ViewSettings
    from sweep.tasks.catalogue import TaskSpec

#: Clips per cell that a rung of the fidelity ladder may have.
FIDELITY_CLIPS = {"probe": (8, 63), "screen": (64, 200)}


def check_study(study: StudyConfig, where: str) -> None:
    """Every name exists, every knob is known, every loss finds its features.

    Raises:
        ConfigError: for the first mistake, in this order.
    """
    trained = (study.primary, *study.losses)
    check_losses(study.primary, study.losses, where)
    check_combiners(study.combiners, study.losses, where)
    check_model(study.model, study.data.size_px, where)
    known(study.data.dataset, DATASETS, f"{where}: data.dataset", "data set")
    check_conditions(study.evaluate, where)
    check_fidelity(study.evaluate, where)
    check_masks(study.train.views, where)
    check_rules(study.resources, study.losses, where)
    check_ranks(study.resources, study.train, study.combiners, where)
    check_design(study.design, study.losses, where)
    check_headline(study.headline, study.outcomes, where)
    check_claims(study, where)
    check_search(study, where)
    check_withheld(study, where)
    check_seeds(study.seed_list, where)
    check_stopping(study, where)
    check_data(study.data, where)
    check_needs(trained, study.model.name, where)
    check_task(study, where)


# ---------------------------------------------------------------------------------- what is trained


def check_losses(primary: str, losses: Mapping[str, LossSettings], where: str) -> None:
    """The primary loss stands alone; the others exist and have the given knobs."""
    known(primary, LOSSES, f"{where}: primary", "loss")
    if primary in losses:
        raise ConfigError(
            f"{where}: losses.{primary}: it is the primary loss of this study; remove it "
            f"from the auxiliary ones: losses.{primary}=null"
        )
    auxiliary = [name for name, row in LOSSES.items() if not row.primary]
    for name, settings in losses.items():
        known(name, auxiliary, f"{where}: losses", "loss")
        row = LOSSES[name]
        check_knobs(settings.knobs, row.knobs, f"{where}: losses.{name}.knobs", row.choices)


def check_combiners(
    combiners: Mapping[str, Mapping[str, Any] | None], losses: Iterable[str], where: str
) -> None:
    """Combiners exist, are installed, and see the derivatives that they need."""
    held = moving_targets(losses)
    for name, given in combiners.items():
        known(name, COMBINERS, f"{where}: combiners", "combiner")
        knobs, row = given or {}, COMBINERS[name]
        check_installed(row.package, row.extra, f"{where}: combiners.{name}")
        check_knobs(knobs, row.knobs, f"{where}: combiners.{name}", row.choices)
        if knobs.get("method") == "fd" and held:
            raise ConfigError(
                f"{where}: combiners.{name}.method: fd does not see the derivative of "
                f"{', '.join(held)}, which hold a feature of the trained model fixed; use jvp, "
                "loop or auto"
            )
    if not combiners:
        raise ConfigError(f"{where}: combiners: at least one of {', '.join(COMBINERS)}")


def check_model(model: ModelSettings, size_px: int, where: str) -> None:
    """It exists and has the knobs, its weights are there, and it takes clips of this size."""
    row = model_row(model.name, f"{where}: model.name")
    check_installed(row.package, row.extra, f"{where}: model.name")
    check_knobs(model.knobs, row.knobs, f"{where}: model.knobs", row.choices)
    try:
        find(row.weights, model.weights)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{where}: model.weights: {error}") from None
    frames = model.knobs.get("frames")
    clip = clip_of(model.name, weights=model.weights, frames=frames, size_px=size_px)
    keys = {"frames": "model.knobs.frames", "size_px": "data.size_px"}
    found = refusals(model.name, clip, weights=model.weights, knobs=model.knobs)
    for name, refusal in found.items():
        raise ConfigError(f"{where}: {keys[name]}: {refusal}")


def model_row(name: str, where: str) -> ModelSpec:
    """The row of a model: of the table, or of a folder or network of a library."""
    if ":" not in name:
        known(name, MODELS, where, "model")
        return MODELS[name]
    try:
        return catalogued(name)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{where}: {error}") from None


def check_masks(views: ViewSettings, where: str) -> None:
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
    provides = model_row(model, f"{where}: model.name").features
    for name in loss_names:
        for feature in sorted(LOSSES[name].needs - DATA_FEATURES):
            base, _ = split_view(feature)
            if base not in provides:
                able = [row.name for row in MODELS.values() if base in row.features]
                others = {f for row in LOSSES.values() if row.name != name for f in row.needs}
                is_known = bool(able) or any(split_view(f)[0] == base for f in others)
                hint = "" if is_known else nearest(base, provides | DATA_FEATURES)
                raise ConfigError(
                    f"{where}: loss '{name}' needs the feature '{base}', which model '{model}' "
                    f"does not provide{hint} (it provides {', '.join(sorted(provides))}; "
                    f"models that do: {', '.join(able) or 'none'})"
                )


def check_installed(package: str, extra: str, where: str) -> None:
    """Refuse what needs a package of an extra that is not there."""
    if package and importlib.util.find_spec(package) is None:
        raise ConfigError(
            f"{where}: needs the package {package}, which is not installed; "
            f"pip install 'auxsweep[{extra}]'"
        )


# ----------------------------------------------------------------------------------- what is tested


def check_conditions(settings: EvaluateSettings, where: str) -> None:
    """Profile, perturbations, their severities and their constants exist."""
    if settings.profile is not None:
        known(settings.profile, PROFILES, f"{where}: evaluate.profile", "profile")
    for name, severities in (settings.conditions or {}).items():
        known(name, PERTURBATIONS, f"{where}: evaluate.conditions", "perturbation")
        allowed = PERTURBATIONS[name].severities
        if not severities or any(s not in allowed for s in severities):
            raise ConfigError(
                f"{where}: evaluate.conditions.{name}: severities are "
                f"{', '.join(map(str, allowed))}, given {severities}"
            )
    if settings.ladder is not None:
        known(settings.ladder, LADDERS, f"{where}: evaluate.ladder", "severity table")


def check_fidelity(settings: EvaluateSettings, where: str) -> None:
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


def check_headline(headline: Iterable[str], outcomes: Collection[str], where: str) -> None:
    """The answer is made of outcomes that are declared."""
    for name in headline:
        known(name, outcomes, f"{where}: headline", "outcome")


def check_claims(study: StudyConfig, where: str) -> None:
    """What is judged first, within what margin and with which caveat names what there is."""
    if study.primary_outcome is not None:
        there = f"{where}: primary_outcome"
        known(study.primary_outcome, study.headline, there, "outcome of the headline")
    for name, margin in study.margins.items():
        known(name, study.headline, f"{where}: margins", "outcome of the headline")
        if not 0 < margin < 100:
            raise ConfigError(f"{where}: margins.{name}: points above 0, given {margin:g}")
    for row in study.disclosures:
        if isinstance(row, Disclosure):
            known(row.loss, study.losses, f"{where}: disclosures", "loss of this study")
            known(row.outcome, study.outcomes, f"{where}: disclosures", "outcome")


# ---------------------------------------------------------------------------------- what is varied


def check_design(settings: DesignSettings, losses: Collection[str], where: str) -> None:
    """The kind exists, and its sets are made of losses of the study."""
    known(settings.kind, DESIGNS, f"{where}: design.kind", "design")
    for names in settings.sets:
        for name in names:
            known(name, losses, f"{where}: design.sets", "loss of this study")


def check_idle(study: StudyConfig) -> None:
    """Refuse settings of other kinds of designs, which would change nothing.

    Asked of what is planned anew: a sweep that lies in its folder keeps what it was begun with.
    """
    design, row = study.design, DESIGNS[study.design.kind]
    for name, field in type(design).model_fields.items():
        value = getattr(design, name)
        if name in {*OF_EVERY_KIND, *row.reads} or value == field.get_default(
            call_default_factory=True
        ):
            continue
        able = [one.name for one in DESIGNS.values() if name in one.reads]
        raise ConfigError(
            f"{study.name}: design.{name}: {value} given, but design.kind '{design.kind}' does not "
            f"read it (it reads: {', '.join((*row.reads, 'sets'))}; kinds that read {name}: "
            f"{', '.join(able)})"
        )


def check_search(study: StudyConfig, where: str) -> None:
    """The space of a search is made of what the study has: losses, combiners, recipe, outcomes."""
    if study.design.kind != "search":
        return
    try:
        check_search_settings(study)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def check_withheld(study: StudyConfig, where: str) -> None:
    """All cells leave the same clips out of training."""
    try:
        withheld_share(study)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def check_seeds(seeds: Sequence[int], where: str) -> None:
    """At least one, each once."""
    if not seeds:
        raise ConfigError(f"{where}: seeds: at least one")
    if len(set(seeds)) != len(seeds):
        raise ConfigError(f"{where}: seeds: each once, given {list(seeds)}")


def check_stopping(study: StudyConfig, where: str) -> None:
    """Looks at seeds belong to designs that compare cells over seeds, and end at a declared one."""
    stopping = study.design.stopping
    if stopping is None:
        return
    row = DESIGNS[study.design.kind]
    if row.picked or row.trend:
        why = "chooses among its cells" if row.picked else "asks for a trend over loss sets"
        raise ConfigError(
            f"{where}: design.stopping: seeds are added to resolve comparisons of cells, and "
            f"design '{study.design.kind}' {why}; leave it out"
        )
    given = len(study.seeds) if isinstance(study.seeds, list) else study.seeds
    is_list = isinstance(study.seeds, list)
    if given > stopping.max_seeds or (is_list and given != stopping.max_seeds):
        raise ConfigError(
            f"{where}: seeds: {given} given, design.stopping.max_seeds is {stopping.max_seeds}: "
            + ("list all of them" if is_list else "its looks share one error, which is spent then")
        )


# -------------------------------------------------------------------------------- data and machines


def check_data(settings: DataSettings, where: str) -> None:
    """The reader has the given options, and a data set that is not made here lies in a folder."""
    try:
        given_options(settings)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None
    if not DATASETS[settings.dataset].embedded and settings.root is None:
        raise ConfigError(
            f"{where}: data.root: '{settings.dataset}' is not embedded; give its folder, "
            "such as data.root=/data/ssv2"
        )


def check_rules(resources: ResourceSettings, losses: Collection[str], where: str) -> None:
    """Rules name what exists, further resources no known one, and the budget what is used."""
    for number, one in enumerate(resources.rules):
        here = f"{where}: resources.rules.{number}.when"
        for name in one.when.losses:
            known(name, losses, f"{here}.losses", "loss of this study")
        if one.when.model is not None:
            model_row(one.when.model, f"{here}.model")
        if one.when.combiner is not None:
            known(one.when.combiner, COMBINERS, f"{here}.combiner", "combiner")
    for name in resources.custom:
        if name.lower() in {"cpu", "gpu", "memory", "object_store_memory"}:
            raise ConfigError(
                f"{where}: resources.custom.{name}: has a key of its own, such as cpus_per_trial"
            )
    if resources.budget is not None:
        check_budget(resources, f"{where}: resources.budget")


def check_budget(resources: ResourceSettings, where: str) -> None:
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


def check_ranks(
    resources: ResourceSettings,
    train: TrainSettings,
    combiners: Mapping[str, Mapping[str, Any] | None],
    where: str,
) -> None:
    """Ranks share a batch evenly and have a card each, whatever rule a trial falls under."""
    every = [ResourceRule(when=ResourceWhen()), *resources.rules]  # the first changes nothing
    for rule in every:
        workers = rule.workers_per_trial or resources.workers_per_trial
        gpus = rule.gpus_per_trial
        gpus = resources.gpus_per_trial if gpus is None else gpus
        if workers == 1:
            continue
        if train.batch % workers:
            raise ConfigError(
                f"{where}: resources.workers_per_trial: {workers} ranks cannot share train.batch "
                f"{train.batch} evenly; make the batch a multiple"
            )
        if gpus != "auto" and gpus % workers:
            raise ConfigError(
                f"{where}: resources.gpus_per_trial: {gpus:g} for {workers} ranks; each rank needs "
                "whole cards of its own: 0, or a multiple of resources.workers_per_trial"
            )
        if any((knobs or {}).get("method") == "double_backward" for knobs in combiners.values()):
            raise ConfigError(
                f"{where}: resources.workers_per_trial: the meta step's method double_backward is "
                "for one process; use jvp, loop or auto"
            )


# ------------------------------------------------------------------- what a task asks of a study


def check_task(study: StudyConfig, where: str) -> None:
    """The data and the model have what losses and task read; what is tested and told exists."""
    known(study.evaluate.task, (AUTO, *TASKS), f"{where}: evaluate.task", "task")
    task = task_of(study.evaluate, study.primary)
    _check_clips(study, task, where)
    missing = task.features - model_row(study.model.name, f"{where}: model.name").features
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
    """Classes, captions and more are there for those that learn or are tested by them."""
    dataset = DATASETS[study.data.dataset]
    have = dataset.clips_have
    words = {"labels": "classes"}
    trained = (study.primary, *study.losses)
    readers = {
        "labels": [name for name in trained if "labels" in LOSSES[name].needs],
        "captions": [name for name in trained if needs_captions([name])],
    }
    for kind in sorted(task.clips.union(readers) - have, reverse=True):
        wanting, what = readers.get(kind, []), words.get(kind, kind)
        if study.primary in wanting:
            other = "captions instead, such as primary=infonce" if kind == "labels" else "classes"
            raise ConfigError(
                f"{where}: primary: '{study.primary}' needs {what}, which the data set "
                f"'{dataset.name}' does not have; train by {other}"
            )
        if wanting:
            raise ConfigError(
                f"{where}: the losses {', '.join(wanting)} need {what}, which the data set "
                f"'{dataset.name}' does not have; remove them: losses.{wanting[0]}=null"
            )
        if kind in task.clips:
            able = [row.name for row in TASKS.values() if row.clips <= have]
            raise ConfigError(
                f"{where}: evaluate.task: '{dataset.name}' has no {what} to be tested by, "
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

"""Which loss sets become cells: a study's design spelled out as resolved trials.

A *cell* is a loss set under a combiner; every cell runs once per seed, and seed s fixes the
initialisation, the data order and the perturbation draws in every cell alike (common random
numbers), so cells are compared paired by seed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from losses.catalogue import LOSSES
from losses.combine.catalogue import COMBINERS, held_out
from models.catalogue import model as model_row
from models.weights import DIGITS, RANDOM, pinned
from sweep.cells.designs.catalogue import DESIGNS
from sweep.cells.designs.subsets import LossSet, label
from sweep.data.catalogue import given_options
from sweep.settings.losses import CombinerSettings, LossSettings, TrialLoss
from sweep.settings.section import ConfigError
from sweep.settings.trial import MAX_TRIAL_JSON_BYTES, TrialConfig

if TYPE_CHECKING:
    from sweep.settings.study import StudyConfig


def loss_sets(study: StudyConfig) -> dict[str, LossSet]:
    """Label -> loss set, anchors (`none`, `all`) first, each distinct set once.

    Raises:
        ConfigError: if the design does not fit the number of losses.
    """
    names = tuple(sorted(study.losses))
    design = study.design
    sets: dict[str, LossSet] = {"none": ()}
    if names:
        sets["all"] = names
    try:
        sets |= DESIGNS[design.kind].sets(names, design)
    except ValueError as error:
        raise ConfigError(f"design {design.kind}: {error}") from None
    for listed in design.sets:
        subset = tuple(sorted(set(listed)))
        sets.setdefault(label(subset), subset)
    distinct: dict[LossSet, str] = {}
    for name, subset in sets.items():
        distinct.setdefault(subset, name)
    return {name: subset for subset, name in distinct.items()}


def cells(study: StudyConfig, fingerprint: str = "") -> list[TrialConfig]:
    """Every planned cell, seed by seed; cells of equal content appear once.

    A design of kind `search` plans its anchors only: the rest is suggested while it runs.
    """
    planned: dict[str, TrialConfig] = {}
    several, sets = len(study.combiners) > 1, loss_sets(study)
    for seed in study.seed_list:
        for name, subset in sets.items():
            for combiner, knobs in study.combiners.items():
                trial = resolve(
                    study,
                    {loss: study.losses[loss] for loss in subset},
                    CombinerSettings(name=combiner, knobs=dict(knobs or {})),
                    label=f"{name} [{combiner}]" if several and subset else name,
                    seed=seed,
                    fingerprint=fingerprint,
                )
                planned.setdefault(trial.key, trial)
    return list(planned.values())


def withheld_share(study: StudyConfig) -> float:
    """Share of the labelled clips that every cell of a study leaves out of training.

    Raises:
        ConfigError: if combiners keep different shares out, or another one than the study says.
    """
    found = {"train": study.train.withheld_share} if study.train.withheld_share else {}
    for name, given in study.combiners.items():
        space = study.search.space if study.design.kind == "search" else {}
        tried = space.get(f"combiners.{name}.data")
        may = tried is not None and "holdout" in (tried.choices or ())
        changes = {"data": "holdout"} if may else {}
        if share := held_out(name, {**(given or {}), **changes}):
            found[f"combiners.{name}"] = share
    if len(set(found.values())) > 1:
        shown = ", ".join(f"{name} {share:g}" for name, share in found.items())
        raise ConfigError(
            f"holdout_share: one share for all cells of a study, which are compared on the same "
            f"training clips (given: {shown})"
        )
    return next(iter(found.values()), 0.0)


def resolve(
    study: StudyConfig,
    losses: dict[str, LossSettings],
    combiner: CombinerSettings,
    *,
    label: str,
    seed: int,
    fingerprint: str = "",
) -> TrialConfig:
    """One cell in normal form: equal content gives an equal key.

    Losses are sorted by name; a loss of weight 0 is absent; weights are 1 for a combiner that does
    not use them; without auxiliary losses there is nothing to combine; options of the reader at
    their defaults are absent. Labelled clips that one combiner of the study keeps out of training
    are left out by all cells.
    """
    chosen: dict[str, TrialLoss] = {}
    for name in sorted(losses):
        given = losses[name]
        weight = LOSSES[name].default_weight if given.weight is None else given.weight
        if weight > 0:
            if not COMBINERS[combiner.name].uses_weights:
                weight = 1.0
            knobs = {**LOSSES[name].knobs, **given.knobs}
            chosen[name] = TrialLoss(weight=float(f"{weight:.6g}"), knobs=knobs)
    combiner = combiner if chosen else CombinerSettings()
    # a combiner that judges by the clips that it keeps out says so by its own knobs
    judges = held_out(combiner.name, combiner.knobs)
    withheld = 0.0 if judges else withheld_share(study)
    trial = TrialConfig(
        study=study.name,
        label=label,
        primary=study.primary,
        losses=chosen,
        combiner=combiner,
        model=study.model.model_copy(update={"weights": _pinned(study)}),
        data=study.data.model_copy(update={"options": given_options(study.data)}),
        fingerprint=fingerprint,
        train=study.train.model_copy(update={"withheld_share": withheld}),
        evaluate=study.evaluate,
        seed=seed,
    )
    size = len(trial.model_dump_json())
    if size > MAX_TRIAL_JSON_BYTES:
        raise ConfigError(
            f"a trial of '{study.name}' has {size} bytes of config (limit {MAX_TRIAL_JSON_BYTES}): "
            "put data into files"
        )
    return trial


def _pinned(study: StudyConfig) -> str:
    """The weights with the digest of their file, so that a key stands for what is loaded."""
    try:
        row = model_row(study.model.name)
        found = pinned(row.weights, study.model.weights)
        if found == RANDOM and ":" in study.model.name:  # drawn in the sizes that its folder tells
            told = json.dumps([row.sizes, asdict(row.clip)], sort_keys=True).encode()
            return f"{RANDOM}#{hashlib.sha256(told).hexdigest()[:DIGITS]}"
        return found
    except (OSError, ValueError) as error:
        raise ConfigError(f"model.weights: {error}") from None

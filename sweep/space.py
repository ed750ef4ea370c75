"""The search space of `design.kind: search`: loss membership, weights and combiner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sweep.config import CombinerSettings, LossSettings, StudyConfig, TrialConfig
from sweep.design import resolve as resolve_trial

if TYPE_CHECKING:
    import optuna


def define(study: StudyConfig) -> Callable[[optuna.trial.Trial], dict[str, Any]]:
    """Define-by-run space: a weight exists only for a loss that is on and only under `static`.

    Parameter names carry no `/`, which Ray Tune would read as nesting.
    """
    names = sorted(study.losses)
    combiners = sorted(study.combiners)
    low, high = study.search.weight_range

    def space(trial: optuna.trial.Trial) -> dict[str, Any]:
        combiner = combiners[0]
        if len(combiners) > 1:
            combiner = trial.suggest_categorical("combiner", combiners)
        chosen = [n for n in names if trial.suggest_categorical(f"use_{n}", [True, False])]
        if combiner == "static":
            for name in chosen:
                trial.suggest_float(f"w_{name}", low, high, log=True)
        return {}

    return space


def resolve(
    study: StudyConfig, params: Mapping[str, Any], *, seed: int, fingerprint: str = ""
) -> TrialConfig:
    """The trial that a suggestion stands for.

    With ``search.max_losses`` the losses of the largest weights (then by name) are kept, so that
    every suggestion is feasible and none has to be thrown away.
    """
    combiner = params.get("combiner", sorted(study.combiners)[0])
    chosen = {
        name: LossSettings(
            weight=params.get(f"w_{name}"),
            knobs=study.losses[name].knobs,
        )
        for name in sorted(study.losses)
        if params.get(f"use_{name}")
    }
    if study.search.max_losses is not None:
        ranked = sorted(chosen, key=lambda name: (-(chosen[name].weight or 1.0), name))
        chosen = {name: chosen[name] for name in ranked[: study.search.max_losses]}
    label = "+".join(sorted(chosen)) or "none"
    if len(study.combiners) > 1 and chosen:
        label += f" [{combiner}]"
    return resolve_trial(
        study,
        chosen,
        CombinerSettings(name=combiner, knobs=dict(study.combiners[combiner] or {})),
        label=label,
        seed=seed,
        fingerprint=fingerprint,
    )

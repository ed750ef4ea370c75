"""The search space of `design.kind: search`: membership, weights, knobs, combiner and recipe."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from losses.combine.catalogue import COMBINERS
from sweep.cells.resolve import resolve as resolve_trial
from sweep.cells.search.dimensions import Dimension, dimensions, with_train
from sweep.settings.losses import CombinerSettings, LossSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    import optuna

    from sweep.settings.study import StudyConfig
    from sweep.settings.trial import TrialConfig


class Space:
    """Define-by-run space: a dimension exists only where its loss and combiner are on.

    Weights of ``search.weight_range`` exist under `static` alone. Parameter names carry no `/`,
    which Ray Tune would read as nesting.
    """

    def __init__(self, study: StudyConfig) -> None:
        self._study = study
        self._names = sorted(study.losses)
        self._combiners = sorted(study.combiners)
        self._dimensions = dimensions(study)

    def suggest(self, trial: optuna.trial.Trial) -> None:
        """Draw everything that the trial needs."""
        combiner = self._combiners[0]
        if len(self._combiners) > 1:
            combiner = trial.suggest_categorical("combiner", self._combiners)
        chosen = self._suggest_members(trial)
        weighed = COMBINERS[combiner].uses_weights
        own = {d.owner for d in self._dimensions if d.part == "losses" and d.knob == "weight"}
        weights = self._study.search.weight_range
        if combiner == "static" and weights is not None:
            for name in chosen:
                if name not in own:
                    trial.suggest_float(f"w_{name}", *weights, log=True)
        for d in self._dimensions:
            if d.part == "losses":
                exists = d.owner in chosen and (weighed or d.knob != "weight")
            elif d.part == "combiners":
                exists = d.owner == combiner and bool(chosen)
            else:
                exists = True
            if exists:
                _suggest(trial, d)

    def resolve(
        self, params: Mapping[str, Any], *, seed: int, fingerprint: str = ""
    ) -> TrialConfig:
        """The trial that a suggestion stands for.

        With ``search.max_losses`` the losses of the largest weights (then by name) are kept, so
        that every suggestion is feasible and none has to be thrown away.
        """
        study = self._study
        combiner = params.get("combiner", self._combiners[0])
        settings: dict[str, dict[str, Any]] = {}
        recipe: dict[str, Any] = {}
        combiner_knobs = dict(study.combiners[combiner] or {})
        for d in self._dimensions:
            if d.path not in params:
                continue
            value = _rounded(params[d.path])
            if d.part == "train":
                recipe[d.knob] = value
            elif d.part == "combiners":
                combiner_knobs[d.knob] = value
            else:
                settings.setdefault(d.owner, {})[d.knob] = value
        chosen = {}
        for name in self._members(params):
            own, given = settings.get(name, {}), study.losses[name]
            weight = own.pop("weight", params.get(f"w_{name}", given.weight))
            chosen[name] = LossSettings(weight=weight, knobs={**given.knobs, **own})
        if study.search.max_losses is not None:
            ranked = sorted(chosen, key=lambda name: (-(chosen[name].weight or 1.0), name))
            chosen = {name: chosen[name] for name in ranked[: study.search.max_losses]}
        label = "+".join(sorted(chosen)) or "none"
        if len(self._combiners) > 1 and chosen:
            label += f" [{combiner}]"
        return resolve_trial(
            with_train(study, recipe) if recipe else study,
            chosen,
            CombinerSettings(name=combiner, knobs=combiner_knobs),
            label=label,
            seed=seed,
            fingerprint=fingerprint,
        )

    def _suggest_members(self, trial: optuna.trial.Trial) -> list[str]:
        """Which losses are on: each by itself, or first how many and then which."""
        names, settings = self._names, self._study.search
        if settings.membership == "binary":
            for name in names:
                trial.suggest_categorical(f"use_{name}", [True, False])
        elif settings.membership == "size":
            limit = len(names) if settings.max_losses is None else settings.max_losses
            size = trial.suggest_int("size", 0, min(limit, len(names)))
            subsets = ["+".join(subset) for subset in itertools.combinations(names, size)]
            if len(subsets) > 1:
                trial.suggest_categorical(f"subset_{size}", subsets)
        return self._members(trial.params)

    def _members(self, params: Mapping[str, Any]) -> list[str]:
        if self._study.search.membership == "fixed":
            return self._names
        if self._study.search.membership == "binary":
            return [name for name in self._names if params.get(f"use_{name}")]
        size = params["size"]
        subset = params.get(f"subset_{size}")
        return self._names[:size] if subset is None else str(subset).split("+")


def _suggest(trial: optuna.trial.Trial, d: Dimension) -> None:
    if d.choices is not None:
        trial.suggest_categorical(d.path, d.choices)
        return
    assert d.low is not None
    assert d.high is not None
    if d.integer:
        step = int(d.step or 1)
        trial.suggest_int(d.path, int(d.low), int(d.high), step=step, log=d.log)
    else:
        trial.suggest_float(d.path, d.low, d.high, step=d.step, log=d.log)


def _rounded(value: Any) -> Any:
    """Six significant digits, so that equal settings have equal keys."""
    return float(f"{value:.6g}") if isinstance(value, float) else value

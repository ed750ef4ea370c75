"""Which dimensions of a search mattered: PED-ANOVA within the trials that have the dimension.

PED-ANOVA (Watanabe et al., arXiv:2304.10255; in Optuna) asks how far the values of the best trials
of a region are from those of all its trials. A dimension that exists in some trials only (a knob of
a loss that may be off) is judged among these, or its importance would be that of being there,
for which the dimension that switches it on stands. With few trials the divergence of an inert
dimension is far from 0, so what chance gives, by permuting the values of the trials, is taken off.
Exploratory all the same: a sampler that learns does not draw dimensions independently.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.importance import PedAnovaImportanceEvaluator

from sweep.cells.search.space import Space

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna.distributions import BaseDistribution

    from sweep.settings.study import StudyConfig

#: Trials of a branch below which nothing is said of its dimensions.
FEWEST_TRIALS = 20
#: Share of the trials that count as the best ones.
BEST = 0.25
PERMUTATIONS = 99


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """What a dimension mattered.

    Attributes:
        name: Of Optuna's parameter.
        excess: Its divergence less the mean of what chance gives, at least 0; comparable between
            dimensions of one branch.
        p: Share of permutations that give as much (with itself as one of them).
        trials: That have the dimension.
    """

    name: str
    excess: float
    p: float
    trials: int


def distributions_of(study: StudyConfig, params: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """The distributions of a suggestion, from its parameters.

    Raises:
        ValueError: if they are not of the study's space.
    """
    trial = optuna.trial.FixedTrial(dict(params))
    Space(study).suggest(trial)  # type: ignore[arg-type]
    return dict(trial.distributions)


def importances(
    trials: Sequence[Mapping[str, Any]],
    distributions: Sequence[Mapping[str, BaseDistribution]],
    values: Sequence[float],
    *,
    seed: int = 0,
    permutations: int = PERMUTATIONS,
) -> list[Importance]:
    """Importance of every dimension that enough trials have, the largest first.

    Args:
        trials: Parameters of whole trials.
        distributions: Of the same.
        values: Of the same, one objective, more is better, finite.
        seed: Of the permutations.
        permutations: How many; p is one part of these at the least.
    """
    branches: dict[tuple[int, ...], list[str]] = {}
    for name in sorted({name for params in trials for name in params}):
        having = tuple(i for i, params in enumerate(trials) if name in params)
        if len(having) >= FEWEST_TRIALS and len({trials[i][name] for i in having}) > 1:
            branches.setdefault(having, []).append(name)
    found: list[Importance] = []
    for having, names in branches.items():
        mine = np.array([values[i] for i in having], dtype=float)
        found += _within(
            names,
            [trials[i] for i in having],
            [distributions[i] for i in having],
            mine,
            np.random.default_rng(seed),
            permutations,
        )
    return sorted(found, key=lambda one: (-one.excess, one.name))


def _within(
    names: Sequence[str],
    trials: Sequence[Mapping[str, Any]],
    distributions: Sequence[Mapping[str, BaseDistribution]],
    values: np.ndarray,
    rng: np.random.Generator,
    permutations: int,
) -> list[Importance]:
    """Dimensions that all of these trials have."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="minimize")  # as the evaluator takes its target
    for params, spread in zip(trials, distributions, strict=True):
        study.add_trial(
            optuna.trial.create_trial(
                params={name: params[name] for name in names},
                distributions={name: spread[name] for name in names},
                value=0.0,
            )
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        evaluator = PedAnovaImportanceEvaluator(target_quantile=BEST)

    def measured(told: np.ndarray) -> list[float]:
        with warnings.catch_warnings():  # it says that less is better, which is why we turn it
            warnings.simplefilter("ignore", UserWarning)
            given = evaluator.evaluate(
                study, list(names), target=lambda trial: -float(told[trial.number])
            )
        # Optuna gives the divergence times the square of the share
        return [given[name] / BEST**2 for name in names]

    own = measured(values)
    chance = np.array([measured(rng.permutation(values)) for _ in range(permutations)])
    return [
        Importance(
            name=name,
            excess=max(0.0, own[i] - float(chance[:, i].mean())),
            p=(1 + int((chance[:, i] >= own[i]).sum())) / (1 + permutations),
            trials=len(trials),
        )
        for i, name in enumerate(names)
    ]

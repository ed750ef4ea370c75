"""Optuna's samplers by the names that a study uses."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import optuna
from optuna import samplers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sweep.settings.study import StudyConfig


class BruteForce(samplers.BruteForceSampler):
    """Optuna's, which ends a study by an exception when it has seen everything: here by a flag."""

    exhausted = False

    def after_trial(self, *args: Any, **kwargs: Any) -> None:
        """See Optuna; `Study.stop` outside of `optimize` is an error."""
        try:
            super().after_trial(*args, **kwargs)
        except RuntimeError:
            self.exhausted = True


def start_up_trials(study: StudyConfig) -> int:
    """Random trials before a model-based sampler begins to learn."""
    return max(10, 2 * len(study.losses))


def sampler(study: StudyConfig) -> samplers.BaseSampler:
    """The sampler that the study names, seeded.

    TPE counts running trials as bad ones (constant liar), so that suggestions made ahead differ
    from those at work.
    """
    seed = study.search.seed
    start = start_up_trials(study)
    makers: Mapping[str, Callable[[], samplers.BaseSampler]] = {
        "tpe": lambda: samplers.TPESampler(seed=seed, n_startup_trials=start),
        "tpe_group": lambda: samplers.TPESampler(
            seed=seed, n_startup_trials=start, multivariate=True, group=True
        ),
        "tpe_independent": lambda: samplers.TPESampler(
            seed=seed, n_startup_trials=start, multivariate=False
        ),
        "random": lambda: samplers.RandomSampler(seed=seed),
        "gp": lambda: samplers.GPSampler(
            seed=seed, n_startup_trials=start, deterministic_objective=False
        ),
        "nsga2": lambda: samplers.NSGAIISampler(seed=seed),
        "nsga3": lambda: samplers.NSGAIIISampler(seed=seed),
        "cmaes": lambda: samplers.CmaEsSampler(seed=seed, n_startup_trials=start),
        "qmc": lambda: samplers.QMCSampler(seed=seed, scramble=True),
        "brute_force": lambda: BruteForce(seed=seed),
    }
    with warnings.catch_warnings():  # some are marked as experimental
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return makers[study.search.sampler]()


def pruner(study: StudyConfig) -> optuna.pruners.BasePruner:
    """ASHA over training steps, or none."""
    settings = study.search
    if not settings.early_stopping:
        return optuna.pruners.NopPruner()
    return optuna.pruners.SuccessiveHalvingPruner(
        min_resource=first_rung(study), reduction_factor=settings.reduction
    )


def first_rung(study: StudyConfig) -> int:
    """Steps that every trial gets."""
    return max(1, math.ceil(study.search.grace * study.train.steps))

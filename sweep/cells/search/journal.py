"""``optuna.log`` of a sweep: the search as Optuna's journal, for optuna-dashboard.

A copy for other programs, written as the ledger grows. The search itself never reads it.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sweep.settings.study import StudyConfig

FILE = "optuna.log"


class Journal:
    """The suggestions of a search, in the order of the ledger, each once."""

    def __init__(self, study: StudyConfig, sweep: Path) -> None:
        names = study.search.objectives
        self._storage = JournalStorage(JournalFileBackend(str(sweep / FILE)))
        stored = optuna.create_study(
            storage=self._storage,
            study_name=study.name,
            directions=["minimize" if n.startswith("-") else "maximize" for n in names],
            load_if_exists=True,
        )
        if not stored.metric_names:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                stored.set_metric_names([name.removeprefix("-") for name in names])
        self._study_id = self._storage.get_study_id_from_name(study.name)
        known = self._storage.get_all_trials(self._study_id, deepcopy=False)
        self._ids = [trial._trial_id for trial in known]
        self._finished = [trial.state.is_finished() for trial in known]
        self._settled = 0

    def sync(self, trials: Sequence[optuna.trial.FrozenTrial]) -> None:
        """Add what is new and end what has ended.

        Args:
            trials: All suggestions so far; the first ones are those of the call before.
        """
        for i in range(self._settled, len(trials)):
            trial = trials[i]
            if i >= len(self._ids):
                self._ids.append(self._storage.create_new_trial(self._study_id, trial))
                self._finished.append(trial.state.is_finished())
            elif not self._finished[i] and trial.state.is_finished():
                self._end(self._ids[i], trial)
                self._finished[i] = True
        while self._settled < len(trials) and self._finished[self._settled]:
            self._settled += 1

    def _end(self, trial_id: int, trial: optuna.trial.FrozenTrial) -> None:
        for step, value in trial.intermediate_values.items():
            self._storage.set_trial_intermediate_value(trial_id, step, value)
        for name, value in trial.system_attrs.items():
            self._storage.set_trial_system_attr(trial_id, name, value)
        self._storage.set_trial_state_values(trial_id, trial.state, trial.values)

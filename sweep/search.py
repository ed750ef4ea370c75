"""The suggestions of `design.kind: search`: Optuna's ask and tell, with the ledger as the truth.

Both engines use this one class, so a search is the same with and without Ray. The Optuna study
lives in memory. It is rebuilt on resume by playing the ledger back in order - ask where it says
`suggested`, tell where a cell ended - which brings the sampler to the very state it had when the
driver died: nothing is evaluated twice and the next suggestion is the one that would have come.

Early stopping is asynchronous successive halving (Li et al., arXiv:1810.05934) on the clean
validation accuracy, by Optuna's pruner. A stopped trial is told as pruned: its last validation
accuracy is another quantity than the objective and never enters as a value.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import optuna

from sweep.record import TrialRecord, outcome, read_history
from sweep.space import define, resolve

if TYPE_CHECKING:
    from sweep.config import StudyConfig, TrialConfig
    from sweep.ledger import Ledger

State = optuna.trial.TrialState


class Search:
    """Suggests cells, learns from their records, says when to stop one early."""

    def __init__(
        self,
        study: StudyConfig,
        ledger: Ledger,
        *,
        fingerprint: str = "",
        elsewhere: frozenset[str] = frozenset(),
    ) -> None:
        """Rebuild the search from the ledger.

        Args:
            study: With its `search` section.
            ledger: Of the sweep folder.
            fingerprint: Of the data set.
            elsewhere: Cells that run anyway (the anchors of the design); a suggestion equal to
                one of them waits for its result.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.settings = study.search
        self.ledger = ledger
        self.asked = 0
        self.configs: dict[str, TrialConfig] = {}
        self.reused = 0
        self._study = study
        self._fingerprint = fingerprint
        self._space = define(study)
        self._optuna = optuna.create_study(
            direction="maximize", sampler=self._sampler(), pruner=self._pruner()
        )
        self._open: dict[str, list[optuna.trial.Trial]] = defaultdict(list)
        self._observed: dict[str, set[int]] = defaultdict(set)
        self._elsewhere = set(elsewhere)
        self._again: list[str] = []
        self._replay(ledger.events())

    def _sampler(self) -> optuna.samplers.BaseSampler:
        if self.settings.sampler == "random":
            return optuna.samplers.RandomSampler(seed=self.settings.seed)
        start = max(10, 2 * len(self._study.losses))
        return optuna.samplers.TPESampler(seed=self.settings.seed, n_startup_trials=start)

    def _pruner(self) -> optuna.pruners.BasePruner:
        if not self.settings.early_stopping:
            return optuna.pruners.NopPruner()
        grace = max(1, math.ceil(self.settings.grace * self._study.train.steps))
        return optuna.pruners.SuccessiveHalvingPruner(
            min_resource=grace, reduction_factor=self.settings.reduction
        )

    # ------------------------------------------------------------------------------- ask and tell

    def next(self) -> TrialConfig | None:
        """The next cell to run; None when all trials of the search have been suggested.

        A suggestion whose cell is known already is answered from the ledger instead.
        """
        if self._again:  # suggested before the last driver died, never finished
            return self.configs[self._again.pop(0)]
        while self.asked < self.settings.trials:
            trial, config = self._ask()
            known = self.ledger.result(config.key)
            stopped = self.ledger.stopped().get(config.key) if known is None else None
            duplicate = (
                known is not None
                or stopped is not None
                or config.key in self._open
                or config.key in self._elsewhere
            )
            event = {"event": "suggested", "key": config.key, "number": trial.number}
            self.ledger.append({**event, "params": trial.params, "label": config.label})
            self.configs.setdefault(config.key, config)
            self._open[config.key].append(trial)
            if not duplicate:
                return config
            self.reused += 1
            self.ledger.append({"event": "reused", "key": config.key, "number": trial.number})
            if known is not None:
                self.finished(known)
            elif stopped is not None:
                self.stopped(config.key, stopped)
        return None

    def rows(self, key: str, rows: Iterable[Mapping[str, Any]]) -> bool:
        """Take in validations of a running cell; True if it is to be stopped."""
        return self._observe(key, rows)

    def finished(self, record: TrialRecord) -> None:
        """Tell the outcome of a record; a failed or unmeasured one counts as failed."""
        self._elsewhere.discard(record.key)
        value = outcome(record, self._study.outcomes[self.settings.objective])
        for trial in self._open.pop(record.key, []):
            if record.status == "failed" or math.isnan(value):
                self._optuna.tell(trial, state=State.FAIL)
            else:
                self._optuna.tell(trial, value)

    def stopped(self, key: str, event: Mapping[str, Any]) -> None:
        """Tell that early stopping ended a cell."""
        self._observe(key, [event])
        for trial in self._open.pop(key, []):
            self._optuna.tell(trial, state=State.PRUNED)

    @property
    def left(self) -> int:
        """Suggestions still to come."""
        return self.settings.trials - self.asked

    @property
    def ended(self) -> set[str]:
        """Suggested cells that wait for nothing."""
        return set(self.configs) - set(self._open)

    @property
    def trials(self) -> list[optuna.trial.FrozenTrial]:
        """All suggestions so far, as Optuna sees them."""
        return self._optuna.get_trials(deepcopy=False)

    def _ask(self) -> tuple[optuna.trial.Trial, TrialConfig]:
        trial = self._optuna.ask()
        self.asked += 1
        constants = self._space(trial)
        config = resolve(
            self._study,
            {**trial.params, **constants},
            seed=self._study.seed_list[0],
            fingerprint=self._fingerprint,
        )
        return trial, config

    def _observe(self, key: str, rows: Iterable[Mapping[str, Any]]) -> bool:
        stop = False
        for row in rows:
            accuracy, step = row.get("clean_accuracy"), row.get("step")
            if accuracy is None or step is None or step in self._observed[key]:
                continue
            if not math.isfinite(accuracy):
                continue
            self._observed[key].add(step)
            for trial in self._open.get(key, []):
                trial.report(accuracy, step)
                stop = trial.should_prune() or stop
        return stop

    # -------------------------------------------------------------------------------------- resume

    def _replay(self, events: list[dict[str, Any]]) -> None:
        """Bring sampler and pruner to the state that the events tell of."""
        ended: dict[str, dict[str, Any]] = {}
        diverged = False
        for event in events:
            key = event.get("key", "")
            if event["event"] == "suggested":
                diverged = self._suggest_again(event, diverged=diverged)
            elif event["event"] in {"finished", "failed", "stopped"} or "origin" in event:
                ended[key] = event
                self._end_again(event)
            elif event["event"] == "reused" and key in ended:
                self._end_again(ended[key])
        for key in list(self._open):  # the driver died between a cell's files and its event
            self._end_again({"event": "finished", "key": key})
        self._again = [k for k in self.configs if k in self._open and k not in self._elsewhere]

    def _suggest_again(self, event: Mapping[str, Any], *, diverged: bool) -> bool:
        """Repeat a suggestion; with another sampler or version, force its parameters."""
        if diverged:
            self._optuna.enqueue_trial(event["params"])
        trial, config = self._ask()
        if config.key != event["key"] and not diverged:
            self._optuna.tell(trial, state=State.FAIL)
            self.asked -= 1
            return self._suggest_again(event, diverged=True)
        self.configs.setdefault(config.key, config)
        self._open[config.key].append(trial)
        return diverged

    def _end_again(self, event: Mapping[str, Any]) -> None:
        key = event["key"]
        if key not in self._open:
            return
        if event["event"] == "stopped":
            self.stopped(key, event)
        elif event["event"] == "failed":
            for trial in self._open.pop(key):
                self._optuna.tell(trial, state=State.FAIL)
        else:
            record = self.ledger.result(key)
            if record is not None:  # a damaged one runs again
                self._observe(key, read_history(self.ledger.cell(key)))
                self.finished(record)

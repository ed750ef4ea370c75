"""The suggestions of `design.kind: search`: Optuna's ask and tell, with the ledger as the truth.

Both engines use this one class, so a search is the same with and without Ray. The Optuna study
lives in memory. It is rebuilt on resume by playing the ledger back in order - ask where it says
`suggested`, tell where a cell ended - which brings the sampler to the very state it had when the
driver died: nothing is evaluated twice and the next suggestion is the one that would have come.

What is maximised or bounded is measured on validation clips, unless the study says
`search.objective_on: test`: no number of a test decides which configuration is tried or kept.

Early stopping is asynchronous successive halving (Li et al., arXiv:1810.05934) on the clean
validation accuracy, by Optuna's pruner, of the first seed of a proposal; with several objectives it
is by all of them, as ``halving`` says. A stopped trial is told
as pruned: its last validation accuracy is another quantity than the objective and never enters as a
value. So is a proposal that a race over seeds has dropped, and a suggestion that breaks a
constraint which is known beforehand (a bound on the loss set), which never runs.

When all trials have ended, the search goes on with what ``promotion`` names: the best at full
fidelity, then the winners with fresh seeds.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Literal

import optuna

from sweep.cells.search import promotion
from sweep.cells.search.dimensions import CLIPS
from sweep.cells.search.halving import FrontHalving
from sweep.cells.search.journal import Journal
from sweep.cells.search.proposals import Proposals
from sweep.cells.search.quantities import (
    Measured,
    at_a_rung,
    known_before,
    measure,
    violation,
)
from sweep.cells.search.samplers import BruteForce, first_rung, pruner, sampler
from sweep.cells.search.space import Space
from sweep.records.files import read_history, validated_of, validation_of
from sweep.records.outcomes import Outcomes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sweep.records.ledger import Ledger
    from sweep.records.record import TrialRecord
    from sweep.settings.study import StudyConfig
    from sweep.settings.trial import TrialConfig

State = optuna.trial.TrialState
Stage = Literal["final", "confirm"]
#: So many suggestions per trial may break a constraint beforehand; then the search ends.
REFUSED_PER_TRIAL = 20


class Search:
    """Suggests cells, learns from their records, says when to stop one early."""

    def __init__(
        self,
        study: StudyConfig,
        ledger: Ledger,
        *,
        fingerprint: str = "",
        anchors: Sequence[TrialConfig] = (),
        elsewhere: frozenset[str] = frozenset(),
    ) -> None:
        """Rebuild the search from the ledger.

        Args:
            study: With its `search` section.
            ledger: Of the sweep folder.
            fingerprint: Of the data set.
            anchors: Cells of the design: they never stop early, and are promoted with the best.
            elsewhere: Those of them that still have to run; a suggestion equal to one waits for
                its result.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.settings = study.search
        self.ledger = ledger
        self.asked = 0
        self.refused = 0
        self.configs: dict[str, TrialConfig] = {}
        self.promoted: dict[Stage, dict[str, TrialConfig]] = {}
        self.trained_by: dict[str, str] = {}
        self.reused = 0
        self._settled: dict[Stage, int] = {"final": -1, "confirm": -1}
        self._study = study
        self._fingerprint = fingerprint
        self._space = Space(study)
        self._sampler = sampler(study)
        self._signs = [-1 if name.startswith("-") else 1 for name in self.settings.objectives]
        self._optuna = optuna.create_study(
            directions=["minimize" if sign < 0 else "maximize" for sign in self._signs],
            sampler=self._sampler,
            pruner=pruner(study),
        )
        self._halving = FrontHalving(first_rung(study), self.settings.reduction)
        # by test clips nothing is stopped: then there is one quantity, with a study of its own
        self._races = optuna.create_study(direction="maximize", pruner=pruner(study))
        self._race: dict[str, optuna.trial.Trial] = {}
        self._proposals = Proposals(
            study.seed_list[: self.settings.seeds],
            races=self.settings.race,
            waits=bool(self.settings.early_stopping),
        )
        self._open: dict[str, list[optuna.trial.Trial]] = defaultdict(list)
        self._observed: dict[str, set[int]] = defaultdict(set)
        self._anchors = {config.key: config for config in anchors}
        self._elsewhere = set(elsewhere)
        self._again: list[str] = []
        self._dropped: dict[str, dict[str, Any]] = {}
        self._is_live = False  # the ledger is played back first
        self._stopped: dict[str, Mapping[str, Any]] = {}
        self._candidates: dict[str, promotion.Candidate] = {}
        self._queue: list[TrialConfig] = []
        self._running: set[str] = set()
        self._journal: Journal | None = None
        self._numbers: list[int] = []  # of Optuna's trials, in the order of the ledger
        self._replay(ledger.events())
        self._journal = Journal(study, ledger.sweep) if self.settings.journal else None
        self._note()

    # ------------------------------------------------------------------------------- ask and tell

    def next(self) -> TrialConfig | None:
        """The next cell to run; None if there is none now (see ``is_over``).

        A suggestion whose cell is known already is answered from the ledger instead.
        """
        if self._again:  # suggested before the last driver died, never finished
            return self._handed(self.configs[self._again.pop(0)])
        if (cell := self._next_seed()) is not None:
            return cell
        while self.left:
            trial, config = self._ask()
            if self._refuse(trial, config):
                continue
            known = self.ledger.result(config.key)
            stopped = self._stopped.get(config.key) if known is None else None
            duplicate = (
                known is not None
                or stopped is not None
                or config.key in self._open
                or config.key in self._elsewhere
            )
            event = {"event": "suggested", "key": config.key, "number": trial.number}
            self.ledger.append({**event, "params": trial.params, "label": config.label})
            self._accept(trial, config)
            if not duplicate:
                return self._handed(config)
            self.reused += 1
            self.ledger.append({"event": "reused", "key": config.key, "number": trial.number})
            if known is not None:
                self.finished(known)
            elif stopped is not None:
                self.stopped(config.key, stopped)
        return self._next_seed() or self._next_promoted()

    def _handed(self, config: TrialConfig) -> TrialConfig:
        self._proposals.handed(config.key)
        return config

    def _next_seed(self) -> TrialConfig | None:
        """A further seed of an open proposal; one whose result is known is taken, and not run."""
        while True:
            cell = self._proposals.next_cell(self._open, self._elsewhere)
            if cell is None:
                return None
            self._handed(cell)
            self.configs.setdefault(cell.key, cell)
            known = self.ledger.result(cell.key)
            if known is None:
                return cell
            event = {"event": "reused", "key": cell.key, "proposal": self._proposals.name(cell.key)}
            self.ledger.append(event)
            self.finished(known)

    def rows(self, key: str, rows: Iterable[Mapping[str, Any]]) -> bool:
        """Take in validations of a running cell; True if it is to be stopped."""
        return self._observe(key, rows) and key not in self._anchors

    def finished(self, record: TrialRecord) -> None:
        """Take in a record; a proposal is told once all its seeds have ended.

        A failed or unmeasured seed means that the proposal has failed.
        """
        self._elsewhere.discard(record.key)
        self._running.discard(record.key)
        name = self._proposals.name(record.key)
        if name is None or name not in self._open:
            return
        self.configs.setdefault(record.key, self._proposals.cell(record.key))
        found = self._candidate(record)
        if found is None:
            self._close(name, state=State.FAIL)
            return
        bounded = [one.value for one in self._measure(record, self.settings.constraints)]
        self._proposals.ended(record.key, record.seed, found.values, bounded)
        if self._proposals.is_whole(name):
            self._whole(name)
        elif name in self._dropped:
            self._close(name, state=State.PRUNED)
        elif (best := self._proposals.better(name, self._candidates.values())) is not None:
            event = {"event": "dropped", "key": name, "against": best, "last": record.key}
            self._dropped[name] = {**event, "label": record.label, "seed": record.seed}
            if self._is_live:
                self.ledger.append(self._dropped[name])
            self._close(name, state=State.PRUNED)

    def _whole(self, name: str) -> None:
        """Tell a proposal by the means over its seeds."""
        found = self._proposals.candidate(name)
        broken = self._violations(self._proposals.bounded(name))
        if all(value <= 0 for value in broken.values()):
            self._candidates.setdefault(name, found)
        values = [sign * v.value for sign, v in zip(self._signs, found.values, strict=True)]
        for trial in self._open[name]:
            for bound, value in broken.items():
                trial.set_constraint(bound, value)
        self._close(name, values=values)

    def _close(self, name: str, **result: Any) -> None:
        for trial in self._open.pop(name):
            self._tell(trial, **result)

    def _candidate(self, record: TrialRecord) -> promotion.Candidate | None:
        """What a record says about the objectives; None if it failed or lacks a quantity."""
        if record.status == "failed":
            return None
        values = self._measure(record, self.settings.objectives)
        bounded = self._measure(record, self.settings.constraints)
        if any(math.isnan(found.value) for found in (*values, *bounded)):
            return None
        turned = tuple(_turned(s, v) for s, v in zip(self._signs, values, strict=True))
        return promotion.Candidate(record.key, turned)

    def stopped(self, key: str, event: Mapping[str, Any]) -> None:
        """Tell that early stopping ended a cell."""
        self._stopped[key] = event
        self._observe(key, [event])
        if key in self._open:
            self._close(key, state=State.PRUNED)

    @property
    def left(self) -> int:
        """Suggestions still to come."""
        if isinstance(self._sampler, BruteForce) and self._sampler.exhausted:
            return 0
        if self.refused >= REFUSED_PER_TRIAL * self.settings.trials:
            return 0
        return self.settings.trials - self.asked

    @property
    def is_over(self) -> bool:
        """Whether no cell will come any more, whatever those at work bring."""
        waits = self.left or self._again or self._open or self._elsewhere
        return not (waits or self._queue or self._running or self._stage_to_come())

    @property
    def ended(self) -> set[str]:
        """Suggested cells that wait for nothing."""
        return set(self.configs) - set(self._open)

    @property
    def trials(self) -> list[optuna.trial.FrozenTrial]:
        """All suggestions so far, as Optuna sees them."""
        return self._optuna.get_trials(deepcopy=False)

    def stage(self, key: str) -> str:
        """What a cell of the plan is there for: `anchor`, `search`, `final` or `confirm`."""
        for stage, cells in self.promoted.items():
            if key in cells:
                return stage
        return "search" if key in self.configs and key not in self._anchors else "anchor"

    def _ask(self) -> tuple[optuna.trial.Trial, TrialConfig]:
        trial = self._optuna.ask()
        self._space.suggest(trial)
        config = self._space.resolve(
            trial.params, seed=self._study.seed_list[0], fingerprint=self._fingerprint
        )
        return trial, config

    def _accept(self, trial: optuna.trial.Trial, config: TrialConfig) -> None:
        self.asked += 1
        self.configs.setdefault(config.key, config)
        self._proposals.add(config)
        self._open[config.key].append(trial)
        self._numbers.append(trial.number)
        trial.set_user_attr("cell", config.key)
        trial.set_user_attr("label", config.label)
        self._note()

    def _tell(self, trial: optuna.trial.Trial, **result: Any) -> None:
        self._optuna.tell(trial, **result)
        self._note()

    def _note(self) -> None:
        """Bring the journal up to date, where one is kept."""
        if self._journal is not None:
            trials = self.trials
            self._journal.sync([trials[number] for number in self._numbers])

    # -------------------------------------------------------------------------------- constraints

    def _refuse(self, trial: optuna.trial.Trial, config: TrialConfig) -> bool:
        """Tell a suggestion that breaks a constraint for certain, without a run."""
        broken = self._broken_before(config)
        if not broken:
            return False
        event = {"event": "refused", "key": config.key, "number": trial.number}
        self.ledger.append(
            {**event, "params": trial.params, "label": config.label, "broken": broken}
        )
        self._tell_refused(trial, broken)
        return True

    def _broken_before(self, config: TrialConfig) -> dict[str, float]:
        """Constraint -> how far it is broken, as far as that needs no run."""
        found = {}
        for name, bounds in self.settings.constraints.items():
            value = known_before(name, self._study, config)
            if value is not None:
                # training alone is the least of `clips`: it can break the upper bound only
                low = None if name == CLIPS else bounds.low
                if low is None and bounds.high is None:
                    continue
                # an empty set has no diversity
                found[name] = violation(0.0 if math.isnan(value) else value, low, bounds.high)
        return {name: value for name, value in found.items() if value > 0}

    def _tell_refused(self, trial: optuna.trial.Trial, broken: Mapping[str, float]) -> None:
        self.refused += 1
        self._numbers.append(trial.number)
        for name, value in broken.items():
            trial.set_constraint(name, value)
        self._tell(trial, state=State.PRUNED)

    def _measure(self, record: TrialRecord, names: Iterable[str]) -> list[Measured]:
        on = self.settings.objective_on
        outcomes = None
        if record.fidelity and on == "test":
            try:
                outcomes = Outcomes.load(self.ledger.cell(record.key) / "outcomes.npz")
            except (OSError, ValueError):
                outcomes = None  # the plain means of the tested clips
        accuracies = self._study.outcomes
        return [measure(n.removeprefix("-"), accuracies, record, outcomes, on=on) for n in names]

    def _violations(self, values: Iterable[float]) -> dict[str, float]:
        rows = zip(self.settings.constraints.items(), values, strict=True)
        return {name: violation(value, b.low, b.high) for (name, b), value in rows}

    # ------------------------------------------------------------------------------ early stopping

    def _observe(self, key: str, rows: Iterable[Mapping[str, Any]]) -> bool:
        if self._study.evaluate.each_validation:
            return self._observe_all(key, rows)
        stop = False
        for row in rows:
            # the headline comes first
            accuracy, step = next(iter(validation_of(row).values()), math.nan), row.get("step")
            if step is None or step in self._observed[key] or not math.isfinite(accuracy):
                continue
            self._observed[key].add(step)
            for trial in self._racing(key):
                trial.report(accuracy, step)
                stop = trial.should_prune() or stop
        return stop

    def _observe_all(self, key: str, rows: Iterable[Mapping[str, Any]]) -> bool:
        """The same with all objectives."""
        config, stop = self.configs.get(key), False
        if config is None or key not in self._open:
            return False
        names = [name.removeprefix("-") for name in self.settings.objectives]
        for row in rows:
            validated, step = validated_of(row), row.get("step")
            if step is None or step in self._observed[key] or not validated:
                continue
            found = [at_a_rung(name, self._study, config, validated) for name in names]
            if all(map(math.isfinite, found)):
                self._observed[key].add(step)
                turned = [sign * value for sign, value in zip(self._signs, found, strict=True)]
                stop = self._halving.stops(key, int(step), turned) or stop
        return stop

    def _racing(self, key: str) -> list[optuna.trial.Trial]:
        """The trials whose validations are compared."""
        if key not in self._open or len(self._signs) == 1:
            return self._open.get(key, [])
        if not self.settings.early_stopping:
            return []
        if key not in self._race:
            self._race[key] = self._races.ask()
        return [self._race[key]]

    # ---------------------------------------------------------------------------------- promotion

    def _next_promoted(self) -> TrialConfig | None:
        """The next of the best; None while results are missing or when all is done."""
        if not self._queue:
            if self._open or self._elsewhere or self._running:
                return None
            stage = self._stage_to_come()
            if stage is None:
                return None
            self._promote(stage)
        if not self._queue:
            return self._next_promoted()
        config = self._queue.pop(0)
        self._running.add(config.key)
        return config

    def _stage_to_come(self) -> Stage | None:
        """The next stage for the trials so far; a search with more trials has its stages again."""
        if self._settled["final"] < self.asked and self._study.evaluate.fidelity != "full":
            return "final"
        if self._settled["confirm"] < self.asked and self.settings.confirm is not None:
            return "confirm"
        return None

    def _promote(self, stage: Stage) -> None:
        """Choose the cells of a stage, and store the choice before any of them runs."""
        if stage == "final":
            confirm = self.settings.confirm
            best = promotion.promising(
                self._candidates.values(),
                self.settings.finalists,
                least=1 if confirm is None else confirm.best,
            )
            sources = [*self._anchors.values(), *(self.configs[c.key] for c in best)]
            chosen = promotion.at_full_fidelity(sources)
        else:
            first = self._study.seed_list[0]
            anchors = [config for config in self._anchors.values() if config.seed == first]
            assert self.settings.confirm is not None
            winners = self.winners(self.settings.confirm.best)
            chosen = promotion.with_fresh_seeds(winners, anchors, self._study)
        rows = [
            {"key": cell.key, "of": source.key, "seed": cell.seed, "label": cell.label}
            for source, cell in chosen
        ]
        event = {"event": "promoted", "stage": stage, "asked": self.asked, "cells": rows}
        self.ledger.append(event)
        self._promote_again(event)

    def winners(self, count: int) -> list[TrialConfig]:
        """The best configurations.

        Where tests choose, by the numbers at full fidelity, if some were tested so.
        """
        candidates = dict(self._candidates)
        if "final" in self.promoted and self.settings.objective_on == "test":
            candidates = {}
            for key, source in self.trained_by.items():
                record = self.ledger.result(key) if source in self._candidates else None
                found = None if record is None else self._candidate(record)
                if found is not None:
                    candidates[source] = promotion.Candidate(source, found.values)
        best = promotion.rank(candidates.values())[:count]
        return [self.configs[c.key] for c in best]

    def _promote_again(self, event: Mapping[str, Any]) -> None:
        """Take over the choice that the ledger holds."""
        known = {**self.configs, **self._anchors}
        cells = {}
        for row in event["cells"]:
            source = known[row["of"]]
            cell = promotion.at_full(source).model_copy(update={"seed": row["seed"]})
            cells[row["key"]] = cell
            if event["stage"] == "final":
                self.trained_by[row["key"]] = source.key
            if self.ledger.result(row["key"]) is None:
                self._queue.append(cell)
        self.promoted.setdefault(event["stage"], {}).update(cells)
        self._settled[event["stage"]] = event["asked"]

    # -------------------------------------------------------------------------------------- resume

    def _replay(self, events: list[dict[str, Any]]) -> None:
        """Bring sampler and pruner to the state that the events tell of."""
        ended: dict[str, dict[str, Any]] = {}
        told: set[str] = set()
        diverged = False
        for event in events:
            key = event.get("key", "")
            if event["event"] in {"suggested", "refused"}:
                diverged = self._suggest_again(event, diverged=diverged)
            elif event["event"] in {"finished", "failed", "stopped"} or "origin" in event:
                ended[key] = event
                self._end_again(event)
            elif event["event"] == "reused" and "number" in event and key in ended:
                self._end_again(ended[key])
            elif event["event"] == "reused" and "proposal" in event:
                self._end_again({"event": "finished", "key": key})
            elif event["event"] == "dropped":
                told.add(key)
            elif event["event"] == "promoted":
                self._promote_again(event)
        for key in list(self._open):  # the driver died between a cell's files and its event
            self._end_again({"event": "finished", "key": key})
        self._again = [
            key
            for key in self.configs
            if key in self._open
            and key not in self._elsewhere
            and not self._proposals.has_first(key)
        ]
        # a driver may die between the last seed of a proposal and what followed from it
        self.ledger.append(*(e for name, e in self._dropped.items() if name not in told))
        self._is_live = True

    def _suggest_again(self, event: Mapping[str, Any], *, diverged: bool) -> bool:
        """Repeat a suggestion; with another sampler or version, force its parameters."""
        if diverged:
            self._optuna.enqueue_trial(event["params"])
        trial, config = self._ask()
        if config.key != event["key"] and not diverged:
            self._tell(trial, state=State.FAIL)
            return self._suggest_again(event, diverged=True)
        if event["event"] == "refused":
            self._tell_refused(trial, event["broken"])
        else:
            self._accept(trial, config)
        return diverged

    def _end_again(self, event: Mapping[str, Any]) -> None:
        key = event["key"]
        if event["event"] == "stopped":
            self._observe(key, read_history(self.ledger.cell(key)))  # rungs before the last one
            self.stopped(key, event)
        name = self._proposals.name(key)
        if name is None or name not in self._open:
            return
        if event["event"] == "failed":
            self.configs.setdefault(key, self._proposals.cell(key))
            self._close(name, state=State.FAIL)
        else:
            record = self.ledger.result(key)
            if record is not None:  # a damaged one runs again
                self._observe(key, read_history(self.ledger.cell(key)))
                self.finished(record)


def _turned(sign: int, found: Measured) -> Measured:
    """Turned so that more is better."""
    if sign > 0:
        return found
    return Measured(-found.value, -found.high, -found.low)

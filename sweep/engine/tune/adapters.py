"""Ray Tune's searcher, scheduler and callback: each passes on what Tune asks or tells, no more.

Imports Ray, which reads its environment at that moment: import this module inside a connection
(``cluster``), never before.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ray.tune import Callback, PlacementGroupFactory
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from sweep.engine.tune.decisions import Decisions, TrialSettings, with_more_room
from sweep.engine.tune.nodes import resources_of_nodes

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

    from sweep.engine.tune.placement import Placement


class Link:
    """Leads to the decisions in this process; Tune pickles whatever it is given, even if unused."""

    def __init__(self, decisions: Decisions | None = None) -> None:
        self._decisions = decisions

    def __call__(self) -> Decisions:
        """The decisions of this process."""
        assert self._decisions is not None
        return self._decisions

    def __reduce__(self) -> tuple[type[Link], tuple[()]]:
        return Link, ()


class CellSearcher(Searcher):
    """Hands out the session's cells in order: designs first, then the search's suggestions."""

    def __init__(self, link: Link, placement: Placement) -> None:
        super().__init__(metric="step", mode="max")
        self._link = link
        self._placement = placement

    def suggest(self, trial_id: str) -> Any:  # noqa: ARG002 - a string or a mapping, says Tune
        """The next trial, `FINISHED`, or None for now."""
        settings = self._link().next(self._placement)
        if settings is None:
            # nothing now: a search may go on when the cells at work have ended
            return Searcher.FINISHED if self._link().cells.is_over else None
        return settings

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The callback sees to it."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is what a resume reads."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as above."""


class EarlyStopping(FIFOScheduler):
    """Trials run in order; the session's pruner says which end early."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        self._link = link

    def on_trial_result(self, _controller: object, trial: Trial, result: dict[str, Any]) -> str:
        """Stop a trial or let it go on."""
        stops = self._link().stops(key_of(trial), result)  # type: ignore[arg-type]
        return TrialScheduler.STOP if stops else TrialScheduler.CONTINUE

    def on_trial_error(self, _controller: object, trial: Trial) -> None:
        """A worker is lost and Tune is about to put its trial into the queue again.

        The last moment to change what it asks for: later Tune finds it in its queues no more.
        """
        wider = with_more_room(settings_of(trial), error_text(trial), resources_of_nodes)
        if wider is not None:
            trial.config.update(wider)
            trial.placement_group_factory = reservation(trial.config)  # type: ignore[assignment]


class Stream(Callback):
    """Passes on every report, and the loss of every worker."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def on_step_end(self, **_: Any) -> None:  # type: ignore[override]
        """Several times a second."""
        self._link().check()

    def on_trial_start(self, *, trial: Trial, **_: Any) -> None:  # type: ignore[override]
        """A worker begins a trial."""
        actor = trial.temporary_state.ray_actor
        assert actor is not None, "a trial that starts has a worker"
        self._link().began(settings_of(trial), actor)

    def on_trial_result(  # type: ignore[override]
        self, *, trial: Trial, result: dict[str, Any], **_: Any
    ) -> None:
        """A worker has reported."""
        self._link().reported(key_of(trial), result)  # type: ignore[arg-type]

    def on_trial_complete(self, *, trial: Trial, **_: Any) -> None:  # type: ignore[override]
        """A trial has ended, or was stopped by the scheduler."""
        self._link().completed(key_of(trial))

    def on_trial_recover(self, *, trial: Trial, **_: Any) -> None:  # type: ignore[override]
        """A worker is lost and Tune has put its trial into the queue again."""
        if not self._link().lost(key_of(trial), error_text(trial)):
            trial.config["given_up"] = True

    def on_trial_error(self, *, trial: Trial, **_: Any) -> None:  # type: ignore[override]
        """Tune may still give a trial up by itself."""
        self.on_trial_recover(trial=trial)


def settings_of(trial: Trial) -> TrialSettings:
    """What a trial was started with."""
    return cast("TrialSettings", trial.config)


def key_of(trial: Trial) -> str:
    """Key of the cell of a trial; also its name and that of its folder."""
    return settings_of(trial)["key"]


def reservation(config: dict[str, Any]) -> PlacementGroupFactory:
    """What Tune reserves for a trial with these settings."""
    return PlacementGroupFactory([config["bundle"]])


def error_text(trial: Trial) -> str:
    """What Ray says of the last loss of a trial's worker; Tune appends it to a file."""
    try:
        text = Path(trial.error_file).read_text(encoding="utf-8", errors="replace")
    except (OSError, TypeError):
        return ""
    return text.rpartition("Failure # ")[2]

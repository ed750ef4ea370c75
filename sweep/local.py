"""The cells of a sweep one after the other in this process, without Ray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweep.driver import Session, TrialFunction


class _StoppedEarly(BaseException):
    """Leaves a trial from inside its callback; trials catch ``Exception`` only."""


def limit_threads(cpus: float) -> None:
    """Give torch as many threads as a trial has CPUs: sums then round alike in every engine."""
    import torch

    threads = max(1, int(cpus))
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def trial_function(trial: TrialFunction | None, *, cpus: float) -> TrialFunction:
    """What runs a cell: the one given, or the real one with torch's threads limited."""
    if trial is not None:
        return trial
    from sweep.trial import run_trial

    limit_threads(cpus)
    return run_trial


def run_cells(session: Session, trial: TrialFunction | None = None, **_: Any) -> None:
    """Run everything that the session hands out."""
    run_trial = trial_function(trial, cpus=session.study.resources.cpus_per_trial)
    while (config := session.next()) is not None:
        key = config.key

        def on_metrics(row: dict[str, Any], key: str = key) -> None:
            session.check()
            if session.advanced(key, [row]):
                raise _StoppedEarly

        session.began(key)
        try:
            result = run_trial(config, scratch=session.ledger.cell(key), on_metrics=on_metrics)
        except _StoppedEarly:
            session.stopped(key)
            continue
        session.ended(result.record, result.history, result.outcomes)
        session.check()

"""What an engine calls to run a cell."""

from __future__ import annotations

from collections.abc import Callable

from sweep.records.record import TrialResult
from sweep.runtime.device import limit_threads

#: ``run_trial(config, scratch=..., on_metrics=...)``.
TrialFunction = Callable[..., TrialResult]


def trial_function(trial: TrialFunction | None, *, cpus: float) -> TrialFunction:
    """What runs a cell: the one given, or the real one with torch's threads limited."""
    if trial is not None:
        return trial
    from sweep.trial import run_trial

    limit_threads(cpus)
    return run_trial

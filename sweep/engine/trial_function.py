"""What an engine calls to run a cell."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sweep.records.record import TrialResult
    from sweep.settings.trial import TrialConfig


class TrialFunction(Protocol):
    """Runs one cell; ``sweep.trial.run_trial`` is the real one."""

    def __call__(
        self,
        config: TrialConfig,
        /,
        *,
        scratch: Path,
        on_metrics: Callable[[dict[str, Any]], None],
    ) -> TrialResult:
        """Run a cell.

        Args:
            config: The cell.
            scratch: Its folder, where checkpoints lie.
            on_metrics: Hears every row of the history.
        """
        ...


def trial_function(
    trial: TrialFunction | None, *, cpus: float, device: str | None = None
) -> TrialFunction:
    """What runs a cell: the one given, or the real one with torch's threads limited.

    Args:
        trial: Replaces the real one.
        cpus: Of the cell.
        device: Of the real one; None = it chooses.
    """
    if trial is not None:
        return trial
    from sweep.runtime.device import limit_threads
    from sweep.trial import run_trial

    limit_threads(cpus)
    return run_trial if device is None else partial(run_trial, device=device)

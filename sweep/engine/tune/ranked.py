"""A trial of several ranks: Ray Train starts the processes, rank 0 reports for all of them.

The trial's own process only waits, so it asks for nothing but a little memory. The ranks ask for
theirs outside of it, which Tune does not count: ``placement.py`` bounds how many such trials run at
a time, or waiting trials and half-started groups of ranks could hold each other up for ever.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.engine.trial_function import trial_function
from sweep.engine.tune.failures import RankLostError
from sweep.engine.tune.reporter import Reporter, pack
from sweep.runtime import heartbeat
from sweep.settings.trial import TrialConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sweep.engine.demand import Demand
    from sweep.engine.trial_function import TrialFunction
    from sweep.engine.tune.reporter import Report


class RankFailedError(RuntimeError):
    """Ends the ranks of a trial whose cell failed; holds the packed record."""

    def __init__(self, packed: str) -> None:
        super().__init__("the cell failed")
        self.packed = packed

    def __reduce__(self) -> tuple[type[RankFailedError], tuple[str]]:
        return RankFailedError, (self.packed,)


def run_ranked(
    cell: TrialConfig,
    demand: Demand,
    *,
    function: TrialFunction | None,
    scratch: Path,
    beat_every_s: float,
) -> str | None:
    """Run a cell in several processes; rows and record reach Tune as if this process had reported.

    Must be called in a trial of Tune.

    Args:
        cell: The resolved point.
        demand: Of each rank, and how many.
        function: Replaces ``run_trial``.
        scratch: Folder of the cell, where rank 0 keeps checkpoints.
        beat_every_s: How often rank 0 gives a sign of life, at least.

    Returns:
        The packed record of a cell that failed; None where rank 0 has reported it.

    Raises:
        RankLostError: A rank was lost; Tune starts the trial again.
    """
    import ray
    import ray.train.torch
    from ray.tune.integration.ray_train import TuneReportCallback

    with_gpus = demand.gpus > 0
    # by which Train's reports reach Tune. Those are a meeting of all ranks, each time; rank 0 alone
    # has something to say, and says it when there is something
    reports = TuneReportCallback()._training_actor_item_queue
    # Ray Train's own state: nothing of it is needed again, checkpoints are the cell's
    state = tempfile.mkdtemp(prefix="auxsweep-ranks-")
    trainer = ray.train.torch.TorchTrainer(
        _rank,
        train_loop_config={
            "cell": cell.model_dump_json(), "function": function, "scratch": str(scratch),
            "cpus": demand.cpus, "reports": reports, "beat_every_s": beat_every_s,
        },
        scaling_config=ray.train.ScalingConfig(
            num_workers=demand.ranks,
            use_gpu=with_gpus,
            resources_per_worker=demand.bundle(),
            placement_strategy="PACK",
        ),
        run_config=ray.train.RunConfig(name=f"{cell.key}-{os.getpid()}", storage_path=state),
    )  # fmt: skip
    try:
        trainer.fit()
    except ray.train.TrainingFailedError as error:
        packed = _packed(getattr(error, "worker_failures", {}))
        if packed is None:
            raise RankLostError(str(error)) from error
        return packed
    finally:
        shutil.rmtree(state, ignore_errors=True)
    return None


def _packed(failures: Mapping[int, BaseException]) -> str | None:
    """The record of the first rank that says why; a lost process says nothing."""
    for _, error in sorted(failures.items()):
        cause = getattr(error, "_base_exc", error)
        if isinstance(cause, RankFailedError):
            return cause.packed
    return None


def _rank(settings: dict[str, Any]) -> None:
    """Runs in every rank."""
    import ray.train
    import ray.train.torch
    import torch

    from sweep.runtime import ranks

    cell = TrialConfig.model_validate_json(settings["cell"])
    device = ray.train.torch.get_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    run_trial = trial_function(settings["function"], cpus=settings["cpus"], device=str(device))
    # the other ranks find the same, and say nothing
    send: Callable[[Report], None] = settings["reports"].put if ranks.index() == 0 else _ignore
    reporter = Reporter(send, beat_every_s=settings["beat_every_s"])
    with heartbeat.heard_by(reporter.beat):
        result = run_trial(cell, scratch=Path(settings["scratch"]), on_metrics=reporter)
    packed = pack(result)
    if result.record.status != "done":
        raise RankFailedError(packed)
    send({"step": cell.train.steps, "rows": reporter.take(), "packed": packed})


def _ignore(_: Report) -> None:
    """Takes the reports of all ranks but the first."""

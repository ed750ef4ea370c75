"""The session's cells as trials of Ray Tune."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
from typing import TYPE_CHECKING

from sweep.engine.board import duration
from sweep.engine.signals import Halt, disk
from sweep.engine.summary import ExitCode
from sweep.engine.tune.cluster import NODES_WITHIN_S, cluster, watched_head
from sweep.engine.tune.decisions import Decisions
from sweep.engine.tune.placement import Placement, place, slots
from sweep.engine.tune.watch import Watchdog
from sweep.engine.tune.worker import trial_in_worker
from sweep.engine.waiting import waiting
from sweep.runtime.program import program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sweep.engine.contract import Cells
    from sweep.engine.trial_function import TrialFunction
    from sweep.settings.resources import ResourceSettings

log = logging.getLogger(__name__)
#: Ray starts within half a minute, on a very busy machine within some minutes.
START_WITHIN_S = 300.0


def run_cells(
    cells: Cells, trial: TrialFunction | None = None, *, address: str | None = None
) -> None:
    """Run everything that is handed out, on a cluster or on this machine.

    See ``sweep.engine.contract.Engine``.

    Raises:
        ConfigError: if no node can hold a trial, or the cluster cannot be reached.
        Halt: if Ray ends before the sweep does.
    """
    with contextlib.ExitStack() as stack:
        with waiting("starting Ray", cells.note), _ended_after(START_WITHIN_S, cells):
            owned = stack.enter_context(cluster(address, log=cells.sweep / "ray.log"))
        cells.signals.arm()  # ray.init put a handler for SIGTERM in place
        with waiting("asking the nodes for room", cells.note):
            placement = place(cells, wait_s=0 if owned else NODES_WITHIN_S)
        import ray

        head = ray.get_runtime_context().gcs_address
        with watched_head(head, cells.signals.stop, cells.sweep):
            run_trials(cells, trial, placement)


@contextlib.contextmanager
def _ended_after(limit_s: float, cells: Cells) -> Iterator[None]:
    """End the sweep where Ray does not start: any server may take a connection and say nothing."""
    why = (
        f"Ray has not started within {duration(limit_s)}. Does the head of the cluster answer "
        f"(`{program('doctor')}`), and does it run the same version of Ray? What Ray says is in "
        f"{cells.sweep / 'ray.log'}"
    )
    timer = threading.Timer(limit_s, cells.signals.stop, (Halt(ExitCode.ENVIRONMENT, why),))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def run_trials(
    cells: Cells, trial: TrialFunction | None = None, placement: Placement | None = None
) -> None:
    """Run the session's cells as trials on the cluster that this process is connected to.

    Args:
        cells: The session.
        trial: Replaces ``run_trial``.
        placement: What trials ask for; default: what the study says.

    Raises:
        Halt: if Ray ends before the sweep does.
    """
    import ray
    from ray import tune

    from sweep.engine.tune import adapters

    resources = cells.study.resources
    placement = placement or Placement(resources, concurrent=resources.max_concurrent)
    room = slots(placement, cells.samples())
    storage = cells.sweep / "tune"
    shutil.rmtree(storage, ignore_errors=True)  # of a driver that was killed
    os.environ.setdefault(
        "TUNE_MAX_PENDING_TRIALS_PG", str(waiting_trials(room, learns=cells.learns))
    )
    cells.expect_workers(min(room, placement.concurrent or room))
    link = adapters.Link(Decisions(cells, Watchdog(resources.hang_timeout_s)))
    parameters = tune.with_parameters(trial_in_worker, function=trial, marker=cells.marker())
    tuner = tune.Tuner(
        tune.with_resources(parameters, adapters.reservation),
        tune_config=tune.TuneConfig(
            search_alg=adapters.CellSearcher(link, placement),
            scheduler=adapters.EarlyStopping(link),
            num_samples=-1,
            max_concurrent_trials=placement.concurrent,
            reuse_actors=reuses_workers(resources),
            trial_name_creator=adapters.key_of,
            trial_dirname_creator=adapters.key_of,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(storage),
            failure_config=tune.FailureConfig(max_failures=-1),  # the decisions count them
            callbacks=[adapters.Stream(link)],
            verbose=0,
        ),
    )
    try:
        with cells.signals.deferred():  # the callback checks, several times a second
            tuner.fit()
    except OSError as error:  # Tune's own files lie in the folder of the sweep
        cells.signals.check()
        log.warning("Tune's files: %s", error)
        if not cells.is_over or cells.has_missing:
            with disk(cells.sweep):
                raise error from None
    except (ray.exceptions.RayError, tune.TuneError, RuntimeError) as error:
        cells.signals.check()
        raise Halt(
            ExitCode.ENVIRONMENT,
            f"Ray ended before the sweep: {error}. Everything stored is safe",
        ) from error
    finally:
        shutil.rmtree(storage, ignore_errors=True)


def waiting_trials(room: int, *, learns: bool) -> int:
    """How many trials stand ready beside the running ones.

    With Tune's own value for searchers, one, workers start one after the other, and one that is
    starting is thrown away when another becomes free: with trials shorter than a start a whole
    cluster keeps a single worker. A search asks ahead for few, since it learns from what ends.

    Args:
        room: How many trials the cluster holds at a time.
        learns: Whether later trials depend on what ends.
    """
    return max(2, min(room, 4) if learns else room)


def reuses_workers(resources: ResourceSettings) -> bool:
    """Whether a worker process serves one trial after the other.

    A fresh process costs several seconds. With a GPU it is worth them: memory and CUDA state of
    the trial before are gone for certain.
    """
    if resources.reuse_workers == "auto":
        return resources.gpus == 0 and not any(rule.gpus_per_trial for rule in resources.rules)
    return resources.reuse_workers == "on"

"""The session's cells as trials of Ray Tune: searcher, scheduler and callback ask and tell it."""

from __future__ import annotations

import logging
import os
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.engine.demand import Demand
from sweep.engine.signals import Halt, disk
from sweep.engine.summary import ExitCode
from sweep.engine.tune.cluster import NODES_WITHIN_S, cluster, watched_head
from sweep.engine.tune.failures import Budget, classify
from sweep.engine.tune.nodes import living
from sweep.engine.tune.placement import Placement, place, samples, slots
from sweep.engine.tune.watch import Hang, Watchdog
from sweep.engine.tune.worker import trial_in_worker, unpack
from sweep.records.ledger import OUT_OF_MEMORY_ADVICE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ray.tune import Callback, PlacementGroupFactory
    from ray.tune.schedulers import TrialScheduler
    from ray.tune.search import Searcher

    from sweep.engine.session import Session
    from sweep.engine.trial_function import TrialFunction
    from sweep.settings.resources import ResourceSettings

log = logging.getLogger(__name__)

#: A worker that has nothing to report gives a sign of life so often, at least.
BEAT_EVERY_S = 10.0
#: So many cells in a row whose workers die before any reports anything: it is the environment.
HOPELESS_AFTER = 3


def run_cells(
    session: Session, trial: TrialFunction | None = None, *, address: str | None = None
) -> None:
    """Run everything that the session hands out, on a cluster or on this machine.

    Raises:
        ConfigError: if no node can hold a trial, or the cluster cannot be reached.
        Halt: if Ray ends before the sweep does.
    """
    session.board.note("starting Ray")
    with cluster(address, log=session.sweep / "ray.log") as owned:
        session.signals.arm()  # ray.init put a handler for SIGTERM in place
        placement = place(session, wait_s=0 if owned else NODES_WITHIN_S)
        import ray

        head = ray.get_runtime_context().gcs_address
        with watched_head(head, session.signals.stop, session.sweep):
            run_trials(session, trial, placement)


def run_trials(
    session: Session, trial: TrialFunction | None = None, placement: Placement | None = None
) -> None:
    """Run the session's cells as trials on the cluster that this process is connected to.

    Args:
        session: Hands out the cells.
        trial: Replaces ``run_trial``.
        placement: What trials ask for; default: what the study says.

    Raises:
        Halt: if Ray ends before the sweep does.
    """
    import ray
    from ray import tune

    resources = session.study.resources
    placement = placement or Placement(resources, concurrent=resources.max_concurrent)
    storage = session.sweep / "tune"
    shutil.rmtree(storage, ignore_errors=True)  # of a driver that was killed
    os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", str(_waiting_trials(session, placement)))
    session.meter.workers = _at_once(session, placement)
    link = _Link(session)
    parameters = tune.with_parameters(trial_in_worker, function=trial, marker=session.marker())
    tuner = tune.Tuner(
        tune.with_resources(parameters, _bundle),
        tune_config=tune.TuneConfig(
            search_alg=_searcher(link, placement),
            scheduler=_scheduler(link),
            num_samples=-1,
            max_concurrent_trials=placement.concurrent,
            reuse_actors=reuses_workers(resources),
            trial_name_creator=_key,
            trial_dirname_creator=_key,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(storage),
            failure_config=tune.FailureConfig(max_failures=-1),  # the callback counts them
            callbacks=[_callback(link)],
            verbose=0,
        ),
    )
    try:
        with session.signals.deferred():  # the callback checks, several times a second
            tuner.fit()
    except OSError as error:  # Tune's own files lie in the folder of the sweep
        session.signals.check()
        log.warning("Tune's files: %s", error)
        if not session.is_over or session.summary().message:  # cells are missing
            with disk(session.sweep):
                raise error from None
    except (ray.exceptions.RayError, tune.TuneError, RuntimeError) as error:
        session.signals.check()
        raise Halt(
            ExitCode.ENVIRONMENT,
            f"Ray ended before the sweep: {error}. Everything stored is safe; "
            f"run `resume {session.sweep}`.",
        ) from error
    finally:
        shutil.rmtree(storage, ignore_errors=True)


def _bundle(config: dict[str, Any]) -> PlacementGroupFactory:
    """What Tune reserves for a trial."""
    from ray import tune

    return tune.PlacementGroupFactory([config["bundle"]])


def _at_once(session: Session, placement: Placement) -> int:
    """How many trials run at a time."""
    room = slots(placement, samples(session))
    return min(room, placement.concurrent or room)


def _waiting_trials(session: Session, placement: Placement) -> int:
    """How many trials stand ready beside the running ones.

    With Tune's own value for searchers, one, workers start one after the other, and one that is
    starting is thrown away when another becomes free: with trials shorter than a start a whole
    cluster keeps a single worker. A search asks ahead for few, since it learns from what ends.
    """
    room = slots(placement, samples(session))
    return max(2, min(room, 4) if session.search is not None else room)


def beat_every_s(resources: ResourceSettings) -> float:
    """How often a worker is heard: four times within the time that counts as hanging."""
    return min(BEAT_EVERY_S, (resources.hang_timeout_s or BEAT_EVERY_S) / 4)


def reuses_workers(resources: ResourceSettings) -> bool:
    """Whether a worker process serves one trial after the other.

    A fresh process costs several seconds. With a GPU it is worth them: memory and CUDA state of
    the trial before are gone for certain.
    """
    if resources.reuse_workers == "auto":
        return resources.gpus == 0 and not any(rule.gpus_per_trial for rule in resources.rules)
    return resources.reuse_workers == "on"


def _key(trial: Any) -> str:
    return trial.config["key"]


class _Link:
    """Leads to the session in this process; Tune pickles whatever it is given, even if unused."""

    def __init__(self, session: Session | None = None) -> None:
        self.session = session

    def __call__(self) -> Session:
        assert self.session is not None
        return self.session

    def __reduce__(self) -> tuple[type[_Link], tuple[()]]:
        return _Link, ()


def _searcher(link: _Link, placement: Placement) -> Searcher:
    from ray.tune.search import Searcher

    class Cells(Searcher):
        """Hands out the session's cells in order: designs first, then the search's suggestions."""

        def suggest(self, trial_id: str) -> Any:  # noqa: ARG002
            config = link().next()
            if config is None:
                # nothing now: a search may go on when the cells at work have ended
                return Searcher.FINISHED if link().is_over else None
            return {
                "key": config.key,
                "cell": config.model_dump_json(),  # as text: Tune walks through nested configs
                "sweep": str(link().sweep),
                "beat_every_s": beat_every_s(link().study.resources),
                "demand": asdict(placement.demand(config)),
                "bundle": placement.bundle(config),
            }

        def on_trial_complete(
            self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
        ) -> None:
            """The callback sees to it."""

        def save(self, checkpoint_path: str) -> None:
            """Nothing: the ledger is what a resume reads."""

        def restore(self, checkpoint_path: str) -> None:
            """Nothing, as above."""

    return Cells(metric="step", mode="max")


def _scheduler(link: _Link) -> TrialScheduler:
    from ray.tune.schedulers import FIFOScheduler, TrialScheduler

    class EarlyStopping(FIFOScheduler):
        """Trials run in order; the session's pruner says which end early."""

        def on_trial_result(self, _controller: Any, trial: Any, result: dict[str, Any]) -> str:
            key = _key(trial)
            link().check()
            if link().advanced(key, result.get("rows", []), result.get("at", "")):
                return TrialScheduler.STOP
            return TrialScheduler.CONTINUE

        def on_trial_error(self, _controller: Any, trial: Any) -> None:
            """A worker is lost and Tune is about to put its trial into the queue again.

            The last moment to change what it asks for: later Tune finds it in its queues no more.
            """
            said = _error_text(trial)
            if classify(said) == "OutOfMemory":
                _give_room(trial, said)

    return EarlyStopping()


def _callback(link: _Link) -> Callback:
    from ray.tune import Callback

    class Stream(Callback):
        """Takes every report to the session, and decides on lost workers."""

        def __init__(self) -> None:
            resources = link().study.resources
            self.ended: set[str] = set()
            self.reported = False
            self.watchdog = Watchdog(resources.hang_timeout_s)
            self.budget = Budget(resources.max_failures)
            self.hangs: dict[str, Hang] = {}
            self.out_of_memory: dict[str, str] = {}

        def on_step_end(self, **_: Any) -> None:  # type: ignore[override]
            link().check()
            for hang in self.watchdog.check():
                self.hangs[hang.key] = hang
                link().hung(hang.key, hang.message, hang.stacks)

        def on_trial_start(self, *, trial: Any, **_: Any) -> None:  # type: ignore[override]
            if _key(trial) not in self.ended:
                link().began(_key(trial), Demand(**trial.config["demand"]))
                self.watchdog.began(_key(trial), trial.temporary_state.ray_actor)

        def on_trial_result(  # type: ignore[override]
            self, *, trial: Any, result: dict[str, Any], **_: Any
        ) -> None:
            key = _key(trial)
            where, at = result.pop("where", None), result.pop("at", "")
            self.reported |= where is None  # the first report only says that a worker is there
            self.watchdog.heard(key, where=where, at=at)
            packed = result.pop("packed", None)  # so that Tune keeps no copy of it
            if "out_of_memory" in result:
                self.out_of_memory[key] = result.pop("out_of_memory")
            result.pop("rows", None)
            if packed is not None and key not in self.ended:
                self._end(key)
                link().ended(*unpack(packed))

        def on_trial_complete(self, *, trial: Any, **_: Any) -> None:  # type: ignore[override]
            if _key(trial) not in self.ended:  # no record: stopped by the scheduler
                self._end(_key(trial))
                link().stopped(_key(trial))

        def on_trial_recover(self, *, trial: Any, **_: Any) -> None:  # type: ignore[override]
            """A worker is lost and Tune has put its trial into the queue again."""
            key = _key(trial)
            if key in self.ended:
                trial.config["given_up"] = True
                return
            said = _error_text(trial)
            kind, message = classify(said), _first_line(said)
            host = self.watchdog.where(key).get("host")
            hang = self.hangs.pop(key, None)
            if hang is None and (hang := self.watchdog.lost(key)) is not None:
                link().hung(key, hang.message, hang.stacks)
            if hang is not None:
                kind, message, host = "Hang", hang.message, hang.host
            record = self.out_of_memory.pop(key, None)
            self.watchdog.ended(key)
            if self.budget.spend(key, kind):
                link().attempt_lost(key, kind, message, host=host)
                return
            trial.config["given_up"] = True
            self._end(key)
            if record is not None:
                link().ended(*unpack(record))
            else:
                link().lost(key, _reason(kind, self.budget.lost[key].total(), message), kind=kind)
            if not self.reported and len(self.ended) >= HOPELESS_AFTER:
                raise Halt(
                    ExitCode.ENVIRONMENT,
                    f"no worker survives its start; the last one: {message}. "
                    f"Ray's messages are in {link().sweep / 'ray.log'}.",
                )

        def on_trial_error(self, *, trial: Any, **_: Any) -> None:  # type: ignore[override]
            self.on_trial_recover(trial=trial)  # Tune may still give a trial up by itself

        def _end(self, key: str) -> None:
            self.ended.add(key)
            self.watchdog.ended(key)

    return Stream()


def _give_room(trial: Any, said: str) -> None:
    """A trial that ran out of memory has more when it is tried again.

    Args:
        trial: Of Tune.
        said: What Ray says of its end.
    """
    if trial.config["demand"]["ranks"] > 1:  # its bundle is that of the process that waits
        return
    bundle = trial.config["bundle"]
    wider = with_room(bundle, is_card="CUDA" in said, nodes=[n["Resources"] for n in living()])
    if wider != bundle:
        trial.config["bundle"] = wider
        trial.config["demand"]["gpus"] = wider.get("GPU", 0.0)
        trial.placement_group_factory = _bundle(trial.config)


def with_room(
    bundle: Mapping[str, float], *, is_card: bool, nodes: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    """What a trial asks for that ran out of memory: a card, or the memory of a node, to itself.

    Where trials do not say how much main memory they need, asking for it keeps no neighbour away;
    asking for all cores of a node might wait for another user's job for ever.

    Args:
        bundle: What it asked for.
        is_card: Whether the memory of the card did not suffice.
        nodes: What each node has.
    """
    wider = dict(bundle)
    if is_card:
        if 0 < bundle.get("GPU", 0.0) < 1:
            wider["GPU"] = 1.0
        return wider
    able = [node for node in nodes if all(node.get(n, 0.0) >= a for n, a in bundle.items())]
    if "memory" in bundle and able:
        wider["memory"] = max(node["memory"] for node in able)
    return wider


def _error_text(trial: Any) -> str:
    """What Ray says of the last loss of a trial's worker; Tune appends it to a file."""
    try:
        text = Path(trial.error_file).read_text(encoding="utf-8", errors="replace")
    except (OSError, TypeError):
        return ""
    return text.rpartition("Failure # ")[2]


def _first_line(said: str) -> str:
    """The sentence of Ray's text that names the cause."""
    if "connection error code" in said:  # Ray's own words are long and tell no more
        return "its process was killed from outside, or crashed in native code"
    lines = [line.strip() for line in said.splitlines()[1:] if line.strip()]
    for line in lines:
        if any(
            word in line for word in ("because", "unavailable", "Worker unexpectedly", "Error:")
        ):
            return re.sub(r"^[\w.]+Error: ", "", line)[:300]
    return lines[0][:300] if lines else "the worker is gone"


def _reason(kind: str, times: int, message: str) -> str:
    """Why a cell was given up, for its record."""
    text = f"lost {times} times; the last time: {message}"
    if kind == "OutOfMemory":
        return f"{text}; {OUT_OF_MEMORY_ADVICE}"
    if kind == "Hang":
        return f"{text}; stacks.txt of the cell shows where it hung"
    return f"its worker died {times} times; the last time: {message}; Ray's messages: ray.log"

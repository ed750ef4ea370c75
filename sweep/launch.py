"""The cells of a sweep as trials of Ray Tune. The only file (with its probe) that touches Ray.

What was met in Ray 2.60 and is dealt with here: a trial's working directory moves (relative paths
break); token authentication is switched on by a local start and writes a token into the user's
home; socket paths have a length limit; a demand that no node can meet waits for ever; a local
storage path with several nodes fails at the first Tune checkpoint (there are none: records travel
in the last report); experiment state is rewritten every few seconds with all results in it.
"""

from __future__ import annotations

import atexit
import base64
import json
import logging
import os
import secrets
import shutil
import tempfile
import time
import traceback
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.config import ConfigError, ResourceSettings, TrialConfig
from sweep.driver import ExitCode, Halt, Session, TrialFunction, in_ray_job
from sweep.ledger import failed_record
from sweep.local import trial_function
from sweep.record import Outcomes, TrialRecord

if TYPE_CHECKING:
    from ray.tune import Callback
    from ray.tune.schedulers import TrialScheduler
    from ray.tune.search import Searcher

log = logging.getLogger(__name__)

#: Set before Ray is imported; a value of the user wins.
ENVIRONMENT = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the driver has its own
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # never: the ledger is what a resume reads
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
#: Seconds that a cluster gets to bring up a node which is large enough.
NODES_WITHIN_S = 30.0
#: So many cells in a row whose workers die before any reports anything: it is the environment.
HOPELESS_AFTER = 3
#: A worker collects history rows for this long before it reports them.
REPORT_EVERY_S = 1.0
OBJECT_STORE_BYTES = 128 * 1024**2


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
        check_demand(session.study.resources, wait_s=0 if owned else NODES_WITHIN_S)
        run_trials(session, trial)


# --------------------------------------------------------------------------------------- cluster


@contextmanager
def cluster(address: str | None = None, *, log: Path) -> Iterator[bool]:
    """A connection to Ray; yields whether the cluster is our own.

    Inside `ray job submit`, or with an address, an existing cluster is joined and nothing is asked
    of it; otherwise one starts on this machine and ends with the block.

    Args:
        address: HOST:PORT of a running cluster; default ``$RAY_ADDRESS``.
        log: File for what Ray says.

    Raises:
        ConfigError: if the address cannot be used or reached.
    """
    address = address or os.environ.get("RAY_ADDRESS") or None
    if address and address.startswith(("http://", "https://")):
        raise ConfigError(
            f"RAY_ADDRESS={address}: this is the address of a dashboard, which `ray job submit` "
            "takes; a driver needs HOST:PORT of the head, such as 10.0.0.1:6379"
        )
    joins = in_ray_job() or address is not None
    _set_environment(owned=not joins)
    with _ray_output(log):
        import ray

        if ray.is_initialized():
            yield False
            return
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
        session_dir = None if joins else _session_dir()
        try:
            if session_dir is None:
                if not in_ray_job():  # a job brings the code along, another driver must send it
                    quiet["runtime_env"] = {"py_modules": [str(p) for p in _packages()]}
                ray.init(address=address or "auto", **quiet)
            else:
                ray.init(
                    address="local",
                    include_dashboard=False,
                    object_store_memory=OBJECT_STORE_BYTES,
                    _temp_dir=str(session_dir),
                    **quiet,
                )
        except (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError) as error:
            raise ConfigError(_why_not(address, error)) from None
        try:
            yield not joins
        except Halt:
            # in a hurry: our processes end with this one (the kernel tells them), so do those of a
            # cluster that belong to this driver
            atexit.unregister(ray.shutdown)
            raise
        except BaseException:
            _shutdown(session_dir)
            raise
        _shutdown(session_dir)


def _set_environment(*, owned: bool) -> None:
    """Environment variables that Ray reads when it is imported and that its workers inherit."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if not owned:
        return
    if "RAY_AUTH_MODE" not in os.environ:
        # a token of our own in memory: nothing appears in the user's ~/.ray, where a token file
        # would switch authentication on for every later `ray start`
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    root = str(_packages()[0].parent)  # workers import the same code, wherever this was started
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if root not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([root, *filter(None, paths)])


def _packages() -> list[Path]:
    """Folders of our packages, as imported here."""
    root = Path(__file__).parent.parent
    return [root / name for name in ("sweep", "models", "losses", "perturb")]


@contextmanager
def _ray_output(path: Path) -> Iterator[None]:
    """What Ray says goes to a file of the sweep: stdout and the progress lines stay ours.

    Ray prints messages of its raylets to the driver's stdout whatever `log_to_driver` says, and
    Tune logs a traceback for every worker that dies.
    """
    import ray.tune  # noqa: F401 - its import installs the handlers that are replaced here

    logger = logging.getLogger("ray")
    before, propagates = logger.handlers[:], logger.propagate
    with path.open("a", encoding="utf-8") as file, redirect_stdout(file):
        handler = logging.StreamHandler(file)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logger.handlers, logger.propagate = [handler], False
        try:
            yield
        finally:
            logger.handlers, logger.propagate = before, propagates


def _why_not(address: str | None, error: Exception) -> str:
    first = str(error).strip().partition("\n")[0] or type(error).__name__
    where = f"the cluster at {address}" if address else "Ray on this machine"
    hint = "use --local to run without Ray, or `doctor` to look closer"
    if "uthenticat" in str(error) or "token" in str(error):
        hint = (
            "the cluster wants a token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or "
            "RAY_AUTH_TOKEN_PATH) as on its head"
        )
    return f"cannot use {where}: {first}; {hint}"


def _session_dir() -> Path:
    """A short folder for Ray's sockets (limit 107 characters); removes those of dead drivers."""
    home = Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())
    top = home / f"aux-{os.getuid()}"
    top.mkdir(mode=0o700, exist_ok=True)
    for old in top.iterdir():
        if old.name.isdecimal() and not _is_alive(int(old.name)):
            shutil.rmtree(old, ignore_errors=True)
    mine = top / str(os.getpid())
    mine.mkdir(exist_ok=True)
    return mine


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _shutdown(session_dir: Path | None) -> None:
    """Leave Ray; a cluster of our own ends and leaves nothing behind."""
    import ray

    ray.shutdown()
    if session_dir is not None:
        shutil.rmtree(session_dir, ignore_errors=True)


def check_demand(resources: ResourceSettings, *, wait_s: float = 0.0) -> None:
    """Refuse a trial that no node can ever hold: Ray would wait without end.

    Raises:
        ConfigError: with the demand and the largest node.
    """
    import ray

    end = time.monotonic() + wait_s
    while True:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        offers = [(n.get("CPU", 0.0), n.get("GPU", 0.0)) for n in nodes]
        if any(
            cpu >= resources.cpus_per_trial and gpu >= resources.gpus_per_trial
            for cpu, gpu in offers
        ):
            return
        if time.monotonic() >= end:
            break
        time.sleep(0.5)
    offered = ", ".join(f"{cpu:g} CPU + {gpu:g} GPU" for cpu, gpu in sorted(set(offers))[::-1][:4])
    raise ConfigError(
        f"a trial asks for {resources.cpus_per_trial:g} CPU and {resources.gpus_per_trial:g} GPU, "
        f"but no node has that (nodes: {offered or 'none'}); "
        "change resources.cpus_per_trial or resources.gpus_per_trial"
    )


# ------------------------------------------------------------------------------------------ tune


def run_trials(session: Session, trial: TrialFunction | None = None) -> None:
    """Run the session's cells as trials on the cluster that this process is connected to.

    Raises:
        Halt: if Ray ends before the sweep does.
    """
    import ray
    from ray import tune

    resources = session.study.resources
    storage = session.sweep / "tune"
    shutil.rmtree(storage, ignore_errors=True)  # of a driver that was killed
    os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", str(_waiting_trials(session)))
    link = _Link(session)
    demand = {"cpu": resources.cpus_per_trial, "gpu": resources.gpus_per_trial}
    parameters = tune.with_parameters(_trial, function=trial, marker=session.marker())
    tuner = tune.Tuner(
        tune.with_resources(parameters, demand),
        tune_config=tune.TuneConfig(
            search_alg=_searcher(link),
            scheduler=_scheduler(link),
            num_samples=-1,
            max_concurrent_trials=resources.max_concurrent,
            reuse_actors=reuses_workers(resources),
            trial_name_creator=_key,
            trial_dirname_creator=_key,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(storage),
            failure_config=tune.FailureConfig(max_failures=resources.max_failures),
            callbacks=[_callback(link)],
            verbose=0,
        ),
    )
    try:
        with session.signals.deferred():  # the callback checks, several times a second
            tuner.fit()
    except (ray.exceptions.RayError, tune.TuneError, RuntimeError) as error:
        session.signals.check()
        raise Halt(
            ExitCode.ENVIRONMENT,
            f"Ray ended before the sweep: {error}. Everything stored is safe; "
            f"run `resume {session.sweep}`.",
        ) from error
    finally:
        shutil.rmtree(storage, ignore_errors=True)


def _waiting_trials(session: Session) -> int:
    """How many trials stand ready beside the running ones.

    With Tune's own value for searchers, one, workers start one after the other, and one that is
    starting is thrown away when another becomes free: with trials shorter than a start a whole
    cluster keeps a single worker. A search asks ahead for few, since it learns from what ends.
    """
    import ray

    resources = session.study.resources
    slots = ray.cluster_resources().get("CPU", 1.0) / resources.cpus_per_trial
    if resources.gpus_per_trial:
        slots = min(slots, ray.cluster_resources().get("GPU", 0.0) / resources.gpus_per_trial)
    if session.search is not None:
        slots = min(slots, 4)
    return max(2, int(slots))


def reuses_workers(resources: ResourceSettings) -> bool:
    """Whether a worker process serves one trial after the other.

    A fresh process costs several seconds. With a GPU it is worth them: memory and CUDA state of
    the trial before are gone for certain.
    """
    if resources.reuse_workers == "auto":
        return resources.gpus_per_trial == 0
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


def _searcher(link: _Link) -> Searcher:
    from ray.tune.search import Searcher

    class Cells(Searcher):
        """Hands out the session's cells in order: designs first, then the search's suggestions."""

        def suggest(self, trial_id: str) -> Any:  # noqa: ARG002
            config = link().next()
            if config is None:
                return Searcher.FINISHED
            return {
                "key": config.key,
                "cell": config.model_dump_json(),  # as text: Tune walks through nested configs
                "sweep": str(link().sweep),
                "cpus": link().study.resources.cpus_per_trial,
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
            if link().advanced(key, result.get("rows", [])):
                return TrialScheduler.STOP
            return TrialScheduler.CONTINUE

    return EarlyStopping()


def _callback(link: _Link) -> Callback:
    from ray.tune import Callback

    class Stream(Callback):
        """Takes every report to the session."""

        def __init__(self) -> None:
            self.ended: set[str] = set()
            self.reported = False

        def on_step_end(self, **_: Any) -> None:  # type: ignore[override]
            link().check()

        def on_trial_start(self, *, trial: Any, **_: Any) -> None:  # type: ignore[override]
            link().began(_key(trial))

        def on_trial_result(  # type: ignore[override]
            self, *, trial: Any, result: dict[str, Any], **_: Any
        ) -> None:
            self.reported = True
            packed = result.pop("packed", None)  # so that Tune keeps no copy of it
            result.pop("rows", None)
            if packed is not None and _key(trial) not in self.ended:
                self.ended.add(_key(trial))
                link().ended(*unpack(packed))

        def on_trial_complete(self, *, trial: Any, **_: Any) -> None:  # type: ignore[override]
            if _key(trial) not in self.ended:  # no record: stopped by the scheduler
                self.ended.add(_key(trial))
                link().stopped(_key(trial))

        def on_trial_error(self, *, trial: Any, **_: Any) -> None:  # type: ignore[override]
            if _key(trial) in self.ended:
                return
            self.ended.add(_key(trial))
            link().lost(_key(trial), _reason(trial))
            if not self.reported and len(self.ended) >= HOPELESS_AFTER:
                raise Halt(
                    ExitCode.ENVIRONMENT,
                    f"no worker survives its start; the last one: {_reason(trial)}. "
                    f"Ray's messages are in {link().sweep / 'ray.log'}.",
                )

    return Stream()


def _reason(trial: Any) -> str:
    """Why Tune gave a trial up; it tells its callbacks that, not why."""
    return (
        f"its worker died {trial.num_failures} times (killed, out of memory, or a crash in native "
        "code); Ray's messages are in ray.log of the sweep"
    )


# ---------------------------------------------------------------------------------- in the worker


def _trial(config: dict[str, Any], *, function: TrialFunction | None, marker: str) -> None:
    """Run one cell in a worker and report its rows and, last, its record."""
    from ray import tune

    cell = TrialConfig.model_validate_json(config["cell"])
    reporter = _Reporter(tune.report)
    try:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, int(config["cpus"]))))
        run_trial = trial_function(function, cpus=config["cpus"])
        scratch = scratch_folder(Path(config["sweep"]), key=cell.key, marker=marker)
        result = run_trial(cell, scratch=scratch, on_metrics=reporter)
        packed = pack(result.record, result.history, result.outcomes)
    except Exception as error:  # noqa: BLE001 - of the program, not of the cell; told like one
        record = failed_record(
            cell,
            kind=type(error).__name__,
            message=str(error),
            traceback="".join(traceback.format_exception(error)),
        )
        packed = pack(record, [], None)
    tune.report({"step": cell.train.steps, "rows": reporter.take(), "packed": packed})


class _Reporter:
    """Collects history rows, so that a fast trial does not flood the driver."""

    def __init__(self, report: Any) -> None:
        self.report = report
        self.rows: list[dict[str, Any]] = []
        self.last = time.monotonic()

    def __call__(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        # a validation goes out at once: early stopping decides on it
        if "clean_accuracy" in row or time.monotonic() - self.last >= REPORT_EVERY_S:
            self.last = time.monotonic()
            self.report({"step": int(row["step"]), "rows": self.take()})

    def take(self) -> list[dict[str, Any]]:
        """The rows collected so far, once."""
        rows, self.rows = self.rows, []
        return rows


def scratch_folder(sweep: Path, *, key: str, marker: str) -> Path:
    """Where a cell keeps checkpoints: the sweep's folder, or one on a node that does not see it."""
    try:
        shared = (sweep / ".id").read_text().strip() == marker
    except OSError:
        shared = False
    if shared:
        return sweep / "cells" / key
    folder = Path(tempfile.gettempdir()) / f"auxsweep-{os.getuid()}" / marker / key
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def pack(record: TrialRecord, history: list[dict[str, Any]], outcomes: Outcomes | None) -> str:
    """Everything that a cell leaves, as one string: Tune looks into nothing and counts nothing."""
    content = {
        "record": record.to_json(),
        "history": history,
        "outcomes": None if outcomes is None else outcomes.pack(),
    }
    return base64.b64encode(zlib.compress(json.dumps(content).encode(), 6)).decode()


def unpack(text: str) -> tuple[TrialRecord, list[dict[str, Any]], Outcomes | None]:
    """Inverse of ``pack``."""
    content: Mapping[str, Any] = json.loads(zlib.decompress(base64.b64decode(text)))
    outcomes = content["outcomes"]
    return (
        TrialRecord.from_json(content["record"]),
        list(content["history"]),
        None if outcomes is None else Outcomes.unpack(outcomes),
    )

"""A connection to Ray: an existing cluster, or one of our own on this machine."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import secrets
import shutil
import socket
import tempfile
import threading
import time
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from sweep.engine.folder import in_ray_job
from sweep.engine.signals import Halt
from sweep.engine.summary import ExitCode
from sweep.runtime.program import program
from sweep.settings.section import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
#: The head is looked for so often, and given up after this time; Ray gives up after sixty.
HEAD_EVERY_S = 5.0
HEAD_WITHIN_S = 40.0
#: The head gets this long to take a connection before it counts as absent.
ANSWER_WITHIN_S = 5.0
OBJECT_STORE_BYTES = 128 * 1024**2


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
    if address is not None:
        _check_answers(address)
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


@contextmanager
def watched_head(gcs_address: str, stop: Callable[[Halt], None], sweep: Path) -> Iterator[None]:
    """End the sweep with a message when the head of the cluster is gone.

    Without it Ray ends this process by itself after a minute, with no word and exit code 1.

    Args:
        gcs_address: HOST:PORT of the head's control service.
        stop: Called from a thread, once.
        sweep: To name in the message.
    """
    host, _, port = gcs_address.rpartition(":")
    place = (host.strip("[]"), int(port))
    ended = threading.Event()

    def watch() -> None:
        seen = time.monotonic()
        while not ended.wait(HEAD_EVERY_S):
            try:
                socket.create_connection(place, timeout=HEAD_EVERY_S).close()
            except OSError as error:
                if time.monotonic() - seen > HEAD_WITHIN_S:
                    silent = f"no answer for {time.monotonic() - seen:.0f} s: {error}"
                    message = (
                        f"the head of the Ray cluster at {gcs_address} is gone ({silent}). "
                        "Everything stored is safe; when a cluster runs again: "
                        f"{program('resume', sweep)}"
                    )
                    stop(Halt(ExitCode.ENVIRONMENT, message))
                    return
            else:
                seen = time.monotonic()

    thread = threading.Thread(target=watch, name="head-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()


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
    root = Path(__file__).parents[3]
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


def _check_answers(address: str) -> None:
    """Refuse an address where nobody listens: Ray itself would wait for minutes, deaf to signals.

    Raises:
        ConfigError: No answer within a few seconds, or no HOST:PORT.
    """
    if address in {"auto", "local"}:
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError(f"Ray address '{address}': HOST:PORT was expected, such as 10.0.0.1:6379")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_WITHIN_S).close()
    except OSError as error:
        look = program("doctor", "--address", address)
        raise ConfigError(
            f"nobody answers at the Ray address {address} ({error}): is the cluster up, and is it "
            f"HOST:PORT of its head? `{look}` looks closer; without RAY_ADDRESS a cluster of our "
            "own is started, --local runs without Ray"
        ) from None


def _why_not(address: str | None, error: Exception) -> str:
    first = str(error).strip().partition("\n")[0] or type(error).__name__
    where = f"the cluster at {address}" if address else "Ray on this machine"
    hint = f"use --local to run without Ray, or `{program('doctor')}` to look closer"
    if "uthenticat" in str(error) or "token" in str(error):
        hint = (
            "the cluster wants a token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or "
            "RAY_AUTH_TOKEN_PATH) as on its head"
        )
    return f"cannot use {where}: {first}; {hint}"


def _session_dir() -> Path:
    """A short folder for Ray's sockets (limit 107 characters); removes those of dead drivers.

    A folder belongs to whoever holds the lock in it, not to a process number: containers that
    share a temporary folder number their processes apart.

    Raises:
        ConfigError: No folder that is short enough can be written.
    """
    top = _short_folder()
    with FileLock(top / ".guard", timeout=20):  # a new folder is locked before others look at it
        for old in (path.parent for path in top.glob(f"*/{HELD}")):
            lock = FileLock(old / HELD, timeout=0)
            with contextlib.suppress(Timeout, OSError), lock:
                shutil.rmtree(old, ignore_errors=True)
        mine = Path(tempfile.mkdtemp(prefix="", dir=top))
        _held.append(FileLock(mine / HELD))
        _held[-1].acquire()
    return mine


#: File in a session folder that its driver keeps locked; the kernel gives it free when it dies.
HELD = ".held"
_held: list[FileLock] = []
#: Longest path of a folder below which Ray's sockets still fit into 107 characters.
LONGEST_FOLDER = 40


def _short_folder() -> Path:
    refused = []
    for home in dict.fromkeys([Path("/tmp"), Path(tempfile.gettempdir()), Path("/dev/shm")]):
        top = home / f"aux-{os.getuid()}"
        if len(str(top)) > LONGEST_FOLDER:
            refused.append(f"{top}: too long for Ray's sockets")
            continue
        try:
            top.mkdir(mode=0o700, exist_ok=True)
            probe = Path(tempfile.mkdtemp(dir=top))
            probe.rmdir()
        except OSError as error:
            refused.append(f"{top}: {error.strerror}")
            continue
        return top
    raise ConfigError(
        f"no folder for Ray's sockets: {'; '.join(refused)}. Set TMPDIR to a short folder that can "
        "be written, or run with --local"
    )


def _shutdown(session_dir: Path | None) -> None:
    """Leave Ray; a cluster of our own ends and leaves nothing behind."""
    import ray

    ray.shutdown()
    if session_dir is not None:
        shutil.rmtree(session_dir, ignore_errors=True)
        while _held:
            _held.pop().release()

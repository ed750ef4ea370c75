"""Weights & Biases runs, one per cell, written by the driver from what trials send.

Trials never talk to W&B: dozens of writers meet rate limits, and an offline worker would leave
its run on its own node. Here a thread of the driver writes all runs, so that neither training nor
the ledger ever waits for a server, and a failure of W&B is a warning. Runs are derived data:
``rebuild`` makes them again from the records.

The id of a run is made of the id of the sweep folder (its file ``.id``) and the cell key. It is
stable over attempts, resumes and rebuilds, and moves with the folder; a cell that two sweeps share
has a run in each.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sweep.records.files import read_history, read_json, read_records, validation_of
from sweep.records.ledger import Ledger, sweep_id
from sweep.runtime.program import program
from sweep.tracking import content
from sweep.tracking.server import Mode, has_home, key_source, obstacle, resolve_mode

if TYPE_CHECKING:
    from pathlib import Path

    from sweep.records.record import TrialRecord
    from sweep.settings.study import StudyConfig
    from sweep.settings.trial import TrialConfig

log = logging.getLogger(__name__)

INIT_TIMEOUT_S = 30.0
#: How long the id of a run that just ended may stay taken.
IN_USE_S = 5.0
#: Upload of one finished run; what is late stays on disk for `sync`.
FINISH_TIMEOUT_S = 20.0
UPLOAD_TIMEOUT_S_PER_RUN = 30.0
#: Live rows waiting for a slow server; beyond it they are dropped and added when the cell ends.
MAX_WAITING = 10_000
#: Variables that reach W&B: who we are, how the server is reached, where its own files go, what it
#: tells its makers.
KEPT = frozenset({
    "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_CREDENTIALS_FILE", "WANDB_ENTITY",
    "WANDB_BASE_URL", "WANDB_HTTP_PROXY", "WANDB_HTTPS_PROXY", "WANDB_INSECURE_DISABLE_SSL",
    "WANDB_X_EXTRA_HTTP_HEADERS", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR",
    "WANDB_ERROR_REPORTING",
})  # fmt: skip
#: W&B shows runs with this exit code as killed.
_INTERRUPTED = 255


def run_id(sweep: Path, key: str) -> str:
    """W&B id of the run of a cell."""
    return f"{sweep_id(sweep)[:8]}-{key}"


def cell_key(run: str) -> str:
    """Cell key of a run id."""
    return run.rpartition("-")[2]


class Tracker:
    """Writes the runs of a sweep below ``<sweep>/wandb``; every method returns at once.

    Args:
        sweep: Folder of the sweep; its name is the group of the runs.
        study: Gives project, entity, tags and outcomes.
        mode: Overrides ``study.track.wandb``: `auto`, `online`, `offline` or `disabled`.
    """

    def __init__(self, sweep: Path, study: StudyConfig, *, mode: str | None = None) -> None:
        self.sweep = sweep.resolve()
        self.study = study
        self._tasks: queue.Queue[tuple[str, tuple[Any, ...]] | None] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._writer = _Writer(self.sweep, study, resolve_mode(mode or study.track.wandb))
        self._is_closed = False

    @property
    def mode(self) -> Mode:
        """Where runs go now; becomes `offline` when the server cannot be used."""
        return self._writer.mode

    def start(self, key: str, config: TrialConfig | Mapping[str, Any], attempt: int = 1) -> None:
        """Open the run of a cell, or note a further attempt of an open one."""
        self._put("start", key, _plain(config), attempt)

    def log(self, key: str, row: Mapping[str, Any]) -> None:
        """Add a history row of a running cell; cells that were not started are ignored."""
        if self._tasks.qsize() < MAX_WAITING:
            self._put("log", key, row)

    def finish(
        self, key: str, record: TrialRecord, history: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """Write what the record says and close the run; opens it if needed."""
        self._put("finish", key, record, history)

    def stop(
        self,
        key: str,
        config: TrialConfig | Mapping[str, Any],
        history: Sequence[Mapping[str, Any]] = (),
        *,
        step: int,
        validation: Mapping[str, float],
    ) -> None:
        """Close the run of a trial that early stopping ended; it has no final numbers."""
        self._put("stop", key, _plain(config), history, step, validation)

    def close(self, timeout_s: float = 60.0) -> None:
        """Mark open runs as interrupted and end W&B's own process, within ``timeout_s``."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._thread is None:
            return
        self._tasks.put(None)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            log.warning(
                "W&B did not finish within %.0f s; `%s` writes its runs again",
                timeout_s,
                program("sync", self.sweep),
            )
            self._writer.is_stopped = True
            _end_service()

    def _put(self, name: str, *arguments: Any) -> None:
        if self.mode == "disabled" or self._is_closed:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="wandb-writer", daemon=True)
            self._thread.start()
        self._tasks.put((name, arguments))

    def _work(self) -> None:
        with environment(self.sweep):
            while (task := self._tasks.get()) is not None:
                name, arguments = task
                self._writer.attempt(name, *arguments)
            self._writer.attempt("close")


class NoTracker:
    """A tracker that does nothing."""

    mode: Mode = "disabled"

    def start(self, key: str, config: TrialConfig | Mapping[str, Any], attempt: int = 1) -> None:
        """Do nothing."""

    def log(self, key: str, row: Mapping[str, Any]) -> None:
        """Do nothing."""

    def finish(
        self, key: str, record: TrialRecord, history: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """Do nothing."""

    def stop(
        self,
        key: str,
        config: TrialConfig | Mapping[str, Any],
        history: Sequence[Mapping[str, Any]] = (),
        *,
        step: int,
        validation: Mapping[str, float],
    ) -> None:
        """Do nothing."""

    def close(self, timeout_s: float = 60.0) -> None:
        """Do nothing."""


def open_tracker(
    sweep: Path, study: StudyConfig, *, mode: str | None = None
) -> Tracker | NoTracker:
    """The tracker that the study asks for."""
    if resolve_mode(mode or study.track.wandb) == "disabled":
        return NoTracker()
    return Tracker(sweep, study, mode=mode)


def _plain(config: TrialConfig | Mapping[str, Any]) -> Mapping[str, Any]:
    return config if isinstance(config, Mapping) else config.model_dump(mode="json")


# --------------------------------------------------------------------------- in the writer thread


@dataclass
class _Live:
    """An open run."""

    run: Any
    thinner: content.Thinner
    attempt: int = 1
    rows: list[dict[str, Any]] = field(default_factory=list)


class _Writer:
    """Calls W&B; used by one thread."""

    def __init__(self, sweep: Path, study: StudyConfig, mode: Mode) -> None:
        self.sweep = sweep
        self.study = study
        self.mode = mode
        self.live: dict[str, _Live] = {}
        self.is_stopped = False
        self._is_probed = False
        self._warned: set[str] = set()

    def attempt(self, name: str, *arguments: Any) -> None:
        """Call a method; whatever W&B does wrong is a warning, once per kind."""
        if self.is_stopped:
            return
        try:
            getattr(self, name)(*arguments)
        except Exception as error:  # noqa: BLE001 - tracking never stops a sweep
            self._warn(
                type(error).__name__,
                f"W&B: {name} failed: {type(error).__name__}: {str(error)[:300]} "
                "(the sweep goes on; its ledger has everything, "
                f"`{program('sync', self.sweep)}` writes the runs again)",
            )

    def start(self, key: str, config: Mapping[str, Any], attempt: int) -> None:
        live = self.live.get(key)
        if live is None:
            self._open(key, config, attempt)
        elif attempt != live.attempt:
            live.attempt = attempt
            live.run.config.update({"attempt": attempt}, allow_val_change=True)

    def log(self, key: str, row: Mapping[str, Any]) -> None:
        if (live := self.live.get(key)) is not None:
            self._log(live, live.thinner.keep(content.row(row)))

    def finish(self, key: str, record: TrialRecord, history: Sequence[Mapping[str, Any]]) -> None:
        self._write(
            key,
            record.config,
            history,
            attempt=record.run.get("attempt"),
            summary=content.summary(self.study, record),
            table=content.table(record),
            exit_code=0 if record.status == "done" else 1,
        )

    def stop(
        self,
        key: str,
        config: Mapping[str, Any],
        history: Sequence[Mapping[str, Any]],
        step: int,
        validation: Mapping[str, float],
    ) -> None:
        self._write(
            key,
            config,
            history,
            attempt=None,
            summary=content.stopped_summary(step, validation),
            table=[],
            exit_code=0,
        )

    def _write(
        self,
        key: str,
        config: Mapping[str, Any],
        history: Sequence[Mapping[str, Any]],
        *,
        attempt: int | None,
        summary: Mapping[str, Any],
        table: list[list[Any]],
        exit_code: int,
    ) -> None:
        """Bring the run of a cell to its end, whatever of it was written live."""
        rows = content.thin(history, config["train"]["steps"])
        live = self.live.get(key)
        attempt = attempt or (live.attempt if live else 1)
        if live is not None and live.rows and content.points(live.rows) != content.points(rows):
            # a restart or a slow server left gaps: the run is written again, whole
            self._finish(key, exit_code=_INTERRUPTED)
            live = None
        if live is None:
            live = self._open(key, config, attempt)
        if not live.rows:
            for values in rows:
                self._log(live, values)
        live.run.config.update(self._config(key, config, attempt), allow_val_change=True)
        live.run.summary.update(summary)
        if table:
            # it is also an artifact, which asks the server when online: it may fail alone
            self.attempt("_log_table", live, table)
        try:
            self._finish(key, exit_code=exit_code)
        except TimeoutError:
            self._leave_server(f"an upload took longer than {FINISH_TIMEOUT_S:.0f} s")
            self._write(
                key,
                config,
                history,
                attempt=attempt,
                summary=summary,
                table=table,
                exit_code=exit_code,
            )

    def close(self) -> None:
        for key in list(self.live):
            self.live[key].run.summary["status"] = "interrupted"
            self.attempt("_finish", key, _INTERRUPTED)
        if "wandb" in sys.modules:
            import wandb

            with contextlib.suppress(SystemExit):  # of W&B's process, should it have failed
                wandb.teardown()

    def _open(self, key: str, config: Mapping[str, Any], attempt: int) -> _Live:
        if self.mode == "online" and not self._is_probed:
            self._is_probed = True
            if reason := obstacle():
                self._go_offline(reason)
        for folder in (self.sweep / "wandb").glob(f"*run-*-{key}"):
            shutil.rmtree(folder, ignore_errors=True)  # of an interrupted attempt
        try:
            run = self._init(key, config, attempt)
        except Exception as error:
            if self.mode == "offline":
                raise
            self._leave_server(f"{type(error).__name__}: {str(error)[:300]}")
            run = self._init(key, config, attempt)
        for pattern in ("train/*", "validation/*"):
            run.define_metric(pattern, step_metric="step")
        live = _Live(run, content.Thinner(config["train"]["steps"]), attempt)
        self.live[key] = live
        return live

    def _init(self, key: str, config: Mapping[str, Any], attempt: int) -> Any:
        import wandb

        self.sweep.mkdir(parents=True, exist_ok=True)
        given = {
            "mode": self.mode,
            "project": self.study.track.project,
            "entity": self.study.track.entity,
            "group": self.sweep.name,
            "id": run_id(self.sweep, key),
            "dir": str(self.sweep),
            # without resume= the server replaces a run of the same id, which is what we want:
            # every run is written whole
            "reinit": "create_new",
            "config": self._config(key, config, attempt),
            "settings": _settings(),
            **content.identity(self.study, config),
        }
        end = time.monotonic() + IN_USE_S
        while True:
            try:
                return wandb.init(**given)
            except Exception as error:
                # W&B's process forgets a run a moment after its end
                if "in use" not in str(error) or time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def _config(self, key: str, config: Mapping[str, Any], attempt: int) -> dict[str, Any]:
        return content.run_config(self.study, config, key=key, sweep=self.sweep, attempt=attempt)

    def _log_table(self, live: _Live, rows: list[list[Any]]) -> None:
        import wandb

        table = wandb.Table(columns=list(content.TABLE_COLUMNS), data=[*rows])
        live.run.log({"conditions": table})

    def _log(self, live: _Live, values: dict[str, Any] | None) -> None:
        if values:
            live.run.log(values)
            live.rows.append(values)

    def _finish(self, key: str, exit_code: int) -> None:
        self.live.pop(key).run.finish(exit_code=exit_code)

    def _leave_server(self, reason: str) -> None:
        """The server fails or hangs: open runs are given up and written again when they end."""
        _end_service()
        self.live.clear()
        self._go_offline(reason)

    def _go_offline(self, reason: str) -> None:
        self.mode = "offline"
        self._warn(
            "offline", f"W&B goes offline: {reason}. Runs are kept in {self.sweep / 'wandb'}; "
            f"`{program('sync', self.sweep)}` uploads them later",
        )  # fmt: skip

    def _warn(self, kind: str, message: str) -> None:
        log.log(logging.DEBUG if kind in self._warned else logging.WARNING, message)
        self._warned.add(kind)


def _settings() -> Any:
    """No console capture, no machine statistics, no code, no questions, short waits."""
    import wandb

    wanted: dict[str, Any] = {
        "console": "off",
        "disable_code": True,
        "disable_git": True,
        "save_code": False,
        "silent": True,
        "symlink": False,  # the sweep folder stays relocatable
        "use_dot_wandb": False,
        "x_disable_stats": True,
        "x_disable_meta": True,
        "x_disable_machine_info": True,
        "x_save_requirements": False,
        "init_timeout": INIT_TIMEOUT_S,
        "login_timeout": 1.0,
        "finish_timeout": FINISH_TIMEOUT_S,
        "finish_timeout_raises": True,
    }
    known = wandb.Settings.model_fields  # some came with later releases
    return wandb.Settings(**{name: value for name, value in wanted.items() if name in known})


@contextlib.contextmanager
def environment(sweep: Path) -> Iterator[None]:
    """W&B's own folders below the sweep folder, for W&B's process too.

    `cache` holds logs and goes at the end. `data` stays: the tables of offline runs are uploaded
    from there, by absolute path. (A folder that was moved is no matter: `sync` writes it again.)
    """
    cache = sweep / "wandb" / "cache"
    wanted = {
        "WANDB_CACHE_DIR": str(cache),
        "WANDB_DATA_DIR": str(sweep / "wandb" / "data"),
        "WANDB_SILENT": "true",  # some of its messages heed this alone, not the setting
        **({} if has_home() else {"HOME": str(cache)}),  # it looks for settings there
    }
    ours = {name: value for name, value in wanted.items() if name not in os.environ}
    # what a run is and how it is written is said to W&B run by run: an agent or a job around us
    # that set an id or a group for one run of its own would turn all of ours into that one
    others = [name for name in os.environ if name.startswith("WANDB_") and name not in KEPT]
    hidden = {name: os.environ.pop(name) for name in others}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)
        os.environ.update(hidden)
        if "WANDB_CACHE_DIR" in ours:
            for link in (sweep / "wandb").glob("*/logs/debug-core.log"):
                link.unlink()  # points into the cache
            shutil.rmtree(cache, ignore_errors=True)


def _end_service() -> None:
    """Kill W&B's process when it does not answer: its exit hook would wait for it."""
    try:
        import wandb
        from wandb.sdk import wandb_setup

        connection: Any = wandb_setup.singleton()._connection
        connection._finalizer.close()
        connection._proc._process.kill()
        connection._proc._process.wait(5)
        with contextlib.suppress(BaseException):  # says goodbye to nobody, but forgets its state
            wandb.teardown()
    except Exception as error:  # noqa: BLE001 - private attributes of another package
        log.debug("could not end W&B's process: %s", error)


# ------------------------------------------------------------------------------ from the records


def rebuild(sweep: Path, *, mode: str | None = None) -> dict[str, Any]:
    """Write all runs of a sweep again from its records, and upload them when online.

    Must not be called while a driver writes the same folder.

    Args:
        sweep: Folder of the sweep.
        mode: `online` or `offline`; default see ``sync_mode``.

    Returns:
        `written` and `missing` (cell keys), `mode`, `uploaded` (cell keys), `message` (why nothing
        was uploaded, or "").

    Raises:
        OSError: The folder cannot be written to.
    """
    from sweep.studies.load import load_study

    sweep = sweep.resolve()
    study = load_study(str(sweep / "sweep.yaml"))
    if (sweep / "wandb").exists():  # an OSError here: nothing could be written anew either
        shutil.rmtree(sweep / "wandb")
    (sweep / "wandb").mkdir()
    keys = write(sweep, study)
    written = closed_runs(sweep)
    resolved = sync_mode(study, mode)
    found = {
        "written": [key for key in keys if key in written],
        "missing": [key for key in keys if key not in written],
        "mode": resolved,
        "uploaded": [],
        "message": "",
    }
    if resolved == "online":
        found["uploaded"], found["message"] = upload(sweep, [written[k] for k in found["written"]])
    return found


def write(sweep: Path, study: StudyConfig, skip: Collection[str] = ()) -> list[str]:
    """Write the offline runs of all cells that ended, but for those in ``skip``; their keys."""
    tracker = Tracker(sweep, study, mode="offline")
    keys = []
    cells = sweep / "cells"
    for record in read_records(sweep):
        if record.key not in skip:
            tracker.finish(record.key, record, read_history(cells / record.key))
            keys.append(record.key)
    for key, event in Ledger(sweep).stopped().items():
        if key in keys or key in skip:
            continue  # a later driver ran it to its end
        config = read_json(cells / key / "config.json")
        if config is None:
            continue
        tracker.stop(
            key,
            config,
            read_history(cells / key),
            step=event["step"],
            validation=validation_of(event),
        )
        keys.append(key)
    tracker.close(timeout_s=60 + 2 * len(keys))
    return keys


def sync_mode(study: StudyConfig, mode: str | None) -> Mode:
    """Whether `sync` uploads: as told, else by ``$WANDB_MODE``, else if there is a key.

    A study that runs offline is the usual reason for `sync`, so its own setting does not count.
    """
    asked = resolve_mode("auto")  # refuses what the environment says wrongly
    if mode is not None and mode != "auto":
        return resolve_mode(mode)
    if study.track.wandb == "online":
        return "online"
    if os.environ.get("WANDB_MODE"):
        return asked
    return "online" if key_source() else "offline"


def closed_runs(sweep: Path) -> dict[str, Path]:
    """Cell key -> newest folder of its run, for runs that were written to their end."""
    from sweep.tracking.wandb_file import read_run, run_folders

    found: dict[str, Path] = {}
    for run, folders in run_folders(sweep / "wandb").items():
        with contextlib.suppress(OSError, ValueError):
            if read_run(folders[-1]).exit_code not in (None, _INTERRUPTED):
                found[cell_key(run)] = folders[-1]
    return found


def upload(sweep: Path, folders: Sequence[Path]) -> tuple[list[str], str]:
    """Send run folders to the server by one `wandb sync`.

    Returns:
        Cell keys of the uploaded runs, and why some were not ("" if all were).
    """
    if not folders:
        return [], ""
    if reason := obstacle():
        return [], reason
    names = [str(folder.relative_to(sweep)) for folder in folders]
    command = [sys.executable, "-m", "wandb", "sync", "--yes", "-n", "4", *names]
    timeout_s = 120 + UPLOAD_TIMEOUT_S_PER_RUN * len(folders)
    with environment(sweep):
        variables = {**os.environ, "WANDB_DIR": str(sweep), "WANDB_SILENT": "false"}
        variables.pop("WANDB_MODE", None)  # `offline` there would keep it from the server
        try:
            done = subprocess.run(
                command,
                cwd=sweep,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired:
            return _synced(folders), f"the upload took longer than {timeout_s:.0f} s"
    uploaded = _synced(folders)
    if len(uploaded) == len(folders):
        return uploaded, ""
    tail = " | ".join(done.stdout.strip().splitlines()[-3:])
    return uploaded, f"{len(folders) - len(uploaded)} runs were not uploaded: {tail}"


def _synced(folders: Sequence[Path]) -> list[str]:
    """Cell keys of the runs that carry W&B's mark of a finished upload."""
    marks = (mark for folder in folders for mark in folder.glob("run-*.wandb.synced"))
    return [cell_key(mark.name.removesuffix(".wandb.synced")) for mark in marks]

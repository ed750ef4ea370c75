"""What users met when the world around a sweep was not as expected; real processes throughout."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from sweep.commands.status import look
from sweep.engine.folder import read_plan
from sweep.engine.tune import cluster
from sweep.records.files import read_history, read_record, read_records, write_json
from sweep.records.ledger import Ledger
from sweep.records.lock import HEARTBEAT_S, SweepLock, holder_of, pid_namespace
from sweep.report.build import build
from sweep.report.evidence import collect
from sweep.settings.section import ConfigError
from sweep.tracking.server import resolve_mode
from sweep.tracking.track import KEPT
from sweep.tracking.track import environment as wandb_environment

ROOT = Path(__file__).resolve().parents[2]
STORED = ROOT / "tests" / "frozen" / "sweeps" / "classification"
#: Two cells in seconds.
TINY = (
    "design.kind=anchors", "seeds=1", "train.steps=2", "train.batch=8", "data.train_per_class=3",
    "data.val_per_class=1", "data.labelled_per_class=2", "evaluate.temporal_checks=false",
    "evaluate.conditions={jumbling: [3]}", "outcomes={clean: [clean]}", "headline=[clean]",
    "track.wandb=disabled", "data.workers=1",
)  # fmt: skip
DRIVER = ROOT / "tests" / "engine" / "tiny_driver.py"


@pytest.fixture
def sweep(tmp_path):
    folder = tmp_path / "sweep"
    shutil.copytree(STORED, folder)
    return folder


def run(*arguments, **options):
    """The command line as a process of its own."""
    options.setdefault("env", {**os.environ, **options.pop("variables", {})})
    return subprocess.run(
        [sys.executable, "-m", "sweep.run", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120, **options,
    )  # fmt: skip


# ------------------------------------------------------------------- 1: nobody reads the output


def test_a_sweep_whose_output_nobody_reads_runs_to_its_end(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)  # every write fails with EPIPE
    done = subprocess.run(
        [sys.executable, "-m", "sweep.run", "study", "quickstart", "--local", *TINY,
         "--out", str(tmp_path / "s")],
        cwd=ROOT,
        stdout=writer, stderr=writer, check=False, timeout=240,
    )  # fmt: skip
    os.close(writer)
    assert done.returncode == 0
    assert len(Ledger(tmp_path / "s").finished()) == 2
    assert (tmp_path / "s" / "report" / "report.html").is_file()


@pytest.mark.parametrize(("ignores", "code"), [(False, 143), (True, 0)])
def test_a_terminal_that_is_closed_stops_a_sweep_but_not_under_nohup(ignores, code, tmp_path):
    master, slave = os.openpty()
    sweep = tmp_path / "s"

    def take_terminal():
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        if ignores:  # what nohup does
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    driver = subprocess.Popen(
        [sys.executable, str(DRIVER), str(sweep), "engine=local", "seeds=1", "pause=.4"],
        stdin=slave, stdout=slave, stderr=slave, preexec_fn=take_terminal,
    )  # fmt: skip
    try:
        os.close(slave)
        wait_for(lambda: len(Ledger(sweep).finished()) >= 1, driver)
        os.close(master)
        assert driver.wait(timeout=60) == code
    finally:
        driver.kill()
        driver.wait()
    ledger = Ledger(sweep)
    assert len(ledger.finished()) == 6 if ignores else ledger.events()[-1]["event"] == "interrupted"


def wait_for(has_come, process, limit_s=60):
    end = time.monotonic() + limit_s
    while not has_come():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("arguments", [["list"], ["status", STORED], ["plan", "quickstart"]])
def test_looking_through_a_pipe_that_closes_is_no_error(arguments):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "sweep.run", *map(str, arguments)],
        cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, check=False, timeout=120,
    )  # fmt: skip
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("redirection", [">&-", "2>&- >&-", ">/dev/full"])
def test_a_stream_that_is_closed_or_full_is_no_error(redirection):
    command = f'exec "$@" {redirection}'
    done = subprocess.run(
        ["sh", "-c", command, "sh", sys.executable, "-m", "sweep.run", "list"],
        cwd=ROOT, stderr=subprocess.PIPE, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


# ---------------------------------------------------------- 2: a process number is not a process


def test_a_lock_of_another_namespace_is_judged_by_its_heartbeat(tmp_path):
    path = tmp_path / "driver.lock"
    lock = SweepLock(tmp_path)
    lock.acquire()
    content = json.loads(path.read_text())
    assert content["pid_namespace"] == pid_namespace()
    lock.release()
    # the same host name, a process number that nobody has here, a living heartbeat
    elsewhere = {**content, "pid": 2**22 + 1, "pid_namespace": "pid:[1]"}
    write_json(path, elsewhere)
    with pytest.raises(ConfigError, match=r"another driver is at work .*driver\.lock"):
        SweepLock(tmp_path).acquire()
    long_ago = time.time() - 601
    os.utime(path, (long_ago, long_ago))
    SweepLock(tmp_path).acquire()
    assert holder_of(tmp_path)["pid"] == os.getpid()


def test_a_driver_in_another_namespace_is_left_alone(tmp_path):
    """Two real drivers, the second one in a PID namespace of its own."""
    unshare = shutil.which("unshare")
    probe = unshare and subprocess.run(
        [unshare, "--pid", "--fork", "--mount-proc", "true"], check=False, capture_output=True
    )
    if not probe or probe.returncode:
        pytest.skip("this machine gives no PID namespaces (unshare)")
    first = subprocess.Popen(
        [sys.executable, str(DRIVER), str(tmp_path / "s"), "engine=local", "pause=1"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for((tmp_path / "s" / "driver.lock").exists, first)
        second = subprocess.run(
            [unshare, "--pid", "--fork", "--mount-proc",
             sys.executable, str(DRIVER), str(tmp_path / "s"), "engine=local"],
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert first.poll() is None
        assert second.returncode == 2
        assert "another driver is at work" in second.stderr
    finally:
        first.kill()
        first.wait()


def test_a_lock_from_the_future_blocks_as_long_as_somebody_touches_it(tmp_path, monkeypatch):
    monkeypatch.setattr("sweep.records.lock.HEARTBEAT_S", -4.0)  # looks for a second
    assert HEARTBEAT_S == 30
    path = tmp_path / "driver.lock"
    write_json(path, {"host": "elsewhere", "pid": 1, "since": "tomorrow"})
    tomorrow = time.time() + 86_400
    os.utime(path, (tomorrow, tomorrow))
    SweepLock(tmp_path).acquire()
    assert holder_of(tmp_path)["pid"] == os.getpid()


def test_session_folders_belong_to_whoever_locks_them(monkeypatch, tmp_path):
    monkeypatch.setattr(cluster, "_short_folder", lambda: tmp_path)
    mine = cluster._session_dir()
    dead = tmp_path / "dead"
    dead.mkdir()
    (dead / cluster.HELD).touch()
    code = (
        "import sys; from pathlib import Path; from sweep.engine.tune import cluster;"
        "cluster._short_folder = lambda: Path(sys.argv[1]); print(cluster._session_dir())"
    )
    other = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert mine.is_dir()  # held by this process, whatever its number
    assert not dead.exists()
    assert Path(other.stdout.strip()) not in {mine, dead}
    cluster._held.pop().release()


# --------------------------------------------- 3: variables of a library steer it behind our back


def test_variables_of_others_do_not_reach_our_runs(tmp_path, monkeypatch):
    steering = {"WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_CONSOLE", "WANDB_PROJECT", "WANDB_MODE"}
    for name in steering | KEPT:
        monkeypatch.setenv(name, "of-somebody-else")
    with wandb_environment(tmp_path):
        assert not steering & os.environ.keys()
        assert os.environ.keys() >= KEPT
    assert all(os.environ[name] == "of-somebody-else" for name in steering | KEPT)


def test_runs_are_ours_below_an_agent_of_another_sweep(sweep):
    done = run(
        "sync", sweep,
        variables={"WANDB_RUN_ID": "agent", "WANDB_SWEEP_ID": "other", "WANDB_PROJECT": "their/s",
                   "WANDB_CONSOLE": "no such", "WANDB_SILENT": "maybe"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folders = sorted(path.name for path in (sweep / "wandb").glob("offline-run-*"))
    assert len(folders) == len(read_records(sweep))
    assert not [name for name in folders if name.endswith("-agent")]


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("WANDB_MODE", "onlin", "allowed are"), ("WANDB_DISABLED", "x", "allowed are"),
        ("WANDB_BASE_URL", "nonsense", "an address was expected"),
    ],
)  # fmt: skip
def test_a_value_that_means_nothing_is_refused_by_name(variable, value, said, tmp_path):
    out = tmp_path / "s"
    done = run("study", "quickstart", "--local", "--out", out, variables={variable: value})
    assert done.returncode == 2
    assert f"{variable}={value}: {said}" in done.stderr
    assert "Traceback" not in done.stderr


def test_w_and_b_can_be_switched_off_the_old_way(monkeypatch):
    monkeypatch.setenv("WANDB_DISABLED", "true")
    assert resolve_mode("auto") == "disabled"


# ------------------------------------------------------------------------ 4: a wait without end


def test_a_cluster_that_is_not_there_is_refused_at_once(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = time.monotonic()
    done = run(
        "study", "quickstart", "--out", tmp_path / "s", "data.train_per_class=1",
        "data.val_per_class=1", "data.labelled_per_class=1",
        variables={"RAY_ADDRESS": f"127.0.0.1:{port}", "AUXSWEEP_CACHE": str(tmp_path / "c")},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert f"nobody answers at the Ray address 127.0.0.1:{port}" in done.stderr
    assert time.monotonic() - start < 60  # Ray itself: no end in seven minutes


def test_a_server_that_takes_a_connection_and_says_nothing_ends_the_start(tmp_path):
    code = (
        "import sys; from sweep.engine.tune import tune_run; tune_run.START_WITHIN_S = 1.0\n"
        "from tests.engine.tiny_driver import main; sys.exit(main(*sys.argv[1:]))"
    )
    with socket.create_server(("127.0.0.1", 0)) as mute:
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "s")],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
            env=os.environ | {"RAY_ADDRESS": f"127.0.0.1:{mute.getsockname()[1]}"},
        )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "Ray has not started within 1 s" in done.stderr
    assert "ray.log" in done.stderr


# ------------------------------------------------------------------------------ 5: damaged files

DAMAGE = {
    "cut": lambda text: text[: len(text) // 2],
    "foreign": lambda _text: b"\xff\xfe\x00foreign",
    "another shape": lambda _text: b"[]",
    "empty": lambda _text: b"",
    "a bare word": lambda _text: b'"word"',
}


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("name", ["result.json", "history.jsonl", "config.json", "outcomes.npz"])
def test_a_damaged_file_of_a_cell_is_named_and_the_rest_is_read(name, how, sweep, caplog, undrawn):
    key = read_records(sweep)[0].key
    path = sweep / "cells" / key / name
    path.write_bytes(DAMAGE[how](path.read_bytes()))
    records = read_records(sweep)
    if name == "result.json":
        assert key not in {record.key for record in records}
        assert str(path) in caplog.text
        assert look(sweep)["counts"]["done"] == len(records)
        assert read_record(path.parent) is None
        assert Ledger(sweep).result(key) is None
    else:
        assert key in {record.key for record in records}
    if name == "history.jsonl":
        rows = read_history(path.parent)
        assert all("step" in row for row in rows)
        assert str(path) in caplog.text or how == "empty"
    if name == "outcomes.npz":
        assert collect(sweep).outcome_table(records[0]) is None
        assert str(path) in caplog.text
    if how == "foreign":
        assert build(sweep).markdown.is_file()


def test_resume_repairs_what_can_be_repaired(tmp_path):
    """A damaged plan is written again, a cell with a damaged record runs again, no other does."""
    sweep = tmp_path / "s"

    def drive():
        done = subprocess.run(
            [sys.executable, str(DRIVER), str(sweep), "engine=local", "seeds=1"],
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    drive()
    hurt = sorted((sweep / "cells").iterdir())[0]
    (hurt / "result.json").write_text('{"key": ')
    for name, text in {
        "plan.json": "",
        "progress.json": "[]",
        ".id": "\0?",
        "driver.lock": "{",
    }.items():
        (sweep / name).write_text(text)
    with (sweep / "ledger.jsonl").open("ab") as file:
        file.write(b'{"event": "fini')
    assert drive().endswith("done=6 failed=0 reused=5\n")
    assert len(read_plan(sweep).cells) == 6
    executed = Ledger(sweep).executions()
    assert executed.pop(hurt.name) == 2
    assert set(executed.values()) == {1}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_sweep_without_a_readable_plan_still_knows_its_cells(how, sweep):
    path = sweep / "plan.json"
    path.write_bytes(DAMAGE[how](path.read_bytes()))
    count = len(list((sweep / "cells").iterdir()))
    assert len(read_plan(sweep).cells) == count
    assert look(sweep)["counts"]["done"] == count
    assert len(read_records(sweep)) == count
    if how == "cut":
        assert build(sweep).markdown.is_file()


def test_a_row_of_a_plan_without_a_seed_costs_no_report(sweep):
    plan = json.loads((sweep / "plan.json").read_text())
    plan["cells"][0]["seed"] = [[]]
    plan["cells"][1]["losses"] = 3
    (sweep / "plan.json").write_text(json.dumps(plan))
    assert len(collect(sweep).records) == len(read_records(sweep)) == len(plan["cells"])


@pytest.mark.parametrize(
    "path",
    [("seed",), ("final",), ("config",), ("scores", 0, "accuracy"), ("label",)],
)
def test_a_record_with_a_value_of_another_kind_counts_as_missing(path, sweep, caplog):
    key = read_records(sweep)[0].key
    file = sweep / "cells" / key / "result.json"
    content = json.loads(file.read_text())
    holder = content
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = [[1]]
    file.write_text(json.dumps(content))
    assert key not in {record.key for record in read_records(sweep)}
    assert str(file) in caplog.text
    assert key not in Ledger(sweep).finished()


@pytest.mark.parametrize("content", [b"a: \0", b"\xff", b"[1]", b"a: [", b"word"])
def test_a_damaged_study_is_named_by_every_command_that_reads_it(content, sweep):
    (sweep / "sweep.yaml").write_bytes(content)
    for read in (look, collect):
        with pytest.raises(ValueError, match=r"sweep\.yaml.*damaged"):
            read(sweep)


def test_a_design_of_another_shape_is_explained(sweep):
    (sweep / "sweep.yaml").write_text("design: [search]\n")
    with pytest.raises(ConfigError, match="design"):
        look(sweep)


@pytest.mark.parametrize("seconds", [[1], {"all": [1]}])
def test_a_record_whose_times_are_damaged_counts_without_them(seconds, sweep):
    key = read_records(sweep)[0].key
    file = sweep / "cells" / key / "result.json"
    content = json.loads(file.read_text())
    content["run"]["seconds"] = seconds
    file.write_text(json.dumps(content))
    found = look(sweep)
    assert found["counts"]["done"] == found["used"]["cells"] + 1 == len(read_records(sweep))


@pytest.mark.parametrize("ledger", ["", '{"event": "planned", "key": "k"}\n'])
def test_without_plan_and_ledger_the_records_say_what_there_is(ledger, sweep):
    (sweep / "plan.json").unlink()
    (sweep / "ledger.jsonl").write_text(ledger)
    assert look(sweep)["counts"]["done"] == len(read_records(sweep)) > 0


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_lock_locks_nobody_out(how, tmp_path, caplog):
    path = tmp_path / "driver.lock"
    path.write_bytes(DAMAGE[how](b'{"host": "here", "pid": 1}'))
    assert holder_of(tmp_path) is None
    assert str(path) in caplog.text
    SweepLock(tmp_path).acquire()


# ------------------------------------------------------------------- 6, 7: the machine refuses


@pytest.mark.parametrize("verb", ["plan", "sync"])
def test_without_a_home_folder_the_message_says_what_to_set(verb, sweep, tmp_path):
    code = (
        "import os, sys, pwd\n"
        "for name in ('HOME', 'AUXSWEEP_CACHE'): os.environ.pop(name, None)\n"
        "def gone(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = gone\n"
        "from sweep.run import main; sys.exit(main(sys.argv[1:]))"
    )
    target = ["quickstart"] if verb == "plan" else [str(sweep)]
    done = subprocess.run(
        [sys.executable, "-c", code, verb, *target],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    if verb == "sync":  # needs no home folder
        assert done.returncode == 0
    else:
        assert done.returncode == 2
        assert "set HOME" in done.stderr
        assert "AUXSWEEP_CACHE" in done.stderr


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("no folder")
    done = run(
        "study", "quickstart", "--local", "--out", tmp_path / "s",
        variables={"AUXSWEEP_CACHE": str(tmp_path / "file")},
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert str(tmp_path / "file") in done.stderr
    assert not (tmp_path / "s").exists()


def test_letters_that_the_terminal_lacks_are_replaced(sweep):
    done = run("status", sweep, variables={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


# --------------------------------------------------------------------- 11: nothing was done


def test_sync_counts_what_it_wrote(sweep, monkeypatch):
    from sweep.commands import sync

    assert sync.run(sweep) == 0
    monkeypatch.setattr("sweep.tracking.track.Tracker.finish", lambda *_: None)  # a full disk
    assert sync.run(sweep) == 1

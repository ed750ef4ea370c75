"""What the driver makes of lost workers, silence and full disks, without a cluster."""

import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from rich.console import Console

from sweep.engine.board import Board
from sweep.engine.signals import Halt, Signals
from sweep.engine.summary import ExitCode
from sweep.engine.tune import cluster, failures, watch
from sweep.engine.tune.decisions import with_room
from sweep.engine.tune.reporter import Reporter
from sweep.records.lock import process_start
from sweep.runtime import heartbeat
from sweep.runtime.device import is_out_of_memory
from sweep.training.checkpoint import Progress, load, save

CPU = torch.device("cpu")
#: What Ray 2.60 said in runs in which this happened.
SAID = {
    "WorkerDied": "The actor died unexpectedly before finishing this task. The actor is dead"
    " because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail:"
    " Worker unexpectedly exits with a connection error code 2. End of file.",
    "NodeDied": "The actor died because its node has died. Node Id: 65b98ef28bc8",
    "OutOfMemory": "ray::ImplicitFunc.train()\n"
    "sweep.engine.tune.failures.TrialOutOfMemoryError: no room",
}


@pytest.mark.parametrize("kind", SAID)
def test_the_cause_is_read_from_what_ray_says(kind):
    assert failures.classify(SAID[kind]) == kind


def test_nodes_that_die_do_not_use_up_the_restarts_of_a_cell():
    budget = failures.Restarts(2)
    assert all(budget.spend("a", "NodeDied") for _ in range(failures.MAX_NODE_LOSSES))
    assert [budget.spend("a", kind) for kind in ("WorkerDied", "Hang", "Hang")] == [1, 1, 0]
    assert not failures.Restarts(0).spend("a", "WorkerDied")
    assert failures.Restarts(0).spend("a", "NodeDied")


def test_what_ran_out_of_memory_gets_one_more_chance():
    budget = failures.Restarts(5)
    assert [budget.spend("a", "OutOfMemory") for _ in range(2)] == [True, False]
    assert budget.spend("b", "OutOfMemory")


HANGS = """
import sys, threading, time
from sweep.engine.tune.watch import _stacks_file
def waits_for_ever(lock):
    lock.acquire()
lock = threading.Lock()
lock.acquire()
threading.Thread(target=waits_for_ever, args=(lock,)).start()
time.sleep(0.1)
print(_stacks_file().fileno(), flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("stopped", [False, True])
def test_a_silent_process_gives_its_stacks_and_dies(stopped):
    process = subprocess.Popen([sys.executable, "-c", HANGS], stdout=subprocess.PIPE, text=True)
    descriptor = int(process.stdout.readline())
    start = process_start(process.pid)
    assert watch.stacks_then_kill(process.pid, "another", descriptor) == ""
    assert process.poll() is None  # a number that was given to another process since
    if stopped:
        os.kill(process.pid, signal.SIGSTOP)
    wait_s = 1.0 if stopped else 20.0
    stacks = watch.stacks_then_kill(process.pid, start, descriptor, wait_s=wait_s)
    assert process.wait(timeout=5) == -signal.SIGKILL
    process.communicate()
    assert ("waits_for_ever" in stacks) != stopped


def test_silence_counts_only_while_the_driver_listens(monkeypatch):
    moment = 1000.0
    monkeypatch.setattr(watch.time, "monotonic", lambda: moment)
    dog = watch.Watchdog(60.0)
    dog.began("a", None)
    moment += 1000.0  # the driver wrote to a slow disk; reports wait in the queue
    assert not list(dog.check())
    for _ in range(59):
        moment += 1.0
        assert not list(dog.check())
    assert dog.watched["a"].asked is None
    dog.heard("a", where=None, at="testing 3/9")
    for _ in range(59):
        moment += 1.0
        assert not list(dog.check())
    assert dog.watched["a"].asked is None
    moment += 2.0
    list(dog.check())
    assert dog.watched["a"].asked == moment
    assert dog.watched["a"].silent_s == pytest.approx(61.0)


def test_no_time_limit_watches_over_nothing(monkeypatch):
    dog = watch.Watchdog(None)
    dog.began("a", None)
    monkeypatch.setattr(watch.time, "monotonic", lambda: 1e9)
    assert not list(dog.check())


def test_waiting_for_a_lock_is_a_sign_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(heartbeat, "LOCK_BEAT_S", 0.05)
    heard = []
    taken = threading.Event()

    def hold():
        with FileLock(tmp_path / "lock"):
            taken.set()
            time.sleep(0.3)

    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait(5)
    with heartbeat.heard_by(heard.append), heartbeat.locked(tmp_path / "lock", "decoding"):
        pass
    holder.join()
    assert heard
    assert set(heard) == {"waiting for another process: decoding"}
    heartbeat.beat("nobody listens")
    assert "nobody listens" not in heard


def test_a_worker_reports_signs_of_life_now_and_then():
    sent = []
    reporter = Reporter(sent.append, beat_every_s=0.1)
    end = time.monotonic() + 0.45
    while time.monotonic() < end:
        reporter.beat("testing 1/2")
        time.sleep(0.002)
    assert 2 <= len(sent) <= 5
    assert sent[0] == {"step": 0, "rows": [], "at": "testing 1/2"}


def test_a_head_that_is_gone_ends_the_sweep_with_a_message(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "HEAD_EVERY_S", 0.05)
    monkeypatch.setattr(cluster, "HEAD_WITHIN_S", 0.3)
    head = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{head.getsockname()[1]}"
    stopped = threading.Event()
    with Signals() as signals:

        def stop(halt):
            signals.stop(halt)
            stopped.set()

        with cluster.watched_head(address, stop, tmp_path):
            time.sleep(0.6)
            signals.check()
            head.close()
            assert stopped.wait(10)
            with pytest.raises(Halt, match=f"{address} is gone") as halt:
                signals.check()
    assert halt.value.code == ExitCode.ENVIRONMENT
    assert f"resume {tmp_path}" in halt.value.message


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_costs_the_checkpoint_not_the_trial(tmp_path):
    module, progress = torch.nn.Linear(300, 300), Progress(step=3)
    save(tmp_path, {"learner": module}, progress, CPU)
    before = (tmp_path / "last.pt").read_bytes()
    (tmp_path / ".last.pt").symlink_to("/dev/full")
    progress.step = 6
    save(tmp_path, {"learner": module}, progress, CPU)
    assert (tmp_path / "last.pt").read_bytes() == before
    assert len(progress.warnings) == 1
    assert progress.warnings[0].startswith("checkpoints could not be written, first at step 6: ")
    assert not (tmp_path / ".last.pt").exists()  # room again: the next one is written
    save(tmp_path, {"learner": module}, progress, CPU)
    assert load(tmp_path, {"learner": module}, CPU).step == 6


def test_memory_that_does_not_suffice_is_told_from_other_errors():
    with pytest.raises(RuntimeError) as refused:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(refused.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried ..."))
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))
    assert not is_out_of_memory(ValueError("out of memory"))


@pytest.mark.parametrize(
    ("ended_s", "running_s", "left", "expected_s"),
    [
        ([], [1], 4, None),  # nothing known
        ([10], [], 0, 0),
        ([10, 10], [4, 9], 2, 6),  # the last two: the slower one counts, not the mean
        ([10, 10], [4, 9], 3, 11),  # the third goes to whoever is free first
        ([10], [0, 0, 0, 0], 12, 30),  # three rounds of four
        ([10], [60], 1, 0.5),  # over time: soon
        ([10], [], 4, 20),  # two workers, just between cells
    ],
)  # fmt: skip
def test_the_time_left(tiny, tmp_path, monkeypatch, ended_s, running_s, left, expected_s):
    study = tiny.study(())
    board = Board(study, sweep=tmp_path, total=left, console=Console(quiet=True))
    moment = time.monotonic()
    monkeypatch.setattr("sweep.engine.board.time.monotonic", lambda: moment)
    cells = tiny.cells(study, "f0")
    for cell in cells[: max(2, len(running_s))]:
        board.began(cell, 1)
    board.running.clear()
    board._seconds = list(ended_s)
    for cell, seconds in zip(cells, running_s, strict=False):
        board.began(cell, 1)
        board.running[cell.key].since = moment - seconds
    found = board.left_s
    assert found == (None if expected_s is None else pytest.approx(expected_s))


def test_the_board_tells_silence_attempts_and_the_last_error(tiny, tmp_path):
    study = tiny.study(())
    board = Board(study, sweep=tmp_path, total=2, console=Console(quiet=True))
    cell = tiny.cells(study, "f0")[0]
    board.began(cell, 1)
    board.heard(cell.key, "data: decode 3/9")
    assert board.running[cell.key].phase == "data: decode 3/9"
    board.lost(cell, "Hang", "no sign of life for 9 s on n1")
    assert not board.running
    board.began(cell, 2)
    board.heard(cell.key, "step 3/5")
    running = board.running[cell.key]
    assert (running.phase, running.problem) == ("step 3/5", "Hang: no sign of life for 9 s on n1")
    running.heard -= 100
    board._file()
    content = json.loads((tmp_path / "progress.json").read_text())
    (row,) = content["running"]
    assert row["heard_s"] == pytest.approx(100, abs=2)
    assert (row["attempt"], row["problem"]) == (2, running.problem)
    assert content["lost"][0]["kind"] == "Hang"
    assert math.isclose(content["lost"][0]["time"], time.time(), abs_tol=5)


@pytest.mark.parametrize(
    ("bundle", "is_card", "expected"),
    [
        # main memory: all of the largest node that has the rest
        ({"CPU": 2, "memory": 3}, False, {"CPU": 2, "memory": 64}),
        ({"CPU": 2, "GPU": 0.25, "memory": 3}, False, {"CPU": 2, "GPU": 0.25, "memory": 32}),
        ({"CPU": 2}, False, {"CPU": 2}),  # not known: nothing keeps neighbours away
        ({"CPU": 2, "memory": 300}, False, {"CPU": 2, "memory": 300}),
        # of the card
        ({"CPU": 2, "GPU": 0.25, "memory": 3}, True, {"CPU": 2, "GPU": 1, "memory": 3}),
        ({"CPU": 2, "GPU": 1}, True, {"CPU": 2, "GPU": 1}),
        ({"CPU": 2, "GPU": 2}, True, {"CPU": 2, "GPU": 2}),
    ],
)
def test_what_ran_out_of_memory_asks_for_more_the_next_time(bundle, is_card, expected):
    nodes = [
        {"CPU": 1, "memory": 128}, {"CPU": 8, "memory": 64}, {"CPU": 4, "GPU": 1, "memory": 32},
    ]  # fmt: skip
    given = dict(bundle)
    assert with_room(bundle, is_card=is_card, nodes=nodes) == expected
    assert bundle == given

"""Processes are killed at random moments: nothing is lost, nothing is done twice, it ends."""

import json
import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress

import pytest

from sweep.records.ledger import Ledger
from tests.engine.ray_processes import open_environment, small_cluster, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(540)]
#: Real trials: a few clips, a few steps, a checkpoint after each.
CELLS = (
    "design.kind=anchors", "train.steps=6", "train.batch=8", "train.log_every=1",
    "train.checkpoint_every=1", "data.train_per_class=4", "data.val_per_class=2",
    "data.labelled_per_class=3", "evaluate.temporal_checks=false",
    "evaluate.conditions={jumbling: [3]}", "outcomes={clean: [clean]}", "headline=[clean]",
    "resources.max_failures=4",
)  # fmt: skip


def count(sweep, event):
    return sum(e["event"] == event for e in Ledger(sweep).events())


def run_with_kills(start, sweep, cluster, arguments, kills, *, cells, seed):
    """Start drivers until the sweep has ended; returns how many there were and the last output."""
    draw = random.Random(seed)
    draw.shuffle(kills)

    def begin():
        env = open_environment(RAY_ADDRESS=cluster.address)
        return start(sweep, *arguments, env=env), count(sweep, "started")

    driver, before = begin()
    drivers, done = 1, []
    for number, kill in enumerate(kills):
        # spread over the sweep: some hit a driver that has only just begun, some a busy one
        due = int(0.9 * cells * number / len(kills))

        def is_due(driver=driver, before=before, due=due):
            has_begun = count(sweep, "started") > before
            return (has_begun and count(sweep, "finished") >= due) or driver.poll() is not None

        wait_until(is_due, limit_s=240)
        time.sleep(draw.uniform(0.0, 1.5))
        if driver.poll() is not None:
            break
        if kill == "worker":
            wait_until(lambda: cluster.workers() or driver.poll() is not None)  # noqa: B023
            for pid in draw.sample(cluster.workers(), 1):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        elif kill == "raylet":
            os.kill(cluster.raylets[-1], signal.SIGKILL)
            cluster.add(1)  # a spot node comes back
        elif kill == "stop":  # Ctrl-C, Slurm, `ray job stop`
            began = time.monotonic()
            driver.send_signal(signal.SIGTERM)
            driver.communicate(timeout=20)
            assert driver.returncode == 143
            assert time.monotonic() - began < 5  # 3 on a machine that does nothing else
        else:
            driver.kill()
            driver.communicate()
        done.append(kill)
        if kill in ("driver", "stop"):
            driver, before = begin()
            drivers += 1
    out, err = driver.communicate(timeout=400)
    while driver.returncode == 1 and drivers < 12:  # a cell that was hit too often: `resume`
        driver, _ = begin()
        drivers += 1
        out, err = driver.communicate(timeout=400)
    assert driver.returncode == 0, err
    return drivers, done, out


def contents(sweep):
    """Everything that a sweep has found, byte for byte, without what differs by nature."""
    found = {}
    for folder in sorted((sweep / "cells").iterdir()):
        record = json.loads((folder / "result.json").read_text())
        record.pop("run")
        found[folder.name] = [
            json.dumps(record, sort_keys=True),
            (folder / "history.jsonl").read_bytes(),
            outcomes.read_bytes() if (outcomes := folder / "outcomes.npz").exists() else b"",
        ]
    return found


def check(sweep, quiet, look, *, cells):
    assert contents(sweep) == contents(quiet)
    events = Ledger(sweep).events()
    finished = Counter(e["key"] for e in events if e["event"] == "finished")
    assert len(finished) == cells
    assert set(finished.values()) == {1}
    assert look.again(sweep) == []
    assert Ledger(sweep).failed() == set()
    assert not (sweep / "driver.lock").exists()


def test_a_few_kills(start, tmp_path, look):
    """Twelve cells, two of them real; a stop, a killed worker, a node that dies and a new one."""
    sweep, quiet = tmp_path / "s", tmp_path / "quiet"
    arguments = (*CELLS, "seeds=6", "pause=1", "real=1")
    start(quiet, *CELLS, "seeds=6", "real=1", "engine=local", env=open_environment()).communicate()
    with small_cluster(1, 1) as cluster:
        kills = ["stop", "worker", "raylet"]
        drivers, done, out = run_with_kills(
            start, sweep, cluster, arguments, kills, cells=12, seed=3
        )
    assert sorted(done) == ["raylet", "stop", "worker"]
    assert drivers >= 2
    assert "done=12 failed=0" in out
    check(sweep, quiet, look, cells=12)
    # the node that joined was used, and losing one cost no cell a restart
    lost = [e["kind"] for e in Ledger(sweep).events() if e["event"] == "lost"]
    assert set(lost) <= {"WorkerDied", "NodeDied"}
    assert "WorkerDied" in lost


@pytest.mark.timeout(900)
def test_twenty_kills(start, tmp_path, look):
    """Three raylets, forty cells, six of them real trials."""
    sweep, quiet = tmp_path / "s", tmp_path / "quiet"
    arguments = (*CELLS, "seeds=20", "pause=2", "real=3")
    start(quiet, *CELLS, "seeds=20", "real=3", "engine=local", env=open_environment()).communicate()
    kills = ["driver"] * 5 + ["stop"] + ["worker"] * 13 + ["raylet"]
    with small_cluster(1, 1, 1) as cluster:
        drivers, done, out = run_with_kills(
            start, sweep, cluster, arguments, kills, cells=40, seed=20
        )
    assert sorted(done) == sorted(kills)
    assert drivers >= 7
    assert "done=40 failed=0" in out
    check(sweep, quiet, look, cells=40)
    assert Ledger(sweep).executions().total() > 40

"""`ray job submit` to a head with two worker nodes: stopped, submitted again, complete."""

import json
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from sweep.records.ledger import Ledger
from tests.engine.ray_processes import (
    RAY,
    clean_environment,
    end,
    free_ports,
    kill_all_with,
    wait_until,
)

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(590)]
ROOT = Path(__file__).resolve().parents[2]
STUDY = (
    "seeds=10", "train.steps=40", "train.batch=8", "train.log_every=1", "train.checkpoint_every=1",
    "data.train_per_class=4", "data.val_per_class=2", "data.labelled_per_class=3",
    "evaluate.temporal_checks=false", "evaluate.conditions={jumbling: [3]}",
    "outcomes={clean: [clean]}", "headline=[clean]", "track.wandb=disabled", "design.kind=anchors",
)  # fmt: skip


@contextmanager
def head_and_two_workers(home):
    """Three nodes with one token; the head runs no trial. Yields environment and address."""
    port, dashboard, client, *agents = free_ports(6)
    env = clean_environment(
        RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32), HOME=str(home),
        AUXSWEEP_CACHE=os.environ.get("AUXSWEEP_CACHE", str(home / "cache")),
    )  # fmt: skip
    common = ["--block", "--disable-usage-stats", "--object-store-memory=80000000"]
    nodes = []

    def start(*arguments):
        nodes.append(
            subprocess.Popen([RAY, "start", *arguments, *common], env=env, start_new_session=True,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )  # fmt: skip

    with tempfile.TemporaryDirectory(prefix="rj", dir="/tmp", ignore_cleanup_errors=True) as short:
        try:
            start("--head", f"--port={port}", "--dashboard-host=127.0.0.1", "--num-cpus=0",
                  f"--dashboard-port={dashboard}", f"--ray-client-server-port={client}",
                  f"--dashboard-agent-listen-port={agents[0]}", f"--temp-dir={short}")  # fmt: skip
            address = f"http://127.0.0.1:{dashboard}"
            wait_until(lambda: ray_job(env, address, "list").returncode == 0, limit_s=240)
            # one after the other: of raylets of one machine that start together one may be lost;
            # and apart, because every node unpacks the job's folder over what lies there already
            for number, agent in enumerate(agents[1:], start=1):
                start(f"--address=127.0.0.1:{port}", "--num-cpus=1", f"--temp-dir={short}{number}",
                      f"--dashboard-agent-listen-port={agent}")  # fmt: skip
                joined = f"/{number}.0 CPU"
                wait_until(lambda: joined in state(env, port), nodes[-1], limit_s=120)  # noqa: B023
            yield env, address
        finally:
            for node in reversed(nodes):
                node.terminate()
            for node in nodes:
                end(node)
            kill_all_with(short)
            for number in range(1, len(agents)):
                shutil.rmtree(f"{short}{number}", ignore_errors=True)


def state(env, port):
    """What `ray status` says of the cluster."""
    done = subprocess.run(
        [RAY, "status", f"--address=127.0.0.1:{port}"],
        env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    print(done.stdout, done.stderr)
    return done.stdout


def ray_job(env, address, verb, *arguments, limit_s=420):
    return subprocess.run(
        [RAY, "job", verb, f"--address={address}", *arguments],
        env=env, capture_output=True, text=True, timeout=limit_s, check=False, cwd=ROOT,
    )  # fmt: skip


def submit(env, address, *arguments):
    """Submit; a head that has just started answers "No available agent" for some seconds."""
    for _ in range(40):
        done = ray_job(env, address, "submit", "--working-dir", str(ROOT), *arguments)
        if "No available agent" not in done.stdout + done.stderr:
            return done
        time.sleep(1)
    raise AssertionError(done.stdout + done.stderr)


def count(sweep, event):
    return sum(e["event"] == event for e in Ledger(sweep).events())


def test_stopped_and_submitted_again_it_ends_complete(tmp_path, look):
    sweep = tmp_path / "runs" / "job"
    program = ("--", "python", "-m", "sweep.run")
    with head_and_two_workers(tmp_path) as (env, address):
        first = submit(env, address, "--no-wait", "--submission-id", "first", *program,
                       "study", "quickstart", *STUDY, "--out", str(sweep))  # fmt: skip
        assert first.returncode == 0, first.stdout + first.stderr
        wait_until(lambda: count(sweep, "finished") >= 2, limit_s=240)
        assert ray_job(env, address, "stop", "first").returncode == 0
        wait_until(
            lambda: "was stopped" in ray_job(env, address, "status", "first").stdout, limit_s=120
        )
        stopped = Ledger(sweep).events()
        assert stopped[-1]["event"] == "interrupted"
        assert not (sweep / "driver.lock").exists()
        assert count(sweep, "finished") < 20

        last = submit(env, address, *program, "resume", str(sweep))
    assert last.returncode == 0, last.stdout + last.stderr
    reused = sum(e["event"] == "finished" for e in stopped)
    assert f"SWEEP_STATUS={sweep} done=20 failed=0 reused={reused}" in last.stdout
    assert look.again(sweep) == []
    assert len(look.results(sweep)) == 20
    # one CPU on either node and none on the head: two cells at a time need both
    assert at_work(Ledger(sweep).events()) == 2
    assert json.loads((sweep / "plan.json").read_text())["study"] == "quickstart"


def at_work(events):
    """The largest number of cells between their start and their end."""
    running, most = set(), 0
    for event in events:
        if event["event"] in ("interrupted", "reused"):
            running.clear()
        elif event["event"] == "started":
            running.add(event["key"])
        elif event["event"] in ("finished", "lost", "failed"):
            running.discard(event["key"])
        most = max(most, len(running))
    return most

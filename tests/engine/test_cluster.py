"""What several nodes share and do not share. One cluster serves all tests, in their order."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sweep.engine.summary import ExitCode
from sweep.records.files import read_history
from sweep.records.ledger import Ledger
from tests.engine.ray_processes import open_environment, small_cluster, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]
ROOT = Path(__file__).resolve().parents[2]
#: Two cells of real trials.
CELLS = (
    "design.kind=anchors", "seeds=1", "train.steps=2", "train.batch=8", "train.log_every=1",
    "data.train_per_class=4", "data.val_per_class=2", "data.labelled_per_class=3",
    "evaluate.temporal_checks=false", "evaluate.conditions={jumbling: [3]}",
    "outcomes={clean: [clean]}", "headline=[clean]", "track.wandb=disabled",
)  # fmt: skip


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """A head of one CPU; the tests add nodes."""
    home = tmp_path_factory.mktemp("nodes")
    with small_cluster(1, cwd=home) as cluster:
        cluster.home = home
        cluster.env = open_environment(
            RAY_ADDRESS=cluster.address, PYTHONPATH=str(ROOT),
            AUXSWEEP_CACHE=os.environ.get("AUXSWEEP_CACHE", str(home / "cache")),
        )  # fmt: skip
        yield cluster


@pytest.fixture(scope="module")
def both(nodes):
    """Two nodes; workers of the second begin where nobody can write."""
    nodes.add(1, cwd="/sys")
    return nodes


def sweep_run(nodes, *arguments):
    """The command line, in the folder that the head was begun in."""
    return subprocess.run(
        [sys.executable, "-m", "sweep.run", *map(str, arguments)],
        env=nodes.env, cwd=nodes.home, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip


def finished_on(sweep):
    """Nodes that finished a cell."""
    return {
        json.loads(path.read_text())["run"]["node"] for path in sweep.glob("cells/*/result.json")
    }


def test_a_node_that_joins_gets_work_and_one_that_dies_costs_nothing(nodes, start, tmp_path, look):
    sweep = tmp_path / "s"
    process = start(sweep, "pause=4", "seeds=1", env=nodes.env, cwd=tmp_path)
    wait_until(lambda: finished_on(sweep), process)
    nodes.add(1)
    wait_until(lambda: len(finished_on(sweep)) == 2, process)
    os.kill(nodes.raylets[-1], signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "done=6 failed=0" in out
    assert look.again(sweep) == []


def test_a_folder_that_a_node_cannot_write_is_refused_and_a_shared_one_passes(
    both, start, tmp_path
):
    """A path that leads elsewhere on every node: /proc/self/cwd, and nobody can write to /sys."""
    (both.home / "out").mkdir()
    given = ("engine=ray", "seeds=1", "resources.shared_checkpoints=true")
    here = {"env": both.env, "cwd": both.home}
    apart = start("/proc/self/cwd/out", *given, **here)
    _out, err = apart.communicate(timeout=120)
    assert apart.returncode == ExitCode.ENVIRONMENT, err
    assert "resources.shared_checkpoints: /proc/self/cwd/out is not seen by" in err
    assert err.count("cannot write /proc/self/cwd/out on") == 1
    assert "Traceback" not in err
    # a folder that all share passes; what runs out of memory has a node's to itself the next time
    given = (*given, "memory=all", "resources.memory_gb_per_trial=0.1")
    both = start(tmp_path / "s", *given, **here)
    out, err = both.communicate(timeout=120)
    assert both.returncode == 0, err
    assert "done=6 failed=0" in out
    events = Ledger(tmp_path / "s").events()
    assert [e["apart"] for e in events if e["event"] == "storage"] == [[]]
    assert [e["kind"] for e in events if e["event"] == "lost"] == ["OutOfMemory"]


@pytest.mark.slow
def test_a_sweep_on_several_nodes_ends_by_its_budget(both, start, tmp_path):
    sweep = tmp_path / "s"
    process = start(sweep, "pause=1", "resources.budget=0.0014cpuh", env=both.env)  # 5 s
    out, err = process.communicate(timeout=120)
    assert process.returncode == ExitCode.OVER_BUDGET, err
    assert out.startswith(f"SWEEP_STATUS={sweep} done=")
    last = Ledger(sweep).events()[-1]
    assert last["event"] == "over_budget"
    assert last["spent"] <= 0.0014
    assert 1 <= len(Ledger(sweep).finished()) < 6


def test_a_plan_asks_the_cluster_how_many_trials_it_holds(both):
    def asked(*more):
        done = sweep_run(both, "plan", "quickstart", *CELLS, *more, "--cluster", "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["resources"]["workers"]

    with ThreadPoolExecutor() as pool:  # both at once: they wait for Ray most of the time
        small, large = pool.submit(asked), pool.submit(asked, "resources.cpus_per_trial=4")
    assert (small.result(), large.result()) == (2, 1)


@pytest.mark.slow
def test_two_ranks_on_two_nodes_find_what_one_process_finds(both, start, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    rule = "{when: {min_losses: 1}, workers_per_trial: 2, cpus_per_trial: 2}"
    first = start(one, *CELLS, "real=1", "engine=local", env=both.env)
    second = start(two, *CELLS, "real=1", f"resources.rules=[{rule}]", env=both.env)
    for process in (first, second):
        out, err = process.communicate(timeout=200)
        assert process.returncode == 0, err
        assert "done=2 failed=0" in out
    held = [e["cores"] for e in Ledger(two).events() if e["event"] == "started"]
    assert held == [1.0, 2.0]
    assert Ledger(one).finished() == Ledger(two).finished()
    records = [Ledger(sweep).result(key) for key in Ledger(one).finished() for sweep in (one, two)]
    single, ranked = (record for record in records if record.label == "all")
    assert_alike(ranked, single)
    histories = (read_history(sweep / "cells" / single.key) for sweep in (two, one))
    # one step of Adam lets rounding grow: it divides each gradient by its own size
    for mine, theirs, rel in zip(*histories, (1e-5, 1e-3), strict=True):
        assert mine["losses"] == pytest.approx(theirs["losses"], rel=rel, abs=1e-6)


def assert_alike(two, one):
    assert (two.run["ranks"], one.run["ranks"]) == (2, 1)
    assert two.key == one.key
    for mine, theirs in zip(two.scores, one.scores, strict=True):
        assert (mine.condition, mine.clips, mine.pixels) == (
            theirs.condition, theirs.clips, theirs.pixels)  # fmt: skip
        # a clip between two classes may fall on the other side in float32
        assert abs(mine.accuracy - theirs.accuracy) <= 100 / theirs.clips
    assert two.weights == pytest.approx(one.weights, rel=1e-3)
    assert two.final["cross_entropy"] == pytest.approx(one.final["cross_entropy"], rel=1e-3)

"""The engine on real Ray: processes are killed, nodes vanish, jobs are submitted."""

import json
import random
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sweep.records.ledger import Ledger
from tests.engine.ray_processes import RAY, clean_environment, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]
ROOT = Path(__file__).resolve().parents[2]
REAL = (
    "seeds=1", "train.steps=3", "train.batch=8", "train.log_every=1", "data.train_per_class=4",
    "data.val_per_class=2", "data.labelled_per_class=3", "evaluate.temporal_checks=false",
    "evaluate.conditions={jumbling: [3]}", "outcomes={clean: [clean]}", "headline=[clean]",
    "track.wandb=disabled", "design.kind=anchors",
)  # fmt: skip


def finished(sweep):
    return sum(e["event"] == "finished" for e in Ledger(sweep).events())


def test_kills_of_driver_and_workers_lose_and_repeat_nothing(start, tmp_path, look):
    quiet, killed, home = tmp_path / "quiet", tmp_path / "killed", tmp_path / "home"
    home.mkdir()
    mark = tmp_path / "once"
    mark.touch()
    undisturbed = start(quiet, "engine=local")
    first = start(
        killed, f"die={mark}", "pause=0.5", env=clean_environment(HOME=str(home)), cwd=tmp_path
    )
    wait_until(lambda: "starting Ray" in first.stderr.readline(), first)
    first.stdout.close()  # nobody reads any more: no reason to lose a cell
    first.stderr.close()
    first.stdout = first.stderr = None
    wait_until(lambda: finished(killed) >= 2, first)
    time.sleep(random.uniform(0, 1))
    first.kill()
    first.wait()
    last = start(killed, env=clean_environment(HOME=str(home)), cwd=tmp_path)
    out, err = last.communicate(timeout=120)
    assert last.returncode == 0, err
    assert err.index("starting Ray") < err.index("asking the nodes for room")
    assert out == f"SWEEP_STATUS={killed} done=12 failed=0 reused={12 - started_last(killed)}\n"
    assert undisturbed.wait(timeout=60) == 0
    assert look.results(killed) == look.results(quiet)
    assert look.again(killed) == []
    # the worker that killed itself was replaced within the first driver, from its checkpoint
    assert not mark.exists()
    assert max(Ledger(killed).executions().values()) >= 2
    assert not (killed / "tune").exists()
    assert list(home.iterdir()) == []  # no token, no results folder in the user's home


def started_last(sweep):
    """Cells that the last driver finished."""
    events = [e["event"] for e in Ledger(sweep).events()]
    last = len(events) - events[::-1].index("reused")
    return events[last:].count("finished")


@pytest.mark.slow
def test_search_with_early_stopping_and_a_cell_that_cannot_live(start, tmp_path):
    sweep = tmp_path / "s"
    asks = start(tmp_path / "asks", "resources.gpus_per_trial=64", env=clean_environment())
    mark = tmp_path / "always"
    mark.touch()
    process = start(
        sweep, f"die={mark}", "pause=0.2", "design.kind=search", "search.trials=10", "seeds=1",
        "search.objective=clean", "train.validate_every=1", "search.grace=0.4",
        "search.reduction=2", "resources.max_failures=0",
        env=clean_environment(), cwd=tmp_path,
    )  # fmt: skip
    out, err = process.communicate(timeout=150)
    assert process.returncode == 1, err
    ledger = Ledger(sweep)
    events = ledger.events()
    assert len([e for e in events if e["event"] == "suggested"]) == 10
    assert ledger.stopped()
    # `all` cannot live: neither with its own seed nor with the fresh ones of the confirmation
    failed = [e for e in events if e["event"] == "failed"]
    assert [e["type"] for e in failed] == ["WorkerDied"] * 4
    failures = [json.loads(path.read_text()) for path in sweep.glob("cells/*/failure.json")]
    assert [failure["label"] for failure in failures] == ["all"] * 4
    assert "failed: all s300" in err
    assert "WorkerDied: its worker died 1 times" in err
    assert "failed=4" in out
    assert "raylet" not in out + err
    assert all(failure["error"]["step"] is not None for failure in failures)

    _out, err = asks.communicate(timeout=90)
    assert asks.returncode == 2
    assert "a trial asks for 1 CPU and 64 GPU, but no node has that" in err
    assert "Traceback" not in err


def test_ray_job_submit_with_token(token_head, tmp_path):
    """A real head with dashboard and token; logs come back, the exit status is right."""

    def submit(env, *command):
        # the dashboard answers a little before its job agent is there
        for _ in range(30):
            done = subprocess.run(
                [RAY, "job", "submit", f"--address={token_head.dashboard}",
                 "--working-dir", str(ROOT), "--", *command],
                env=env, capture_output=True, text=True, timeout=150, check=False, cwd=ROOT,
            )  # fmt: skip
            if "No available agent" not in done.stdout + done.stderr:
                break
        return done

    program = ("python", "-m", "sweep.run", "study", "quickstart")
    sweep = tmp_path / "runs" / "job"
    bare = {k: v for k, v in token_head.env.items() if not k.startswith("RAY_AUTH")}
    with ThreadPoolExecutor() as pool:  # all at once: they wait for Ray most of the time
        right = pool.submit(submit, token_head.env, *program, *REAL, "--out", str(sweep))
        wrong = pool.submit(submit, token_head.env, *program, "train.stepz=3")
        refused = pool.submit(submit, bare, "true")
    done = right.result()
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert f"SWEEP_STATUS={sweep} done=2 failed=0 reused=0" in done.stdout
    assert "starting Ray" in text
    assert "succeeded" in text
    assert len(list(sweep.glob("cells/*/result.json"))) == 2

    done = wrong.result()
    assert done.returncode == 1  # Ray says 1 for whatever the program says
    assert "did you mean 'steps'?" in done.stdout + done.stderr
    assert "exit code 2" in done.stdout + done.stderr

    done = refused.result()
    assert done.returncode != 0
    assert "uthentication" in done.stdout + done.stderr


@pytest.mark.slow
def test_a_trial_that_hangs_one_that_is_stopped_and_one_without_memory(start, tmp_path):
    """The first goes on after a restart; the others fail with what a person needs to know."""
    sweep = tmp_path / "s"
    process = start(
        sweep, "hang=all", "stop=none", "memory=all - pixel", "seeds=1", "pause=1",
        "resources.hang_timeout_s=6", "resources.max_failures=1",
        env=clean_environment(), cwd=tmp_path,
    )  # fmt: skip
    out, err = process.communicate(timeout=230)
    assert process.returncode == 1, err
    assert "done=4 failed=2" in out
    ledger = Ledger(sweep)
    labels = {e["key"]: e["label"] for e in ledger.events() if e["event"] == "planned"}
    lost = [(labels[e["key"]], e["kind"]) for e in ledger.events() if e["event"] == "lost"]
    assert sorted(lost) == [("all", "Hang"), ("all - pixel", "OutOfMemory"), ("none", "Hang")]
    failed = {labels[e["key"]]: e for e in ledger.events() if e["event"] == "failed"}
    assert {label: e["type"] for label, e in failed.items()} == {
        "none": "Hang", "all - pixel": "OutOfMemory"
    }  # fmt: skip
    assert "no sign of life for" in failed["none"]["message"]
    assert "lost, will be tried again: all s300" in err
    by_label = {label: key for key, label in labels.items()}
    stacks = (ledger.cell(by_label["all"]) / "stacks.txt").read_text()
    assert "in misbehave" in stacks
    assert (ledger.cell(by_label["none"]) / "stacks.txt").read_text().count("attempt") == 2

"""`status` of a sweep that ran, failed, was interrupted, grew or took cells over."""

import json
import subprocess
import sys
import time

import pytest

from sweep.commands import status
from sweep.commands.status import cell_states, look
from sweep.engine.run import run_study
from sweep.records.files import write_json
from sweep.records.ledger import Ledger, now
from sweep.records.plan import PlannedCell, SweepPlan
from sweep.settings.section import ConfigError


def run(tiny, sweep, *overrides, **options):
    return run_study(
        tiny.study(("seeds=1", *overrides)), out=sweep, engine="local",
        trial=tiny.make_trial(**options), plan=tiny.plan,
    )  # fmt: skip


def test_a_finished_sweep(tiny, tmp_path, capsys):
    first, sweep = tmp_path / "first", tmp_path / "s"
    run(tiny, first)
    run(tiny, sweep, f"reuse=['{first}']", "losses.frame_order={}")
    (sweep / "report").mkdir()
    (sweep / "report" / "report.html").write_text("<p>")
    found = look(sweep)
    assert found["counts"]["done"] == found["planned"] == 7
    assert found["reused"] == {"first": 2}
    assert found["report"] == str(sweep / "report" / "report.html")
    assert found["driver"] is None
    assert status.run(sweep) == 0
    text = capsys.readouterr().out
    assert "7 done" in text
    assert "2 of the done were taken over from first" in text
    assert "continue with" not in text
    assert f"SWEEP_STATUS={sweep} done=7 failed=0 planned=7" in text
    assert status.run(sweep, as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == found


def test_failures_and_lost_attempts_are_told_with_reasons(tiny, tmp_path, capsys):
    sweep = tmp_path / "s"
    run(tiny, sweep, fail="all")
    (key,) = Ledger(sweep).failed()
    event = {"event": "lost", "key": key, "attempt": 1, "kind": "Hang", "message": "silent"}
    Ledger(sweep).append(event, {"event": "interrupted", "message": "interrupted by SIGTERM"})
    found = look(sweep)
    assert found["counts"] == {
        "done": 5, "running": 0, "failed": 1, "stopped early": 0, "pending": 0,
    }  # fmt: skip
    assert [row["cell"] for row in found["failed"]] == ["all s300"]
    assert status.run(sweep) == 0
    text = capsys.readouterr().out
    assert f"failed: all s300 ({key}): Diverged: the loss is not finite" in text
    assert "lost attempt 1 of all s300 (Hang): silent" in text
    assert "interrupted by SIGTERM" in text
    assert f"resume {sweep}" in text


def test_a_cell_whose_attempt_was_lost_is_pending_until_it_starts_again(tmp_path):
    ledger = Ledger(tmp_path)
    plan = SweepPlan(cells=(PlannedCell(key="k", label="none", seed=0),))
    since = now()
    ledger.append({"event": "started", "key": "k", "attempt": 1})
    assert cell_states(tmp_path, plan, since=since) == {"k": "running"}
    ledger.append({"event": "lost", "key": "k", "attempt": 1, "kind": "Hang", "message": ""})
    assert cell_states(tmp_path, plan, since=since) == {"k": "pending"}
    ledger.append({"event": "started", "key": "k", "attempt": 2})
    assert cell_states(tmp_path, plan, since=since) == {"k": "running"}
    assert cell_states(tmp_path, plan, since=None) == {"k": "pending"}


def test_running_cells_grow_older_between_two_reports(tiny, tmp_path, monkeypatch, capsys):
    sweep = tmp_path / "s"
    run(tiny, sweep)
    row = {
        "key": "k", "cell": "all [meltr] s1", "at": "step 3/9", "loss": 0.5, "seconds": 10.0,
        "attempt": 2, "heard_s": 1.0, "problem": "",
    }  # fmt: skip
    content = {"time": time.time() - 100, "left_s": 150.0, "best": {}, "running": [row]}
    write_json(sweep / "progress.json", content)
    at_work = {"alive": True, "pid": 1, "host": "h", "since": now()}
    monkeypatch.setattr(status, "holder_of", lambda _: at_work)
    found = look(sweep)
    assert found["running"][0]["seconds"] == pytest.approx(110, abs=5)
    assert found["running"][0]["heard_s"] == pytest.approx(101, abs=5)
    assert found["left_s"] == pytest.approx(50, abs=5)
    assert status.run(sweep) == 0
    text = capsys.readouterr().out
    assert "all [meltr] s1" in text
    assert "(silent)" in text
    assert "left: about" in text


def test_status_needs_neither_torch_nor_ray(tiny, tmp_path):
    sweep = tmp_path / "s"
    run(tiny, sweep)
    code = (
        "import sys; from sweep.run import main\n"
        f"code = main(['status', {str(sweep)!r}, '--json'])\n"
        "heavy = {'torch', 'ray', 'numpy', 'pandas', 'wandb', 'optuna'} & set(sys.modules)\n"
        "sys.exit(code or len(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"]["done"] == 6


def test_no_sweep(tmp_path):
    with pytest.raises(ConfigError, match="not a sweep folder"):
        look(tmp_path)


@pytest.mark.parametrize("damage", [{"seed": 1}, {"key": ["a"], "label": "a", "seed": 1}, 3])
def test_a_plan_whose_cells_lack_something_gives_way_to_the_ledger(tiny, tmp_path, damage):
    sweep = tmp_path / "s"
    run(tiny, sweep)
    before = look(sweep)
    plan = json.loads((sweep / "plan.json").read_text())
    plan["cells"][0] = damage
    write_json(sweep / "plan.json", plan)
    assert look(sweep)["counts"] == before["counts"]

import json
import math
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sweep.commands import status
from sweep.engine.folder import check_fingerprint, folder, read_study
from sweep.engine.run import run_study
from sweep.engine.signals import STOPS
from sweep.engine.tune import reporter, worker
from sweep.engine.tune.cluster import cluster
from sweep.records.ledger import Ledger
from sweep.records.record import TrialResult
from sweep.settings.section import ConfigError
from sweep.settings.trial import TrialConfig
from sweep.studies.load import dump_study
from tests.outcomes import classified


def run(tiny, sweep, *overrides, **options):
    return run_study(
        tiny.study(overrides), out=sweep, engine="local", trial=tiny.make_trial(**options),
        plan=tiny.plan,
    )  # fmt: skip


def test_a_study_runs_and_a_second_driver_runs_nothing(tiny, tmp_path, look):
    sweep = tmp_path / "runs" / "s"
    first = run(tiny, sweep)
    assert (first.code, first.planned, first.done, first.failed, first.reused) == (0, 12, 12, 0, 0)
    assert first.status_line == f"SWEEP_STATUS={sweep} done=12 failed=0 reused=0"
    plan = json.loads((sweep / "plan.json").read_text())
    assert [c["label"] for c in plan["cells"][:3]] == ["none", "all", "all - consistency"]
    assert {c["key"] for c in plan["cells"]} == set(look.results(sweep))
    history = (sweep / "cells" / plan["cells"][0]["key"] / "history.jsonl").read_text()
    assert len(history.splitlines()) == tiny.STEPS

    second = run(tiny, sweep)
    assert (second.code, second.done, second.reused) == (0, 12, 12)
    assert set(Ledger(sweep).executions().values()) == {1}
    assert not (sweep / "driver.lock").exists()
    assert read_study(sweep) == tiny.study(())


def test_failed_cells_are_told_and_only_they_run_again(tiny, tmp_path, look):
    sweep = tmp_path / "s"
    first = run(tiny, sweep, fail="all")
    assert (first.code, first.done, first.failed) == (1, 10, 2)
    assert all("Diverged: the loss is not finite" in text for text in first.failures.values())
    assert {name.split(" (")[0] for name in first.failures} == {"all s300", "all s301"}
    second = run(tiny, sweep)
    assert (second.code, second.done, second.failed, second.reused) == (0, 12, 0, 10)
    assert look.again(sweep) == []
    assert not list(sweep.glob("cells/*/failure.json"))


def test_another_configuration_is_refused_and_shown(tiny, tmp_path):
    sweep = tmp_path / "s"
    run(tiny, sweep, "seeds=1")
    with pytest.raises(ConfigError) as refused:
        run(tiny, sweep, "seeds=2", "train.lr=0.5", "title=other")
    message = str(refused.value)
    assert "seeds: 1 -> 2" in message
    assert "train.lr: 0.002 -> 0.5" in message
    assert "title" not in message
    assert "--out" in message


def test_a_start_that_failed_leaves_nothing_behind(tiny, tmp_path):
    """A wrong data folder must not block the corrected command on the same folder."""
    sweep = tmp_path / "s"

    def no_data(study, folder, signals):
        raise ConfigError("no data here")

    with pytest.raises(ConfigError, match="no data here"):
        run_study(tiny.study(("seeds=1",)), out=sweep, engine="local", plan=no_data)
    assert not sweep.exists()
    # a driver killed before its plan was written: nothing was started, any study may begin
    sweep.mkdir()
    (sweep / "sweep.yaml").write_text(dump_study(tiny.study(("seeds=1",))))
    assert run(tiny, sweep).done == 12


def test_texts_outcomes_and_resources_may_change(tiny, tmp_path):
    sweep = tmp_path / "s"
    run(tiny, sweep, "seeds=1")
    given = ("seeds=1", "title=other", "resources.cpus_per_trial=2", "outcomes.new=[clean]")
    again = run(tiny, sweep, *given)
    assert again.reused == 6
    assert read_study(sweep).title == "other"


def test_a_changed_data_set_is_refused(tmp_path):
    check_fingerprint(tmp_path, "a")
    plan = {"created": "today", "cells": [], "data": {"fingerprint": "a"}}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    check_fingerprint(tmp_path, "a")
    with pytest.raises(ConfigError, match=r"the data set changed .*a -> b"):
        check_fingerprint(tmp_path, "b")


def test_folders_that_cannot_be_used(tiny, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match=r"cannot write here \(Not a directory\)"):
        run(tiny, tmp_path / "file" / "s")
    with pytest.raises(ConfigError, match="cannot write here"):
        run(tiny, Path("/proc/nowhere/s"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(ConfigError, match=r"not a sweep \(holds thesis.tex"):
        run(tiny, tmp_path / "mine")
    with pytest.raises(ConfigError, match="not a sweep folder"):
        read_study(tmp_path / "mine")


def test_where_a_sweep_goes(tiny, tmp_path, monkeypatch):
    study = tiny.study(())
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUXSWEEP_RUNS", raising=False)
    assert folder(study, None) == tmp_path / "runs" / "quickstart"
    assert folder(study, Path("x")) == tmp_path / "x"
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert folder(study, None) == Path.home() / "auxsweep-runs" / "quickstart"
    with pytest.raises(ConfigError, match="thrown away"):
        folder(study, Path("x"))
    monkeypatch.setenv("AUXSWEEP_RUNS", str(tmp_path / "all"))
    assert folder(study, None) == tmp_path / "all" / "quickstart"


def test_the_address_of_a_dashboard_is_refused(tmp_path):
    with (
        pytest.raises(ConfigError, match="address of a dashboard"),
        cluster("http://127.0.0.1:8265", log=tmp_path / "ray.log"),
    ):
        pass


def test_a_node_without_the_shared_folder_uses_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(worker.tempfile, "gettempdir", lambda: str(tmp_path / "node"))
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / ".id").write_text("abc\n")
    here = worker.scratch_folder(tmp_path / "sweep", key="k", marker="abc")
    assert here == tmp_path / "sweep" / "cells" / "k"
    for sweep, marker in ((tmp_path / "sweep", "other"), (tmp_path / "nowhere", "abc")):
        folder = worker.scratch_folder(sweep, key="k", marker=marker)
        assert folder.is_dir()
        assert tmp_path / "node" in folder.parents


def test_a_record_travels_whole(tiny):
    outcomes = classified(
        ids={"clean": ("a", "b")},
        labels={"clean": np.asarray([0, 1])},
        predictions={"clean": np.asarray([0, 3], dtype=np.int16)},
    )
    record = tiny.record_of(tiny.cells(tiny.study(()), "f0")[1])
    history = [{"step": 1, "unified": 0.1, "losses": {"pixel": math.nan}}]
    back = reporter.unpack(reporter.pack(TrialResult(record, history, outcomes)))
    assert back.record == record
    assert repr(back.history) == repr(history)
    assert back.outcomes.pack() == outcomes.pack()


def test_a_record_too_large_to_travel_goes_without_its_outcomes(tiny, monkeypatch, caplog):
    monkeypatch.setattr(reporter, "MAX_PACKED_BYTES", 64 * 1024)
    record = tiny.record_of(tiny.cells(tiny.study(()), "f0")[1])
    history = [{"step": 1, "unified": 0.1, "losses": {}}]
    draw = np.random.default_rng(0)

    def outcomes(clips):
        names = tuple(map(str, range(clips)))
        return classified(
            ids={"clean": names},
            labels={"clean": np.zeros(clips, dtype=np.int64)},
            predictions={"clean": draw.integers(0, 2**15, clips).astype(np.int16)},
        )

    back = reporter.unpack(reporter.pack(TrialResult(record, history, outcomes(1000))))
    assert back.record == record
    assert back.outcomes is not None
    packed = reporter.pack(TrialResult(record, history, outcomes(40_000)))
    assert len(packed) <= reporter.MAX_PACKED_BYTES
    back = reporter.unpack(packed)
    assert back.outcomes is None
    assert back.history == history
    assert "evaluate.fidelity" in back.record.run["outcomes"]
    assert replace(back.record, run=record.run) == record
    assert "too large to travel" in caplog.text


def test_a_full_disk_ends_the_sweep_with_a_message(tiny, tmp_path, look):
    sweep = tmp_path / "s"
    sweep.mkdir()
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    (sweep / "ledger.jsonl").symlink_to("/dev/full")
    full = run(tiny, sweep, "seeds=1")
    assert full.code == 2
    assert "No space left on device" in full.message
    assert "resume" in full.message
    (sweep / "ledger.jsonl").unlink()
    assert run(tiny, sweep, "seeds=1").done == 6


def test_a_cell_that_cannot_be_stored_runs_again(tiny, tmp_path, look):
    sweep = tmp_path / "s"
    key = TrialConfig.key.fget(tiny.cells(tiny.study(["seeds=1"]), "f0")[2])
    blocked = sweep / "cells" / key
    sweep.mkdir()
    (sweep / "sweep.yaml").write_text(dump_study(tiny.study(["seeds=1"])))

    def trial(config, **given):
        result = tiny.make_trial()(config, **given)
        if config.key == key:
            blocked.rename(sweep / "aside")
            blocked.write_text("a file where the folder should be")
        return result

    study = tiny.study(["seeds=1"])
    ended = run_study(study, out=sweep, engine="local", trial=trial, plan=tiny.plan)  # fmt: skip
    assert (ended.code, ended.done) == (2, 2)
    assert "What was stored is safe" in ended.message
    blocked.unlink()
    assert run(tiny, sweep, "seeds=1").done == 6
    assert look.again(sweep) == []


def wait_for(sweep, event, count, process, limit_s=60):
    ledger = Ledger(sweep)
    end = time.monotonic() + limit_s
    while sum(e["event"] == event for e in ledger.events()) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("number", sorted(STOPS))
def test_a_signal_leaves_a_sweep_that_can_go_on(start, tmp_path, look, number):
    sweep = tmp_path / "s"
    process = start(sweep, "engine=local", "pause=0.2")
    wait_for(sweep, "finished", 2, process)
    began = time.monotonic()
    process.send_signal(number)
    if number == signal.SIGHUP:  # a shell and the kernel send one each
        process.send_signal(number)
    out, _err = process.communicate(timeout=10)
    assert time.monotonic() - began < 3
    assert process.returncode == (130 if number == signal.SIGINT else 143)
    assert out.splitlines()[-1].startswith(f"SWEEP_STATUS={sweep} done=")
    assert Ledger(sweep).events()[-1]["event"] == "interrupted"
    again = start(sweep, "engine=local")
    again.communicate(timeout=60)
    assert again.returncode == 0
    assert look.again(sweep) == []


def test_two_drivers_on_one_folder(start, tmp_path, look):
    sweep = tmp_path / "s"
    first = start(sweep, "engine=local", "pause=60")
    wait_for(sweep, "started", 1, first)
    for _ in range(2):  # being refused takes nothing from the first
        second = start(sweep, "engine=local")
        _out, err = second.communicate(timeout=60)
        assert second.returncode == 2
        assert f"another driver is at work on this sweep: process {first.pid} on" in err
    assert first.poll() is None
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=20)
    assert first.returncode == 143
    last = start(sweep, "engine=local")
    out, _err = last.communicate(timeout=60)
    assert last.returncode == 0
    assert "done=12" in out
    assert look.again(sweep) == []


@pytest.mark.slow
def test_kill_9_at_random_moments_loses_and_repeats_nothing(start, tmp_path, look):
    quiet, killed = tmp_path / "quiet", tmp_path / "killed"
    start(quiet, "engine=local").communicate(timeout=60)
    draw = random.Random(time.time_ns())
    for _ in range(6):
        process = start(killed, "engine=local", "pause=0.1")
        time.sleep(draw.uniform(0.3, 1.2))
        process.kill()
        process.communicate()
    last = start(killed, "engine=local")
    out, err = last.communicate(timeout=60)
    assert last.returncode == 0, err
    assert "done=12 failed=0" in out
    assert look.results(killed) == look.results(quiet)
    assert look.again(killed) == []


def test_status_tells_what_is_done_running_and_failed(start, tiny, tmp_path, capsys):
    sweep = tmp_path / "s"
    process = start(sweep, "engine=local", "pause=1", "fail=none")
    wait_for(sweep, "started", 3, process)
    end = time.monotonic() + 20
    while "running: process" not in (text := shown(sweep, capsys)) or "1 running" not in text:
        assert time.monotonic() < end
        time.sleep(0.1)
    assert "1 done, 1 running, 1 failed, 9 pending" in text
    assert "failed: none s300" in text
    process.kill()
    process.communicate()
    text = shown(sweep, capsys)
    assert "no driver is at work on it" in text
    assert "1 done, 1 failed, 10 pending" in text
    assert f"resume {sweep}" in text


def shown(sweep, capsys):
    assert status.run(sweep) == 0
    return capsys.readouterr().out

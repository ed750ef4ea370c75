"""Runs really written by W&B's own process and read back from disk, or from a loopback server."""

from __future__ import annotations

import json
import logging
import math
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweep.records.files import read_history
from sweep.tracking import track
from sweep.tracking.content import MAX_POINTS, TABLE_COLUMNS, points, row, thin
from sweep.tracking.server import key_source, resolve_mode
from sweep.tracking.track import (
    NoTracker,
    Tracker,
    cell_key,
    closed_runs,
    open_tracker,
    rebuild,
    run_id,
)
from sweep.tracking.wandb_file import WandbRun, read_run, run_folders
from tests.tracking.conftest import STEPS, cell, history, record

#: W&B's own entries, and the random names of the artifact that holds the table.
VOLATILE = ("_", "conditions/artifact_path", "conditions/_latest_artifact_path")


def children() -> list[int]:
    """Processes started from this one, directly."""
    tasks = Path("/proc/self/task").glob("*/children")
    return [int(pid) for path in tasks for pid in path.read_text().split()]


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def services() -> list[int]:
    """W&B processes started from here."""
    return [pid for pid in children() if "wandb" in Path(f"/proc/{pid}/comm").read_text()]


def files_below(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def runs_of(sweep: Path) -> dict[str, WandbRun]:
    found = run_folders(sweep / "wandb")
    return {cell_key(run): read_run(folders[-1]) for run, folders in found.items()}


def stable(content: dict) -> dict:
    return {k: v for k, v in content.items() if not k.startswith(VOLATILE)}


def write_live(tracker: Tracker, cells) -> None:
    """All cells at once, row by row, as a driver with eight workers does."""
    for config in cells:
        tracker.start(config.key, config)
    for rows in zip(*(history(config) for config in cells), strict=True):
        for config, values in zip(cells, rows, strict=True):
            tracker.log(config.key, values)
    for config in cells:
        tracker.finish(config.key, record(config), history(config))


def test_eight_live_runs(tmp_path, study, cells, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "s1"
    folder.mkdir(parents=True)
    tracker = Tracker(folder, study)
    start = time.perf_counter()
    write_live(tracker, cells)
    assert time.perf_counter() - start < 0.5, "the driver never waits for W&B"
    tracker.close()
    assert not services()
    assert "WANDB_SERVICE" not in os.environ
    assert "WANDB_CACHE_DIR" not in os.environ
    elsewhere = [p for p in files_below(tmp_path) if (folder / "wandb") not in p.parents]
    assert elsewhere == [folder / ".id"]
    assert not [p for p in (folder / "wandb").rglob("*") if p.is_symlink()]
    runs = runs_of(folder)
    assert set(runs) == {config.key for config in cells}
    for config in cells:
        run, found = runs[config.key], record(config)
        assert run.id == run_id(folder, config.key)
        assert run.group == "s1"
        assert run.project == "auxsweep"
        assert run.job_type == ("trial" if config.losses else "baseline")
        assert run.name == f"quickstart/{config.label}/s{config.seed}"
        assert run.tags == ("quickstart", "loo", "static", "tiny", "mini", "mine")
        assert run.exit_code == 0
        assert run.metrics == {"train/*": "step", "validation/*": "step"}
        assert run.summary["status"] == "done"
        for name, value in found.accuracy.items():
            assert run.summary[f"eval/{name}"] == value
        assert run.summary["final/noise"] == pytest.approx(
            sum(found.accuracy[f"gaussian_noise/{s}"] for s in (1, 3, 5)) / 3
        )
        ratio = run.summary["final/ood"] / run.summary["final/clean"]
        assert run.summary["gamma/relative/ood"] == pytest.approx(ratio)
        assert "gamma/relative/clean" not in run.summary
        assert run.summary["weights/pixel"] == (0.5 if "pixel" in config.losses else 0)
        assert run.summary["data/counts/train/n_used"] == 384


def test_config_is_flat_scalar_and_without_paths(tmp_path, study, cells):
    tracker = Tracker(tmp_path / "s", study)
    tracker.finish(cells[2].key, record(cells[2]), [])
    tracker.close()
    config = runs_of(tmp_path / "s")[cells[2].key].config
    assert all(v is None or isinstance(v, (str, int, float, bool)) for v in config.values())
    assert "/home/someone" not in json.dumps(config)
    wanted = {
        "losses.pixel.on": True,
        "losses.pixel.weight": 0.5,
        "losses.infonce.on": False,
        "losses.infonce.weight": 0,
        "n_losses": 1,
        "loss_set": "pixel",
        "combiner": "static",
        "seed": 1,
        "cell_key": cells[2].key,
        "sweep": "s",
        "attempt": 1,
        "data_fingerprint": "f00d",
        "design": "loo",
        "train.lr": study.train.lr,
        "evaluate.conditions.jpeg": "3,5",
    }
    assert {name: config[name] for name in wanted} == wanted
    assert "engine_version" in config


def test_history_and_table(tmp_path, study, cells):
    config = cells[-1]
    tracker = Tracker(tmp_path / "s", study)
    tracker.finish(config.key, record(config), history(config))
    tracker.close()
    run = runs_of(tmp_path / "s")[config.key]
    rows = [{k: v for k, v in r.items() if not k.startswith("_")} for r in run.history]
    assert rows[:-1] == [row(values) for values in history(config)]
    assert "train/gradient_norm" not in rows[1], "NaN is left out"
    assert rows[-2] == {"step": STEPS, "validation/clean": 75.0}
    tables = [name for name in run.files if name.endswith(".table.json")]
    assert len(tables) == 1
    (folder,) = run_folders(tmp_path / "s" / "wandb")[run_id(tmp_path / "s", config.key)]
    table = json.loads((folder / "files" / tables[0]).read_text())
    assert table["columns"] == list(TABLE_COLUMNS)
    assert [r[0] for r in table["data"]] == list(record(config).accuracy)


def test_failed_cell(tmp_path, study, cells):
    tracker = Tracker(tmp_path / "s", study)
    tracker.start(cells[0].key, cells[0])
    tracker.finish(cells[0].key, record(cells[0], failed=True), history(cells[0])[:3])
    tracker.close()
    run = runs_of(tmp_path / "s")[cells[0].key]
    assert run.exit_code == 1
    assert run.summary["status"] == "failed"
    assert run.summary["error/type"] == "Diverged"
    assert run.summary["error/message"] == "loss is NaN"
    assert not [name for name in run.summary if name.startswith(("final/", "eval/"))]


def test_stopped_and_interrupted_cells(tmp_path, study, cells):
    tracker = Tracker(tmp_path / "s", study)
    for config in cells[:2]:
        tracker.start(config.key, config)
    tracker.stop(cells[0].key, cells[0], history(cells[0])[:9], step=90, validation={"top1": 12.5})
    tracker.close()
    runs = runs_of(tmp_path / "s")
    assert runs[cells[0].key].summary["status"] == "stopped"
    assert runs[cells[0].key].summary["stopped/clean"] == 12.5
    assert runs[cells[1].key].summary["status"] == "interrupted"
    assert set(closed_runs(tmp_path / "s")) == {cells[0].key}


def test_attempts_share_a_run(tmp_path, study, cells):
    """A worker died after 200 steps; the next attempt repeats steps from its checkpoint at 100."""
    config = cells[1]
    rows = history(config)
    tracker = Tracker(tmp_path / "s", study)
    tracker.start(config.key, config)
    for values in rows[:20]:
        tracker.log(config.key, values)
    tracker.start(config.key, config, attempt=2)
    for values in rows[10:]:
        tracker.log(config.key, values)
    found = record(config)
    tracker.finish(config.key, found.__class__.from_json({**found.to_json(), "run": {}}), rows)
    tracker.close()
    assert len(run_folders(tmp_path / "s" / "wandb")[run_id(tmp_path / "s", config.key)]) == 1
    run = runs_of(tmp_path / "s")[config.key]
    assert run.config["attempt"] == 2
    assert [r["step"] for r in run.history if "train/lr" in r] == list(range(10, STEPS + 1, 10))


def test_interrupted_run_is_replaced_by_a_whole_one(tmp_path, study, cells):
    """A resumed driver sees only the steps after the checkpoint live."""
    config = cells[1]
    first = Tracker(tmp_path / "s", study)
    first.start(config.key, config)
    first.log(config.key, history(config)[0])
    first.close()
    second = Tracker(tmp_path / "s", study)
    second.start(config.key, config, attempt=2)
    for values in history(config)[20:]:
        second.log(config.key, values)
    second.finish(config.key, record(config), history(config))
    second.close()
    assert len(run_folders(tmp_path / "s" / "wandb")[run_id(tmp_path / "s", config.key)]) == 1
    run = runs_of(tmp_path / "s")[config.key]
    assert [r["step"] for r in run.history if "train/lr" in r] == list(range(10, STEPS + 1, 10))
    assert run.exit_code == 0


def test_rebuild_equals_live(tmp_path, sweep, study, cells):
    tracker = Tracker(sweep, study)
    write_live(tracker, cells[:-1])
    tracker.finish(cells[-1].key, record(cells[-1], failed=True), history(cells[-1]))
    tracker.close()
    live = runs_of(sweep)
    found = rebuild(sweep)
    assert found["mode"] == "offline"
    assert found["missing"] == []
    assert sorted(found["written"]) == sorted(config.key for config in cells)
    again = runs_of(sweep)
    assert set(again) == set(live)
    for key, run in again.items():
        assert run.config == live[key].config
        assert stable(run.summary) == stable(live[key].summary)
        assert [stable(r) for r in run.history] == [stable(r) for r in live[key].history]
        assert (run.name, run.group, run.tags) == (live[key].name, live[key].group, live[key].tags)
    assert not services()


@pytest.mark.parametrize("steps", [1, 7, 999, 1000, 20_000])
def test_thinning_is_causal_and_bounded(steps):
    rows = [{"step": s, "lr": 1.0, "unified": 2.0} for s in range(1, steps + 1)]
    rows += [{"step": steps, "validation": {"top1": 50.0}}]
    found = points(thin(rows, steps))
    assert len(found["train/lr"]) == len(found["train/unified"])
    assert min(steps, MAX_POINTS) * 0.99 <= len(found["train/lr"]) <= MAX_POINTS
    assert found["validation/clean"] == [steps]
    half = points(thin(rows[: steps // 2], steps)).get("train/lr", [])
    assert found["train/lr"][: len(half)] == half
    repeated = points(thin([*rows[: steps // 2], *rows], steps))
    assert repeated == found


def test_modes(monkeypatch, study, tmp_path):
    assert resolve_mode("auto") == "offline"
    for given, mode in {"online": "online", "DISABLED": "disabled", "dryrun": "offline"}.items():
        monkeypatch.setenv("WANDB_MODE", given)
        assert resolve_mode("auto") == mode
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert isinstance(open_tracker(tmp_path / "s", study), NoTracker)
    assert open_tracker(tmp_path / "s", study, mode="offline").mode == "offline"
    tracker = Tracker(tmp_path / "s", study)
    tracker.finish("k", record(cell(study, [], 1)), [])
    tracker.close()
    assert not (tmp_path / "s").exists()


def test_key_sources(monkeypatch, tmp_path):
    assert key_source() is None
    netrc = tmp_path / "home" / ".netrc"
    netrc.write_text("machine api.wandb.ai login user password 12345")
    netrc.chmod(0o600)
    assert key_source() == str(netrc)
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert key_source() is None
    monkeypatch.setenv("WANDB_API_KEY", "x")
    assert key_source() == "$WANDB_API_KEY"


# ----------------------------------------------------------------------------------------- online


def test_online_runs_reach_the_server(server, tmp_path, study, cells):
    tracker = Tracker(tmp_path / "s", study, mode="online")
    write_live(tracker, cells[:2])
    tracker.close()
    assert tracker.mode == "online"
    buckets = server.buckets()
    assert set(buckets) == {config.key for config in cells[:2]}
    for config in cells[:2]:
        bucket = buckets[config.key]
        sent = {k: v["value"] for k, v in json.loads(bucket["config"]).items() if k != "_wandb"}
        assert sent["cell_key"] == config.key
        assert bucket["groupName"] == "s"
        assert bucket["displayName"] == f"quickstart/none/s{config.seed}"
        assert bucket["jobType"] == "baseline"
        steps = [
            r["step"] for r in server.streamed(config.key, "wandb-history.jsonl") if "step" in r
        ]
        assert steps == [r["step"] for r in history(config)]
        summary = json.loads(
            server.uploads[f"/up/{run_id(tmp_path / 's', config.key)}/wandb-summary.json"]
        )
        assert summary["final/clean"] == record(config).accuracy["clean"]
        tables = [name for name in server.uploads if name.endswith(".table.json")]
        assert len(tables) == 2
    assert not services()


def test_offline_asks_nobody(server, tmp_path, study, cells):
    """There is a key and a server, and neither is touched."""
    tracker = Tracker(tmp_path / "s", study)
    write_live(tracker, cells[:2])
    tracker.close()
    assert len(closed_runs(tmp_path / "s")) == 2
    assert server.graphql == []
    assert server.posts == []


def test_rebuild_uploads_when_online(server, sweep, cells):
    found = rebuild(sweep)
    assert found["mode"] == "online"
    assert found["message"] == ""
    assert sorted(found["uploaded"]) == sorted(config.key for config in cells)
    assert set(server.buckets()) == {config.key for config in cells}
    key = cells[0].key
    assert len(server.streamed(key, "wandb-history.jsonl")) == len(history(cells[0])) + 1
    count = len(read_history(sweep / "cells" / key))
    # sent again: same ids, same lines at the same offsets
    assert sorted(rebuild(sweep)["uploaded"]) == sorted(found["uploaded"])
    assert len(server.streamed(key, "wandb-history.jsonl")) == count + 1


@pytest.mark.parametrize("kind", ["refused", "silent", "no key"])
def test_unusable_server_means_offline(monkeypatch, tmp_path, study, cells, caplog, kind):
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts, never answers
        port = listener.getsockname()[1] if kind == "silent" else 9
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
        if kind != "no key":
            monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
        monkeypatch.setattr("sweep.tracking.server.PROBE_TIMEOUT_S", 0.5)
        monkeypatch.setattr("sweep.tracking.server.unreachable.__defaults__", (0.5,))
        start = time.perf_counter()
        tracker = Tracker(tmp_path / "s", study, mode="online")
        with caplog.at_level(logging.WARNING):
            for config in cells[:3]:
                tracker.finish(config.key, record(config), history(config))
            tracker.close()
        assert time.perf_counter() - start < 8
    assert tracker.mode == "offline"
    assert len(closed_runs(tmp_path / "s")) == 3
    warnings = [r.getMessage() for r in caplog.records if r.name.startswith("sweep")]
    assert len(warnings) == 1
    assert "offline" in warnings[0]
    assert ("WANDB_API_KEY" in warnings[0]) == (kind == "no key")


def test_server_that_hangs_later_costs_a_bounded_time(
    server, monkeypatch, tmp_path, study, cells, caplog
):
    server.hangs_after = "file_stream"
    monkeypatch.setattr(track, "FINISH_TIMEOUT_S", 1.0)
    tracker = Tracker(tmp_path / "s", study, mode="online")
    start = time.perf_counter()
    for config in cells[:3]:
        tracker.start(config.key, config)
    for config in cells[:3]:
        # no table: it would ask the server, with a time limit of W&B's own
        found = record(config, failed=True)
        tracker.finish(config.key, found, history(config))
    tracker.close()
    assert time.perf_counter() - start < 20
    assert tracker.mode == "offline"
    runs = runs_of(tmp_path / "s")
    assert len(runs) == 3
    assert all(run.exit_code == 1 for run in runs.values())
    assert not services()


def test_close_does_not_wait_for_ever(server, monkeypatch, tmp_path, study, cells):
    server.hangs_after = "file_stream"
    tracker = Tracker(tmp_path / "s", study, mode="online")
    tracker.start(cells[0].key, cells[0])
    tracker.finish(cells[0].key, record(cells[0], failed=True), history(cells[0]))
    time.sleep(1.5)  # until it waits for the upload
    start = time.perf_counter()
    tracker.close(timeout_s=0.5)
    assert time.perf_counter() - start < 3
    assert not services()


def test_broken_wandb_never_fails_a_cell(monkeypatch, tmp_path, study, cells, caplog):
    monkeypatch.setitem(sys.modules, "wandb", None)  # an import of it raises ImportError
    tracker = Tracker(tmp_path / "s", study)
    for config in cells:
        tracker.start(config.key, config)
        tracker.finish(config.key, record(config), history(config))
    monkeypatch.undo()
    tracker.close()
    assert len([r for r in caplog.records if r.name == "sweep.tracking.track"]) <= 2


def test_killed_driver_leaves_no_process_and_a_readable_file(tmp_path, study, cells):
    program = """
import os, sys, time
from pathlib import Path
from sweep.studies.load import load_study
from sweep.tracking.track import Tracker
from tests.tracking.conftest import cell, history
from tests.tracking.test_track import children
study = load_study("quickstart")
tracker = Tracker(Path(sys.argv[1]), study)
config = cell(study, ["pixel"], 1)
tracker.start(config.key, config)
for row in history(config, every=2):  # W&B writes full blocks of 32 KiB at once, others in 15 s
    tracker.log(config.key, row)
end = time.monotonic() + 30
while time.monotonic() < end:
    time.sleep(0.1)
    if sum(p.stat().st_size for p in Path(sys.argv[1]).rglob("*.wandb")) > 20_000:
        break
print(children(), flush=True)
os.kill(os.getpid(), 9)
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "s")],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    pids = json.loads(done.stdout.splitlines()[-1])
    assert pids
    end = time.monotonic() + 20
    while any(map(is_alive, pids)) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(map(is_alive, pids))
    (run,) = runs_of(tmp_path / "s").values()
    assert run.config["loss_set"] == "pixel"
    assert run.exit_code is None
    assert all(math.isfinite(r["_step"]) for r in run.history)
    assert closed_runs(tmp_path / "s") == {}
    assert done.stderr == ""

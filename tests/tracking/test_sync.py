"""The command `sync`, at rest and beside a running driver."""

from __future__ import annotations

import json
import shutil
import threading
import time

import pytest

from sweep.commands import sync
from sweep.records.files import write_cell, write_json
from sweep.records.ledger import Ledger
from sweep.records.lock import SweepLock
from sweep.settings.section import ConfigError
from sweep.tracking.track import Tracker, closed_runs
from sweep.tracking.wandb_file import read_run
from tests.tracking.conftest import cell, history, record


def test_recreates_a_deleted_folder(sweep, cells, capsys):
    assert sync.run(sweep) == 0
    first = {key: read_run(path) for key, path in closed_runs(sweep).items()}
    shutil.rmtree(sweep / "wandb")
    assert sync.run(sweep) == 0
    again = {key: read_run(path) for key, path in closed_runs(sweep).items()}
    assert set(again) == {config.key for config in cells}
    assert {k: r.config for k, r in again.items()} == {k: r.config for k, r in first.items()}
    assert "8 W&B runs written" in capsys.readouterr().out


def test_early_stopped_cells_are_written_too(sweep, study):
    config = cell(study, ["consistency"], 5)
    Ledger(sweep).store_stopped(
        config, history(config)[:5], step=50, validation={"top1": 20.0}, attempt=1
    )
    assert sync.run(sweep) == 0
    run = read_run(closed_runs(sweep)[config.key])
    assert run.summary["status"] == "stopped"
    assert len(run.history) == 5


def test_not_a_sweep(tmp_path):
    with pytest.raises(ConfigError, match=r"sweep\.yaml"):
        sync.run(tmp_path)


def test_without_key_says_how_to_upload(sweep, monkeypatch, capsys):
    assert sync.run(sweep, mode="online") == 1  # asked for, not done
    assert "WANDB_API_KEY" in capsys.readouterr().out
    assert len(closed_runs(sweep)) == 8


def test_live_uploads_what_a_driver_writes(server, sweep, study, cells, monkeypatch, capsys):
    """Half of the cells are written by a tracker at work, the last one by nobody."""
    monkeypatch.setattr(sync, "POLL_S", 0.3)
    later = [cell(study, ["consistency"], seed) for seed in (1, 2)]
    plan = json.loads((sweep / "plan.json").read_text())
    plan["cells"] += [{"key": config.key, "label": config.label} for config in later]
    write_json(sweep / "plan.json", plan)
    lock = SweepLock(sweep)
    lock.acquire()
    tracker = Tracker(sweep, study, mode="offline")
    for config in cells:
        tracker.finish(config.key, record(config, failed=config is cells[-1]), history(config))
    follower = threading.Thread(target=sync.run, args=(sweep,), kwargs={"live": True})
    follower.start()
    tracker.start(later[0].key, later[0])
    for config in later:
        write_cell(sweep / "cells" / config.key, record(config), history(config), None)
    tracker.finish(later[0].key, record(later[0]), history(later[0]))
    end = time.monotonic() + 20
    wanted = {c.key for c in [*cells, later[0]]}
    while not wanted <= set(server.buckets()) and time.monotonic() < end:
        time.sleep(0.1)
    tracker.close()
    lock.release()
    follower.join(30)
    assert not follower.is_alive()
    assert set(server.buckets()) == wanted | {later[1].key}
    assert "10 runs are up to date" in capsys.readouterr().out
    assert all(len(list(p.glob("*.synced"))) == 1 for p in closed_runs(sweep).values())


def test_a_running_sweep_is_not_rewritten(sweep, study, cells, capsys):
    tracker = Tracker(sweep, study)
    tracker.finish(cells[0].key, record(cells[0]), history(cells[0]))
    tracker.close()
    before = closed_runs(sweep)
    lock = SweepLock(sweep)
    lock.acquire()
    try:
        assert sync.run(sweep) == 0
    finally:
        lock.release()
    assert closed_runs(sweep) == before

"""W&B cannot be reached from the middle of a sweep on, and comes back: nothing is lost."""

import json
import logging
import time

import pytest

from sweep.commands import sync
from sweep.engine.run import run_study
from sweep.records.files import read_history
from sweep.tracking import track
from tests.engine import tiny_driver
from tests.tracking.conftest import KEY, serving
from tests.tracking.test_track import services


def wait_for(has_come, limit_s=30):
    end = time.monotonic() + limit_s
    while not has_come() and time.monotonic() < end:
        time.sleep(0.05)


@pytest.mark.slow
def test_a_server_that_goes_and_comes_back(tmp_path, monkeypatch, caplog, capsys):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setattr(track, "FINISH_TIMEOUT_S", 1.0)
    sweep = tmp_path / "s"
    study = tiny_driver.study(["seeds=1", "track.wandb=online"])
    run_cell = tiny_driver.make_trial()
    begun = []
    with serving() as before:
        port = before.server_address[1]
        monkeypatch.setenv("WANDB_BASE_URL", before.url)

        def trial(config, **given):
            begun.append(config.key)
            if len(begun) == 3:
                wait_for(before.buckets)  # the first is open: from now on little patience
                monkeypatch.setattr(track, "INIT_TIMEOUT_S", 2.0)
                wait_for(lambda: len(before.uploads) >= 2)  # the first is there
                before.shutdown()
                before.server_close()  # from now on connections are refused
            return run_cell(config, **given)

        began = time.monotonic()
        with caplog.at_level(logging.WARNING):
            summary = run_study(
                study, out=sweep, engine="local", trial=trial, plan=tiny_driver.plan
            )
    assert (summary.code, summary.done, summary.failed) == (0, 6, 0)
    assert time.monotonic() - began < 60
    assert before.buckets()
    assert set(before.buckets()) < set(begun)
    said = [r.getMessage() for r in caplog.records if "goes offline" in r.getMessage()]
    assert len(said) == 1
    assert f"sync {sweep}` uploads them later" in said[0]
    assert not services()

    with serving(port) as after:
        assert sync.run(sweep) == 0
    assert "6 uploaded" in capsys.readouterr().out
    assert set(after.buckets()) == set(begun)
    for key in begun:
        rows = [r for r in after.streamed(key, "wandb-history.jsonl") if "train/unified" in str(r)]
        assert len(rows) == len(read_history(sweep / "cells" / key)) == tiny_driver.STEPS
        record = json.loads((sweep / "cells" / key / "result.json").read_text())
        assert record["status"] == "done"

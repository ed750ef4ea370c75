import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweep.cells.resolve import cells
from sweep.records.environment import environment, write_environment
from sweep.records.ledger import Ledger, failed_record
from sweep.records.lock import SweepLock, holder_of
from sweep.settings.section import ConfigError
from sweep.studies.load import load_study

ROOT = Path(__file__).resolve().parents[2]


def test_events_come_back_in_order_with_their_time(tmp_path):
    ledger = Ledger(tmp_path)
    assert ledger.events() == []
    ledger.append({"event": "planned", "key": "a"}, {"event": "started", "key": "a"})
    ledger.append()
    ledger.append({"event": "failed", "key": "a", "message": "größer\nthan"})
    assert [e["event"] for e in ledger.events()] == ["planned", "started", "failed"]
    assert all(e["time"].endswith("+00:00") for e in ledger.events())
    assert len(ledger.path.read_text().splitlines()) == 3


@pytest.mark.parametrize("torn", [b'{"event": "fini', b"\xff\xfe", b"[1]", b'{"event": "x"'])
def test_a_torn_last_line_is_skipped_and_closed(tmp_path, torn):
    ledger = Ledger(tmp_path)
    ledger.append({"event": "started", "key": "a"})
    with ledger.path.open("ab") as file:
        file.write(torn)
    assert [e["key"] for e in ledger.events()] == ["a"]
    ledger.append({"event": "started", "key": "b"})
    assert [e["key"] for e in ledger.events()] == ["a", "b"]
    assert ledger.executions() == {"a": 1, "b": 1}


def test_a_damaged_result_counts_as_not_done(tmp_path):
    config = cells(load_study("quickstart"), "f")[0]
    ledger = Ledger(tmp_path)
    record = failed_record(config, kind="Diverged", message="not finite", step=3)
    ledger.store(record, [], None, attempt=2)
    assert ledger.failed() == {config.key}
    assert ledger.finished() == set()
    assert ledger.events()[-1]["message"] == "not finite"
    result = ledger.cell(config.key) / "result.json"
    result.write_text('{"key": ')
    assert ledger.finished() == set()
    assert ledger.result(config.key) is None


def test_one_driver_at_a_time_and_a_dead_one_gives_way(tmp_path):
    lock = SweepLock(tmp_path)
    lock.acquire()
    with pytest.raises(ConfigError, match=f"process {os.getpid()} on"):
        SweepLock(tmp_path).acquire()
    lock.release()
    assert holder_of(tmp_path) is None

    code = (
        "import sys, os, pathlib; from sweep.records.lock import SweepLock;"
        "SweepLock(pathlib.Path(sys.argv[1])).acquire(); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=False)
    assert done.returncode == -9
    holder = holder_of(tmp_path)
    assert holder is not None
    assert not holder["alive"]
    SweepLock(tmp_path).acquire()


def test_a_driver_on_another_host_is_believed_until_it_is_silent(tmp_path):
    path = tmp_path / "driver.lock"
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1, "since": "now"}))
    assert holder_of(tmp_path)["alive"]
    with pytest.raises(ConfigError, match="process 1 on elsewhere"):
        SweepLock(tmp_path).acquire()
    long_ago = time.time() - 601
    os.utime(path, (long_ago, long_ago))
    assert not holder_of(tmp_path)["alive"]


def test_a_reused_process_id_is_not_the_old_driver(tmp_path):
    lock = SweepLock(tmp_path)
    lock.acquire()
    path = tmp_path / "driver.lock"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "process_start": "12345"}))
    assert not holder_of(tmp_path)["alive"]


def test_the_environment_is_kept_and_later_ones_are_added(tmp_path):
    write_environment(tmp_path)
    path = tmp_path / "environment.json"
    first = json.loads(path.read_text())
    assert first["packages"]["ray"]
    assert first["python"] == environment()["python"]
    write_environment(tmp_path)
    assert json.loads(path.read_text()) == first
    path.write_text(json.dumps({**first, "python": "3.0"}))
    write_environment(tmp_path)
    content = json.loads(path.read_text())
    assert content["python"] == "3.0"
    assert content["resumed"][0]["python"] == first["python"]

"""The process pool: order, failures of one item, time limits, crashes, and the caller's script."""

import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweep.data.decoding import pool

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("workers", [0, 2])
def test_results_come_in_order_and_an_error_costs_one_item(workers):
    seen = {}
    values = [4.0, -1.0, 9.0, 16.0]
    results = pool.run(math.sqrt, values, workers=workers, on_result=seen.__setitem__)
    assert [results[0], results[2], results[3]] == [2.0, 3.0, 4.0]
    assert results[1].kind == "error"
    assert "ValueError" in results[1].message
    assert seen == dict(enumerate(results))
    with pytest.raises(RuntimeError, match="taking roots failed: ValueError"):
        pool.check(results[1], "taking roots")


def test_a_hanging_item_is_given_up_after_a_second_try_and_the_others_go_on():
    start = time.monotonic()
    results = pool.run(time.sleep, [0.0, 600.0, 0.0, 0.01], workers=2, silence_s=1.5)
    assert 3 < time.monotonic() - start < 30
    assert results[1] == pool.Failure("timeout", "no answer within 1.5 s")
    assert [results[0], results[2], results[3]] == [None] * 3


def slowly(seconds):
    """Work that says now and then that it goes on."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.05)
        pool.beat()
    return seconds


def test_work_that_goes_on_is_no_hang_however_long_it_takes():
    assert pool.run(slowly, [2.5, 0.1], workers=2, silence_s=1.0) == [2.5, 0.1]
    pool.beat()  # outside a worker: nothing


def second_time(path):
    """Falls silent the first time, as on a machine that is busy."""
    if not path.exists():
        path.touch()
        time.sleep(600)
    return "done"


def test_an_item_that_fell_silent_is_tried_again_alone(tmp_path):
    assert pool.run(second_time, [tmp_path / "seen"], workers=2, silence_s=1.5) == ["done"]


def test_a_crashing_item_is_named_and_the_others_go_on():
    results = pool.run(os._exit, [3, 4, 5], workers=1)
    assert [result.kind for result in results] == ["crash"] * 3
    assert "code 4" in results[1].message


def test_nothing_to_do():
    assert pool.run(math.sqrt, [], workers=2) == []


def test_workers_do_not_run_an_unguarded_script_again(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import math\nfrom sweep.data.decoding import pool\n"
        "print(pool.run(math.sqrt, [1.0, 4.0], workers=2))\n"
    )
    result = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "[1.0, 2.0]\n"

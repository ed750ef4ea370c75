"""A cell that hangs without Ray is noticed and told; nothing else is."""

import signal
import time

import pytest

from sweep.engine.run import run_study


def test_a_cell_that_hangs_is_told_with_its_stacks_and_can_be_resumed(start, tmp_path, look):
    sweep = tmp_path / "s"
    given = ("engine=local", "seeds=1")
    process = start(sweep, *given, "hang=all", "pause=0.2", "resources.hang_timeout_s=1.5")
    end = time.monotonic() + 60
    while not (found := list(sweep.glob("cells/*/stacks.txt"))):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)
    time.sleep(2.5)  # told once, not every second
    process.send_signal(signal.SIGTERM)
    _out, err = process.communicate(timeout=20)
    assert process.returncode == 143
    (path,) = found
    stacks = path.read_text()
    assert stacks.count("no sign of life for") == err.count("no sign of life for") == 1
    assert "in misbehave" in stacks
    assert str(path) in err
    assert f"kill -9 {process.pid}" in err
    assert f"resume {sweep}" in err
    again = start(sweep, *given)
    _out, err = again.communicate(timeout=60)
    assert again.returncode == 0, err
    assert look.again(sweep) == []


@pytest.mark.parametrize("limit", ["0.4", "null"])
def test_a_slow_cell_that_beats_is_left_alone(tiny, tmp_path, limit):
    summary = run_study(
        tiny.study(["seeds=1", f"resources.hang_timeout_s={limit}", "design.kind=anchors"]),
        out=tmp_path / "s", engine="local", trial=tiny.make_trial(pause=1.0), plan=tiny.plan,
    )  # fmt: skip
    assert summary.done == 2
    assert not list((tmp_path / "s").glob("cells/*/stacks.txt"))

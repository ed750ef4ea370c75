import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

SCRIPT = Path(__file__).with_name("tiny_driver.py")


@pytest.fixture(scope="session")
def tiny():
    """The tiny driver as a module."""
    spec = importlib.util.spec_from_file_location("tiny_driver", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def start():
    """Start tiny drivers as processes; none outlives the test."""
    processes = []

    def begin(sweep, *arguments, **kwargs):
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(sweep), *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kwargs,
        )  # fmt: skip
        processes.append(process)
        return process

    yield begin
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _results(sweep):
    """Key -> result without what may differ between two executions."""
    found = {}
    for path in Path(sweep).glob("cells/*/result.json"):
        content = json.loads(path.read_text())
        content.pop("run")
        found[path.parent.name] = content
    return found


def _again(sweep):
    """Keys of cells that were started after they had been finished."""
    finished, again = set(), []
    for line in (Path(sweep) / "ledger.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "finished":
            finished.add(event["key"])
        elif event["event"] == "started" and event["key"] in finished:
            again.append(event["key"])
    return again


@pytest.fixture(scope="session")
def look():
    """Readers of a sweep folder."""
    return SimpleNamespace(results=_results, again=_again)

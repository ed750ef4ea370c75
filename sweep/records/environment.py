"""Versions and machine of those that made a sweep."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import socket
import subprocess
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from sweep.records.files import read_json, write_json
from sweep.records.ledger import now
from sweep.records.pixels import LIBRARIES

PACKAGES = (
    "auxsweep", "ray", "torch", "torchvision", "decord", "av", "opencv-python-headless", "wandb",
    "optuna", "numpy", "pandas", "scipy", "statsmodels", "scikit-learn", "pydantic", "transformers",
)  # fmt: skip


def environment() -> dict[str, Any]:
    """Versions and machine of the driver, without importing torch or ray."""
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "time": now(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "cpu": _cpu_name(),
        "cpus": os.cpu_count(),
        "gpus": _output("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"),
        "git": "".join(_output("git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD")),
        "packages": packages,
    }


def write_environment(sweep: Path) -> None:
    """``environment.json``: the first driver's; later ones are added where they differ."""
    path = sweep / "environment.json"
    found = environment()
    content = read_json(path)
    if content is None:
        write_json(path, found)
        return
    last = content["resumed"][-1] if content.get("resumed") else content
    if any(found[k] != last.get(k) for k in ("python", "host", "git", "packages")):
        write_json(path, {**content, "resumed": [*content.get("resumed", []), found]})


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()


def _output(*command: str) -> list[str]:
    """Lines that a program prints; empty if it is absent or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.strip().splitlines() if done.returncode == 0 else []


@lru_cache
def library_versions() -> dict[str, str]:
    """Of what makes the tested pixels besides torch, as far as it is installed."""
    found = {}
    for name in set(LIBRARIES) - {"torch"}:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return dict(sorted(found.items()))


def own_version() -> str:
    """Of this project; `source` where it is not installed."""
    try:
        return importlib.metadata.version("auxsweep")
    except importlib.metadata.PackageNotFoundError:
        return "source"

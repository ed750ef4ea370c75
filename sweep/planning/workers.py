"""How many cells run at a time."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweep.settings.resources import ResourceSettings


def local_workers(resources: ResourceSettings) -> int:
    """Cells that this machine holds at a time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return slots([(float(cores or 1), float(_gpus()) if resources.gpus else 0.0)], resources)


def slots(nodes: Sequence[tuple[float, float]], resources: ResourceSettings) -> int:
    """Cells at a time on nodes of so many CPUs and GPUs; at least 1.

    Raises:
        ConfigError: if no node can hold one.
    """
    count = 0
    for cpus, gpus in nodes:
        fits = int(cpus / resources.cpus_per_trial)
        if resources.gpus:
            fits = min(fits, int(gpus / resources.gpus))
        count += fits
    if resources.max_concurrent is not None:
        count = min(count, resources.max_concurrent)
    return max(1, count)


def _gpus() -> int:
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return len(done.stdout.strip().splitlines()) if done.returncode == 0 else 0

"""Row about start-up: planning against importing everything that a sweep uses."""

from __future__ import annotations

import resource
import subprocess
import sys

from sweep.bench.measure import Row, UnequalError

PLAN = ["-m", "sweep.run", "plan", "quickstart"]
STACK = ["-c", "import torch, torchvision, ray.tune, optuna, wandb, decord, matplotlib"]
LIMIT_S = 0.5


def startup(device: str = "cpu", repeats: int = 3) -> Row:
    """CPU seconds of `plan quickstart` in a fresh process against importing the stack."""
    del device  # the same on every device
    shown = subprocess.run([sys.executable, *PLAN], capture_output=True, text=True, check=True)
    if "none" not in shown.stdout:
        raise UnequalError(f"plan quickstart printed no cells: {shown.stdout[:200]}")
    ours, peer = [], []
    _cpu_seconds(PLAN), _cpu_seconds(STACK)
    for _ in range(repeats):
        ours.append(_cpu_seconds(PLAN))
        peer.append(_cpu_seconds(STACK))
    ratios = sorted(b / a for a, b in zip(ours, peer, strict=True))
    return Row(
        name="start-up of plan",
        peer="import of torch, ray, optuna, wandb, decord, matplotlib",
        ours_s=sorted(ours)[repeats // 2],
        peer_s=sorted(peer)[repeats // 2],
        ratio=ratios[repeats // 2],
        low=ratios[0],
        high=ratios[-1],
        goal=8.0,
        error=f"limit {LIMIT_S} s",
        note="CPU seconds of a fresh process",
    )


def _cpu_seconds(arguments: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)

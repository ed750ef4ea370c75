"""How a benchmark row is measured: ours and the naive peer in turn, in one process.

Outputs are compared before anything is timed. On the CPU the clock is the process's own CPU time,
so that other work on the machine disturbs little; ratios are taken pair by pair.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class UnequalError(AssertionError):
    """Ours and the peer disagree: the row measures nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of ``bench``.

    Attributes:
        name: Of the quantity.
        peer: What the naive way does.
        ours_s: Median seconds of ours.
        peer_s: Median seconds of the peer.
        ratio: Median of the pairwise ratios peer / ours; above 1 = ours is faster.
        low: Smallest pairwise ratio.
        high: Largest pairwise ratio.
        goal: Ratio that we aim for; None = informative only.
        error: Largest difference of the outputs, in words.
        note: Sizes, counts.
    """

    name: str
    peer: str
    ours_s: float
    peer_s: float
    ratio: float
    low: float
    high: float
    goal: float | None
    error: str
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without a goal."""
        return None if self.goal is None else self.ratio >= self.goal


def interleave(
    ours: Callable[[], Any],
    peer: Callable[[], Any],
    *,
    repeats: int = 5,
    device: str = "cpu",
    wall: bool = False,
) -> dict[str, float]:
    """Run A B A B ... and take medians; the first run of each is discarded.

    Args:
        ours: One run of ours.
        peer: One run of the naive way.
        repeats: Counted pairs.
        device: On `cuda` the clock is wall time around a synchronised run.
        wall: Wall time instead of CPU time (work that happens in other processes).
    """
    clock = time.perf_counter if wall or device == "cuda" else time.process_time
    ours(), peer()
    ours_s: list[float] = []
    peer_s: list[float] = []
    for _ in range(repeats):
        for call, seconds in ((ours, ours_s), (peer, peer_s)):
            _synchronise(device)
            start = clock()
            call()
            _synchronise(device)
            seconds.append(clock() - start)
    ratios = [b / max(a, 1e-9) for a, b in zip(ours_s, peer_s, strict=True)]
    return {
        "ours_s": statistics.median(ours_s),
        "peer_s": statistics.median(peer_s),
        "ratio": statistics.median(ratios),
        "low": min(ratios),
        "high": max(ratios),
    }


def _synchronise(device: str) -> None:
    if device == "cuda":
        import torch

        torch.cuda.synchronize()

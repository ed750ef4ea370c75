"""Row about the engine: what a trial of Ray Tune costs beside its work, with and without reuse."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from rich.console import Console

from sweep import driver
from sweep.bench.measure import Row, UnequalError
from sweep.cells import cells
from sweep.config import TrialConfig, load_study
from sweep.launch.cluster import cluster
from sweep.launch.tune_run import run_trials
from sweep.progress import Board
from sweep.record import TrialRecord, comparable

if TYPE_CHECKING:
    from sweep.driver import TrialResult

TRIALS = 8


def overhead(device: str = "cpu", repeats: int = 2) -> Row:
    """Wall seconds per trial without work, one at a time: workers kept against fresh ones.

    Every trial imports torch, as real ones do; cold starts are included in both.
    """
    del device  # the engine is the same
    ours, peer = [], []
    with tempfile.TemporaryDirectory(prefix="auxsweep-bench-") as name:
        top = Path(name)
        with cluster(log=top / "ray.log"):
            for i in range(repeats):
                ours.append(_seconds_per_trial(top / f"kept{i}", reuse="on"))
                peer.append(_seconds_per_trial(top / f"fresh{i}", reuse="off"))
                if _results(top / f"kept{i}") != _results(top / f"fresh{i}"):
                    raise UnequalError("the two ways stored other records")
    ratios = sorted(b / a for a, b in zip(ours, peer, strict=True))
    return Row(
        name="trial overhead",
        peer="a fresh worker process for every trial",
        ours_s=statistics.median(ours),
        peer_s=statistics.median(peer),
        ratio=statistics.median(ratios),
        low=ratios[0],
        high=ratios[-1],
        goal=4.0,
        error="equal records",
        note=f"{TRIALS} trials that import torch, cold starts included",
    )


def _seconds_per_trial(sweep: Path, *, reuse: str) -> float:
    study = load_study(
        "quickstart",
        overrides=[
            "track.wandb=disabled", "resources.max_concurrent=1",
            f"resources.reuse_workers='{reuse}'",
        ],
    )  # fmt: skip
    sweep.mkdir()
    board = Board(study, sweep=sweep, total=TRIALS, console=Console(quiet=True))
    session = driver.Session(study, sweep, cells(study, "bench")[:TRIALS], board=board)
    start = time.perf_counter()
    with session:
        run_trials(session, idle)
    seconds = time.perf_counter() - start
    if session.summary().done != TRIALS:
        raise UnequalError(f"only {session.summary().done} of {TRIALS} trials ended well")
    return seconds / TRIALS


def idle(config: TrialConfig, *, scratch: Path, on_metrics: Any = None) -> TrialResult:  # noqa: ARG001
    """A trial that does nothing but import what every trial imports."""
    import torch  # noqa: F401

    record = TrialRecord(
        key=config.key,
        label=config.label,
        status="done",
        seed=config.seed,
        losses=tuple(sorted(config.losses)),
        combiner=config.combiner.name,
        config=config.model_dump(mode="json"),
    )
    return SimpleNamespace(record=record, history=[], outcomes=None)  # type: ignore[return-value]


def _results(sweep: Path) -> dict[str, Any]:
    ledger = driver.Ledger(sweep)
    found = {key: ledger.result(key) for key in sorted(ledger.finished())}
    return {key: comparable(r.to_json()) for key, r in found.items() if r is not None}

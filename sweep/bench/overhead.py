"""Row about the engine: what a trial of Ray Tune costs beside its work, with and without reuse."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from rich.console import Console

from sweep.bench.measure import Row, UnequalError
from sweep.cells.resolve import cells
from sweep.engine.board import Board
from sweep.engine.session import Session
from sweep.engine.tune.cluster import cluster
from sweep.engine.tune.tune_run import run_trials
from sweep.records.ledger import Ledger
from sweep.records.record import TrialRecord, comparable
from sweep.studies.load import load_study

if TYPE_CHECKING:
    from sweep.records.record import TrialResult
    from sweep.settings.trial import TrialConfig

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
    session = Session(study, sweep, cells(study, "bench")[:TRIALS], board=board)
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
    ledger = Ledger(sweep)
    found = {key: ledger.result(key) for key in sorted(ledger.finished())}
    return {key: comparable(r.to_json()) for key, r in found.items() if r is not None}

"""Row about the driver: what storing one more result costs, with few and with many stored."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from sweep.bench.measure import Row, UnequalError
from sweep.engine.board import Board
from sweep.engine.session import Session
from sweep.records.ledger import Ledger
from sweep.records.record import Score, TrialRecord, TrialResult
from sweep.studies.load import load_study

if TYPE_CHECKING:
    from sweep.settings.study import StudyConfig
    from sweep.settings.trial import TrialConfig

FEW, MANY = 100, 10_000
ROUNDS, PER_ROUND = 5, 20
ROWS = [{"step": step, "unified": 1.0, "losses": {}, "slopes": {}, "lr": 0.1} for step in range(10)]


def per_result(device: str = "cpu", many: int = MANY) -> Row:
    """CPU seconds of the driver per result (begin, ten rows, store) with 100 and 10,000 stored.

    Folders, ledger, session, board and record files are the real ones; nothing is computed.

    Raises:
        UnequalError: if a result is missing afterwards.
    """
    del device
    seconds: dict[int, list[float]] = {FEW: [], many: []}
    with tempfile.TemporaryDirectory(prefix="auxsweep-bench-") as name:
        sessions = {count: _session(Path(name) / str(count), count) for count in seconds}
        for session in sessions.values():
            session.__enter__()
            _results(session)  # warm
        for _ in range(ROUNDS):
            for count, session in sessions.items():
                seconds[count].append(_results(session))
        for count, session in sessions.items():
            session.__exit__(None, None, None)
            done = session.summary().done
            if done != count + (ROUNDS + 1) * PER_ROUND:
                raise UnequalError(f"{done} results with {count} stored before")
    ratios = [few / much for few, much in zip(seconds[FEW], seconds[many], strict=True)]
    return Row(
        name=f"driver per result, {many:,} stored",
        peer=f"{FEW} stored",
        ours_s=statistics.median(seconds[many]),
        peer_s=statistics.median(seconds[FEW]),
        ratio=statistics.median(ratios),
        low=min(ratios),
        high=max(ratios),
        goal=0.8,
        error="every result is there",
        note="flat = 1; CPU time of ledger, session, board and record files",
    )


def _session(sweep: Path, stored: int) -> Session:
    """A sweep with so many results, and a few cells to come."""
    study = load_study("quickstart", overrides=["track.wandb=disabled"])
    base = _cell(study, 0)
    cells = [
        base.model_copy(update={"seed": seed, "label": f"cell {seed}"})
        for seed in range(stored + (ROUNDS + 1) * PER_ROUND)
    ]
    ledger = Ledger(sweep)
    for cell in cells[:stored]:
        key = cell.key
        folder = ledger.cell(key)
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(_text(_record(cell, key)))
    board = Board(study, sweep=sweep, total=0, console=Console(quiet=True))
    return Session(study, sweep, cells, board=board)


def _text(record: TrialRecord) -> str:
    import json

    return json.dumps(record.to_json())


def _cell(study: StudyConfig, seed: int) -> TrialConfig:
    from sweep.cells.resolve import cells

    return cells(study, "bench")[0].model_copy(update={"seed": seed})


def _record(config: TrialConfig, key: str) -> TrialRecord:
    scores = tuple(
        Score(condition=f"gaussian_noise/{i}", category="noise", metrics={"top1": 50.0}, clips=100)
        for i in range(1, 6)
    )
    return TrialRecord(
        key=key, label=config.label, status="done", seed=config.seed, losses=(),
        combiner=config.combiner.name, config=config.model_dump(mode="json"), scores=scores,
    )  # fmt: skip


def _results(session: Session) -> float:
    """CPU seconds per result."""
    start = time.process_time()
    for _ in range(PER_ROUND):
        config = session.next()
        assert config is not None
        key = config.key
        session.began(key)
        session.advanced(key, ROWS)
        session.ended(TrialResult(record=_record(config, key), history=ROWS, outcomes=None))
    return (time.process_time() - start) / PER_ROUND

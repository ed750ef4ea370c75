"""Rows about searches: what a whole one costs against the naive way, and what a suggestion costs.

Nothing is trained. A simulated trial has a skill that depends on its losses and weights, a learning
curve of its own (paces differ little inside a study), and clips of different difficulty; everything
else is the real thing: Session, Search, ledger, early stopping, promotion.
"""

from __future__ import annotations

import hashlib
import math
import statistics
import tempfile
import time
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from scipy.stats import norm

from sweep.bench.measure import Row, UnequalError
from sweep.cells.resolve import cells
from sweep.cells.search.search import Search
from sweep.engine.board import Board
from sweep.engine.local import run_cells
from sweep.engine.session import Session
from sweep.evaluation.conditions import TestPlan
from sweep.records.condition import Condition
from sweep.records.ledger import Ledger
from sweep.records.outcomes import Outcomes
from sweep.records.record import Score, TrialRecord
from sweep.studies.load import load_study

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from sweep.settings.evaluate import EvaluateSettings
    from sweep.settings.study import StudyConfig
    from sweep.settings.trial import TrialConfig

#: UCF101, split 1: test clips, views of an exact test, forwards of 20 epochs of training.
CLIPS, VIEWS, TRAINING = 3783, 5, 9537 * 20 * 3
STEPS = 27
TRIALS = 64
REPEATS = 5
#: Points that our winner may truly be worse than the peer's, on average.
MAX_REGRET = 0.5
#: Gain in units of skill, and the weight at which it is largest.
GAINS = {
    "consistency": (0.16, 1.0), "frame_difference": (0.05, 0.3), "infonce": (0.12, 2.0),
    "pixel": (-0.10, 0.1), "temporal_similarity": (0.08, 0.05), "frame_order": (-0.04, 1.0),
}  # fmt: skip
SEED_SPREAD = 0.02


def _study(*overrides: str) -> StudyConfig:
    losses = ", ".join(f"{name}: true" for name in GAINS)
    return load_study(
        "quickstart",
        overrides=[
            "losses=null", f"losses={{{losses}}}", "combiners={static: {}}", "seeds=1",
            f"train.steps={STEPS}", "track.wandb=disabled", "design.kind=search",
            f"search.trials={TRIALS}", "search.objective=grid",
            "search.objective_on=test", "data.validation_share=0",  # simulated clips are tests
            "evaluate.profile=paper_fixed", "evaluate.conditions=null",
            "evaluate.temporal_checks=false", "evaluate.shifts=[]", "headline=[grid]",
            "outcomes={clean: [clean], grid: ['*/*']}", *overrides,
        ],
    )  # fmt: skip


def _ours(repeat: int) -> StudyConfig:
    return _study(
        f"search.seed={repeat}", "evaluate.fidelity=screen", "train.validate_every=3",
        f"search.grace={3 / STEPS}", "search.reduction=3", "search.confirm={best: 1, seeds: 3}",
    )  # fmt: skip


def _peer(repeat: int) -> StudyConfig:
    return _study(
        f"search.seed={1000 + repeat}", "search.sampler=random", "search.early_stopping=false",
        "search.confirm=null",
    )  # fmt: skip


# ------------------------------------------------------------------------------ the simulated world


def skill(config: TrialConfig) -> float:
    """True skill of a configuration, without the luck of a seed."""
    found = 0.0
    for name, settings in config.losses.items():
        gain, best = GAINS[name]
        assert settings.weight is not None
        found += gain * math.exp(-0.5 * math.log(settings.weight / best) ** 2)
    return found - 0.05 * max(0, len(config.losses) - 3)


def _rng(config: TrialConfig, *parts: object) -> np.random.Generator:
    weights = sorted((name, s.weight) for name, s in config.losses.items())
    digest = hashlib.sha256(repr((weights, *parts)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


@cache
def _hardness(count: int) -> NDArray[np.float64]:
    return np.random.default_rng(1).normal(0.2, 0.8, count)


def true_accuracy(config: TrialConfig, count: int) -> float:
    """Mean accuracy over the grid that infinitely many clips and seeds would give, in percent."""
    return 100 * float(norm.cdf((skill(config) - _hardness(count)) / math.hypot(1, 0.6)).mean())


class World:
    """Runs trials that cost nothing and counts the forwards that real ones would have cost."""

    def __init__(self, study: StudyConfig) -> None:
        self.rows = [row.name for row in _tests(study.evaluate).rows if row.perturbation]
        self.spent: dict[str, float] = {"train": 0.0, "validate": 0.0, "test": 0.0}
        self.by_cell: dict[str, float] = {}
        self.difficulty = np.random.default_rng(0).standard_normal(CLIPS)

    def __call__(
        self, config: TrialConfig, *, scratch: Path, on_metrics: Callable[[dict[str, Any]], None]
    ) -> Any:
        """A trial, as ``sweep.trial.run_trial``."""
        own = skill(config) + SEED_SPREAD * _rng(config, config.seed).standard_normal()
        state = scratch / "checkpoint" / "step"
        if not state.is_file():
            self._train(config, own, on_metrics)
            state.parent.mkdir(parents=True, exist_ok=True)
            state.write_text(str(STEPS))
        return self._test(config, own)

    def _train(
        self, config: TrialConfig, own: float, on_metrics: Callable[[dict[str, Any]], None]
    ) -> None:
        pace = _rng(config, "pace").uniform(4, 4.5)
        noise = _rng(config, config.seed, "noise").standard_normal(STEPS + 1)
        clean = 100 * float(norm.cdf((own + 1.2) / math.hypot(1, 0.6)))
        every = config.train.validate_every
        for step in range(1, STEPS + 1):
            self._spend(config, "train", TRAINING / STEPS)
            row = {"step": step, "unified": 1.0, "losses": {}, "slopes": {}, "lr": 0.1}
            if every and step % every == 0 and step < STEPS:
                self._spend(config, "validate", CLIPS)
                found = clean * (1 - math.exp(-step / pace)) + 0.5 * noise[step]
                row["validation"] = {"top1": found}
            on_metrics(row)

    def _test(self, config: TrialConfig, own: float) -> Any:
        rng = _rng(config, config.seed, "test")
        pairs = _tests(config.evaluate).table
        shape = (len(self.rows), CLIPS)
        hard = _hardness(len(self.rows))
        luck = 0.6 * rng.standard_normal(shape, dtype=np.float32)
        correct = own - hard[:, None] - self.difficulty + luck > 0
        clean = own + 1.2 - self.difficulty + 0.6 * rng.standard_normal(CLIPS) > 0
        scores = [_score("clean", clean)]
        outcomes = None
        if pairs is None:
            self._spend(config, "test", VIEWS * CLIPS * (len(self.rows) + 1))
            scores += [_score(name, correct[i]) for i, name in enumerate(self.rows)]
        else:
            tested = {name: correct[i, pairs.rows[name]] for i, name in enumerate(self.rows)}
            self._spend(config, "test", CLIPS + sum(len(found) for found in tested.values()))
            scores += [_score(name, found) for name, found in tested.items()]
            names = ("clean", *self.rows)
            outcomes = Outcomes(
                ids={"clean": tuple(map(str, range(CLIPS)))},
                clip_sets=dict.fromkeys(names, "clean"),
                values={"top1": {"clean": clean, **tested}},
                rows=pairs.rows,
            )
        record = TrialRecord(
            key=config.key, label=config.label, status="done", seed=config.seed,
            losses=tuple(config.losses), combiner=config.combiner.name,
            config=config.model_dump(mode="json"), scores=tuple(scores),
            fidelity={} if pairs is None else pairs.about(),
        )  # fmt: skip
        return SimpleNamespace(record=record, history=[], outcomes=outcomes)

    def _spend(self, config: TrialConfig, what: str, forwards: float) -> None:
        self.spent[what] += forwards
        self.by_cell[config.key] = self.by_cell.get(config.key, 0.0) + forwards


def _tests(settings: EvaluateSettings) -> TestPlan:
    return TestPlan.of(settings, (), {"video"}, CLIPS)


def _score(condition: str, correct: NDArray[np.bool_]) -> Score:
    metrics = {"top1": 100 * float(correct.mean())}
    return Score.of(Condition.parse(condition), metrics, clips=len(correct))


def _run(study: StudyConfig, sweep: Path) -> tuple[World, Search]:
    """A whole search in a folder; returns what it spent and what it knows."""
    sweep.mkdir()
    world = World(study)
    board = Board(study, sweep=sweep, total=TRIALS, console=Console(quiet=True))
    session = Session(study, sweep, cells(study, "bench"), board=board, fingerprint="bench")
    with session:
        run_cells(session, world)
    assert session.queue.search is not None
    if session.summary().code:
        raise UnequalError(f"the simulated search failed: {session.summary()}")
    return world, session.queue.search


def _winner(search: Search) -> TrialConfig:
    return search.winners(1)[0]


# --------------------------------------------------------------------------------------------- rows


def whole(device: str = "cpu", repeats: int = REPEATS) -> Row:
    """Forwards up to the winner: early stopping, `screen`, finalists and anchors at `full`.

    Raises:
        UnequalError: if our winner is truly worse than the peer's by more than half a point.
    """
    del device
    ratios, confirmed, ours, peers, regrets = [], [], [], [], []
    with tempfile.TemporaryDirectory(prefix="auxsweep-bench-") as name:
        for i in range(repeats):
            world, search = _run(_ours(i), Path(name) / f"ours{i}")
            other, peer = _run(_peer(i), Path(name) / f"peer{i}")
            count = len(world.rows)
            again = sum(world.by_cell.get(key, 0.0) for key in search.promoted["confirm"])
            spent, naive = sum(world.spent.values()), sum(other.spent.values())
            ours.append(spent - again)
            peers.append(naive)
            ratios.append(naive / (spent - again))
            # the peer's winner needs the same fresh seeds before anything can be claimed
            confirmed.append((naive + again) / spent)
            values = [true_accuracy(_winner(s), count) for s in (search, peer)]
            regrets.append(values[1] - values[0])
    regret = statistics.mean(regrets)
    if regret > MAX_REGRET:
        raise UnequalError(f"our winner is truly {regret:.2f} points worse than the peer's")
    unit = TRAINING * 1e3  # printed as ms: one is one training
    return Row(
        name="whole search, N = 64",
        peer="random search, full training, full grid",
        ours_s=statistics.median(ours) / unit,
        peer_s=statistics.median(peers) / unit,
        ratio=statistics.median(ratios),
        low=min(ratios),
        high=max(ratios),
        goal=5.0,
        error=(
            f"true regret of our winner against the peer's {regret:+.2f} points on average "
            f"({min(regrets):+.2f} to {max(regrets):+.2f})"
        ),
        note=(
            f"forwards of simulated trials in UCF101's proportions, 1 ms = one training; "
            f"{repeats} searches; with fresh seeds for the winner in both "
            f"{statistics.median(confirmed):.2f}x ({min(confirmed):.2f}..{max(confirmed):.2f})"
        ),
    )


#: A conditional space of thirty names: membership, weights, knobs, recipe.
WIDE = (
    "losses=null",
    "losses={caption: true, consistency: true, infonce: true, masked_frame: true, pixel: true, "
    "latent_prediction: true, s2dtw: true, mil_nce: true, siglip: true, univl_joint: true}",
    "combiners={static: {}, meltr: {}}",
    "search.space={losses.infonce.knobs.temperature: true, losses.mil_nce.knobs.temperature: true, "
    "losses.masked_frame.knobs.temperature: true, losses.univl_joint.knobs.margin: true, "
    "losses.s2dtw.knobs.gamma: true, combiners.meltr.gamma: true, combiners.meltr.lr: true, "
    "train.lr: {low: 1e-4, high: 1e-2, log: true}, train.ema: {low: .9, high: .999}}",
)
FINISHED = 300
MAX_SUGGESTION_S = 0.5


def suggestion(device: str = "cpu") -> Row:
    """CPU seconds of a suggestion after 300 finished trials over thirty names.

    Raises:
        UnequalError: if a suggestion takes more than half a second.
    """
    del device
    study = load_study(
        "quickstart",
        overrides=[
            *WIDE, "design.kind=search", f"search.trials={FINISHED + 40}", "search.confirm=null",
            "search.objective=clean", "search.objective_on=test", "data.validation_share=0",
            "outcomes={clean: [clean]}", "headline=[clean]",
        ],
    )  # fmt: skip
    seconds: list[float] = []
    with tempfile.TemporaryDirectory(prefix="auxsweep-bench-") as name:
        search = Search(study, Ledger(Path(name)), fingerprint="bench")
        names: set[str] = set()
        for number in range(FINISHED + 30):
            start = time.process_time()
            config = search.next()
            taken = time.process_time() - start
            if config is None:
                break
            if number >= FINISHED:
                seconds.append(taken)
            accuracy = float(_rng(config, "value").uniform(20, 60))
            score = Score(
                condition="clean", category="clean", metrics={"top1": accuracy}, clips=100
            )
            search.finished(
                TrialRecord(
                    key=config.key, label=config.label, status="done", seed=config.seed,
                    losses=tuple(config.losses), combiner=config.combiner.name,
                    config=config.model_dump(mode="json"), scores=(score,),
                )
            )  # fmt: skip
        for trial in search.trials:
            names |= set(trial.params)
    if len(names) < 30:
        raise UnequalError(f"the space has {len(names)} names, not 30")
    median = statistics.median(seconds)
    if median > MAX_SUGGESTION_S:
        raise UnequalError(f"a suggestion takes {median:.2f} CPU seconds")
    return Row(
        name="suggestion, 300 trials, 30 names",
        peer=f"the limit of {MAX_SUGGESTION_S} CPU seconds",
        ours_s=median,
        peer_s=MAX_SUGGESTION_S,
        ratio=MAX_SUGGESTION_S / median,
        low=MAX_SUGGESTION_S / max(seconds),
        high=MAX_SUGGESTION_S / min(seconds),
        goal=1.0,
        error=f"{len(names)} names in the space",
        note="TPE, ledger on disk; suggestions are made ahead while trials run",
    )

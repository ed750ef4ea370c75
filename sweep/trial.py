"""One resolved trial to one record: data, fine-tuning, evaluation.

Knows nothing of Ray, W&B or the ledger: it is called in this process (`--debug`, `--local`) and in
a Ray worker alike, and gives the same numbers in both. In a trial of several ranks every rank runs
it and finds the same result.
"""

from __future__ import annotations

import logging
import platform
import socket
import time
import traceback
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch

from losses.catalogue import LOSSES
from losses.views import video_views
from sweep.data.prepare import Prepared, prepare
from sweep.evaluation.bench import TestBench, runnable
from sweep.evaluation.conditions import TestPlan, seen_in_training
from sweep.evaluation.encoders import Encoders
from sweep.evaluation.result import Evaluation, estimates
from sweep.records.environment import library_versions, own_version
from sweep.records.equal import counted, equal_by_settings, exact
from sweep.records.ledger import OUT_OF_MEMORY_ADVICE
from sweep.records.patterns import matching
from sweep.records.record import TrialRecord, TrialResult
from sweep.runtime import heartbeat, ranks
from sweep.runtime.device import card, device_name, is_out_of_memory, peak_memory_gb
from sweep.runtime.seeds import Seeds
from sweep.statistics.diversity import measure_history
from sweep.tasks.catalogue import task_of
from sweep.training.assembly import assemble
from sweep.training.checkpoint import Progress
from sweep.training.finetune import finetune
from sweep.training.trained import threshold

if TYPE_CHECKING:
    from pathlib import Path

    from losses.combine.meta import MetaOptimizer
    from sweep.records.condition import Condition
    from sweep.settings.trial import TrialConfig
    from sweep.training.learner import Learner

log = logging.getLogger(__name__)
OnMetrics = Callable[[dict[str, Any]], None]


def run_trial(
    config: TrialConfig,
    *,
    scratch: Path,
    on_metrics: OnMetrics | None = None,
    device: str | None = None,
    reraise: bool = False,
) -> TrialResult:
    """Run a trial to its end, from its last checkpoint if there is one.

    Args:
        config: The resolved point.
        scratch: Folder of the cell; checkpoints go to ``scratch/checkpoint``.
        on_metrics: Receives history rows as they are made.
        device: Default: the first CUDA device that this process sees, else the CPU.
        reraise: For debugging: let exceptions out instead of recording them.

    Returns:
        A record with status `done`, or `failed` with the reason; a failing cell never raises.
    """
    chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    run = _Run(config, scratch, on_metrics, chosen)
    try:
        return run.execute()
    except Exception as error:
        if reraise:
            raise
        log.info("cell %s (%s, seed %s) failed: %s", config.key, config.label, config.seed, error)
        return run.failure(error)


def _judged_by(names: Sequence[str], meta: MetaOptimizer) -> dict[str, Any]:
    """What the meta steps of a learned combiner rested on."""
    ratios = dict(zip(names, meta.signal.ratios(), strict=False))  # empty without a meta step
    return {"meta": {"steps": meta.steps, "skipped": meta.skipped, "signal_to_noise": ratios}}


@lru_cache(maxsize=2)
def _prepared(data: str) -> Prepared:
    """Memory-mapped data set, opened once per process."""
    from sweep.settings.data import DataSettings

    settings = DataSettings.model_validate_json(data)
    return prepare(
        settings, progress=lambda phase, done, all_: heartbeat.beat(f"data: {phase} {done}/{all_}")
    )


class _Run:
    """The phases of one trial and their times."""

    def __init__(
        self, config: TrialConfig, scratch: Path, on_metrics: OnMetrics | None, device: torch.device
    ) -> None:
        self.config = config
        self.task = task_of(config.evaluate, config.primary)
        self.checkpoint = scratch / "checkpoint"
        self.on_metrics = on_metrics
        self.device = device
        self.seconds: dict[str, float] = {}
        self.started = time.time()
        self.cpu_started = time.process_time()
        self.progress = Progress()

    def execute(self) -> TrialResult:
        """Data, training, evaluation."""
        config = self.config
        if config.train.batch % ranks.count():
            raise ValueError(
                f"a batch of {config.train.batch} clips cannot be shared by {ranks.count()} ranks; "
                "train.batch must be a multiple of resources.workers_per_trial"
            )
        seeds = Seeds.of(config.seed)
        seeds.seed_process()
        prepared = self._timed("data", lambda: _prepared(config.data.model_dump_json()))
        if config.fingerprint and config.fingerprint != prepared.fingerprint:
            raise ValueError(
                f"the data set here has fingerprint {prepared.fingerprint}, the sweep was planned "
                f"with {config.fingerprint}: the files changed or another copy lies on this node"
            )
        trained = assemble(
            config,
            prepared,
            self.task.clips,
            heads=self.task.heads,
            seeds=seeds,
            device=self.device,
        )
        learner, model = trained.learner, trained.learner.model
        shifts = [name for name in prepared.evaluation if name != "clean"]
        clips = len(prepared.evaluation["clean"].ids)
        plan = TestPlan.of(config.evaluate, shifts, self.task.sides, clips)
        bench = TestBench(prepared, plan, frames=model.clip.frames)
        rows, skipped = runnable(plan.rows)
        seen = seen_in_training(config.train, rows)
        names = [row.name for row in rows]
        own = counted(names, exact(equal_by_settings(names, config.model_dump())))

        def test(some: Sequence[Condition], bench: TestBench = bench) -> Evaluation:
            encoders = Encoders(
                model,
                bench,
                features=self.task.features,
                tokenizer=model.tokenizer,
                precision=config.train.precision,
                device=self.device,
                workers=config.data.workers,
            )
            return self.task.load()(bench, encoders, some, self.task)

        if config.evaluate.on_validation and prepared.validation is None:
            raise ValueError(
                "evaluate.on_validation: there are no validation clips; keep some with "
                "data.validation_share, such as .1"
            )
        chooses = bench
        if prepared.validation is not None:  # what chooses sees no clip of a test
            whole: dict[str, Any] = {"fidelity": "full", "clips_per_cell": None, "shifts": []}
            settings = config.evaluate.model_copy(update=whole)
            clips = len(prepared.validation.ids)
            chooses = TestBench(
                prepared.for_choosing,
                TestPlan.of(settings, (), self.task.sides, clips),
                frames=model.clip.frames,
            )
        with trained.batches.read_ahead(config.data.workers):
            self.progress = self._timed(
                "train",
                lambda: finetune(
                    learner,
                    trained.combiner,
                    trained.batches,
                    config.train,
                    checkpoint=self.checkpoint,
                    meta=trained.meta,
                    holdout=trained.judged_by,
                    validate=lambda: self._validated(test, chooses),
                    on_metrics=self.on_metrics,
                ),
            )
        tested = self._timed("evaluate", lambda: test(rows))
        judged = self._judged(test, chooses)
        views = len(video_views(learner.names))
        trained_clips = config.train.steps * config.train.batch * views
        record = self._record(
            status="done",
            task=self.task.name,
            scores=tested.scores,
            validation=() if judged is None else judged.scores,
            final=self._final(learner, classes=len(prepared.class_names)),
            weights=self._weights(learner.names),
            training={} if trained.meta is None else _judged_by(learner.names, trained.meta),
            diversity=measure_history(
                {name: s.weight for name, s in config.losses.items()},
                self.progress.history,
                primary=config.primary,
                steps=config.train.steps,
            ),
            forwards={
                "train": trained_clips,
                **tested.forwards,
                **({} if judged is None else {"validation": judged.forwards["evaluate"]}),
            },
            data={
                "fingerprint": prepared.fingerprint,
                "counts": prepared.counts,
                "skipped": skipped,
                **({"seen_in_training": seen} if seen else {}),
            },
            fidelity=plan.table.about() if plan.table is not None else {},
            estimates=estimates([row for row in rows if row.name in own], tested.outcomes),
            probabilities=tested.probabilities,
        )
        return TrialResult(record, self.progress.history, tested.outcomes)

    def _judged(
        self, test: Callable[[Sequence[Condition], TestBench], Evaluation], bench: TestBench
    ) -> Evaluation | None:
        """What `evaluate.on_validation` asks of the validation clips; None if nothing."""
        if not self.config.evaluate.on_validation:
            return None
        rows = self._to_choose_by(bench)
        return self._timed("validate", lambda: test(rows, bench))

    def _to_choose_by(self, bench: TestBench) -> list[Condition]:
        """Conditions of `evaluate.on_validation`, the clean clips before them.

        Tasks judge perturbed clips beside the clean ones.
        """
        rows, _ = runnable(bench.plan.rows)
        names = set(matching([row.name for row in rows], self.config.evaluate.on_validation))
        return [row for row in rows if row.name in names or row.name == "clean"]

    def _validated(
        self, test: Callable[[Sequence[Condition], TestBench], Evaluation], bench: TestBench
    ) -> dict[str, Any]:
        """What a row of history says of the clips that choose; by condition where asked for."""
        each = self.config.evaluate.each_validation
        scores = test(self._to_choose_by(bench) if each else bench.plan.rows[:1], bench).scores
        told: dict[str, Any] = {"validation": dict(scores[0].metrics)}
        if each:
            told["validated"] = {score.condition: dict(score.metrics) for score in scores}
        return told

    def failure(self, error: Exception) -> TrialResult:
        """The record of a cell that could not finish."""
        kind = type(error).__name__.removesuffix("Error") or type(error).__name__
        message = str(error) or type(error).__name__
        if is_out_of_memory(error):
            kind, message = "OutOfMemory", f"{message}; {OUT_OF_MEMORY_ADVICE}"
        reason = {
            "type": kind,
            "message": message,
            "traceback": "".join(traceback.format_exception(error)),
            "step": getattr(error, "step", self.progress.step),
        }
        return TrialResult(self._record(status="failed", error=reason), self.progress.history, None)

    def _final(self, learner: Learner, *, classes: int) -> dict[str, Any]:
        primary, settings = LOSSES[self.config.primary], self.config.train
        late = self.progress.late_cross_entropy
        cross_entropy = sum(late) / max(1, len(late))
        losses_rows = [row for row in self.progress.history if "unified" in row]
        # a checkpoint that is older than the rule holds the first step alone, in its history
        early = self.progress.early_primary or [losses_rows[0]["losses"][primary.name]]
        below = threshold(primary, settings, classes=classes, early=early)
        return {
            "cross_entropy": cross_entropy,
            "unified_loss": losses_rows[-1]["unified"],
            "trained": cross_entropy < below,
            **({"trained_below": below} if settings.trained_below is None else {}),
            "steps": self.progress.step,
            "meta_steps": self.progress.meta_steps,
            "parameters": sum(p.numel() for p in learner.model.parameters()),
        }

    def _weights(self, names: tuple[str, ...]) -> dict[str, float]:
        rows = self.progress.late_slopes
        return {
            name: sum(row[i] for row in rows) / max(1, len(rows)) for i, name in enumerate(names)
        }

    def _record(self, **parts: Any) -> TrialRecord:
        config = self.config
        return TrialRecord(
            key=config.key,
            label=config.label,
            seed=config.seed,
            losses=tuple(sorted(config.losses)),
            combiner=config.combiner.name,
            config=config.model_dump(mode="json"),
            run={
                "started": self.started,
                "seconds": {**self.seconds, "all": time.time() - self.started},
                "cpu_seconds": time.process_time() - self.cpu_started,
                "peak_memory_gb": peak_memory_gb(self.device),
                "host": socket.gethostname(),
                "device": device_name(self.device),
                **card(self.device),
                "threads": torch.get_num_threads(),
                **({"warnings": self.progress.warnings} if self.progress.warnings else {}),
                "ranks": ranks.count(),
                "versions": {
                    "python": platform.python_version(),
                    "torch": torch.__version__,
                    "auxsweep": own_version(),
                    **library_versions(),
                },
            },
            **parts,
        )

    def _timed(self, phase: str, call: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        try:
            return call()
        finally:
            self.seconds[phase] = round(time.perf_counter() - start, 3)

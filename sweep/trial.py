"""One resolved trial to one record: data, fine-tuning, evaluation.

Knows nothing of Ray, W&B or the ledger: it is called in this process (`--debug`, `--local`) and in
a Ray worker alike, and gives the same numbers in both. In a trial of several ranks every rank runs
it and finds the same result.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import platform
import resource
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import losses
import models
from losses.catalogue import COMBINERS, LOSSES, moving_targets
from sweep import heartbeat, ranks
from sweep.conditions import Condition, conditions, ladder, seen_in_training
from sweep.data.prepare import Prepared, prepare
from sweep.data_settings import options
from sweep.diversity import measure as measure_diversity
from sweep.evaluate import Evaluation, TestBench, estimates, evaluate, runnable, select
from sweep.evaluate_retrieval import evaluate_retrieval
from sweep.ledger import OUT_OF_MEMORY_ADVICE
from sweep.pixels import LIBRARIES
from sweep.record import Outcomes, TrialRecord
from sweep.text import Vocabulary
from sweep.training.batches import Batches, Clips, encode_captions, stream
from sweep.training.finetune import Progress, finetune
from sweep.training.learner import Learner
from sweep.views import data_features, needs_captions, video_views

if TYPE_CHECKING:
    from losses.combine.meta import MetaOptimizer
    from sweep.config import TrialConfig

log = logging.getLogger(__name__)
OnMetrics = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class TrialResult:
    """What a trial hands to the driver."""

    record: TrialRecord
    history: list[dict[str, Any]]
    outcomes: Outcomes | None


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


@lru_cache(maxsize=2)
def _prepared(data: str) -> Prepared:
    """Memory-mapped data set, opened once per process."""
    from sweep.config import DataSettings

    settings = options(DataSettings.model_validate_json(data))
    return prepare(
        settings, progress=lambda phase, done, all_: heartbeat.beat(f"data: {phase} {done}/{all_}")
    )


class _Run:
    """The phases of one trial and their times."""

    def __init__(
        self, config: TrialConfig, scratch: Path, on_metrics: OnMetrics | None, device: torch.device
    ) -> None:
        self.config = config
        self.checkpoint = scratch / "checkpoint"
        self.on_metrics = on_metrics
        self.device = device
        self.seconds: dict[str, float] = {}
        self.started = time.time()
        self.cpu_started = time.process_time()
        self.progress = Progress()
        self.holdout: Batches | None = None

    def execute(self) -> TrialResult:
        """Data, training, evaluation."""
        config = self.config
        if config.train.batch % ranks.count():
            raise ValueError(
                f"a batch of {config.train.batch} clips cannot be shared by {ranks.count()} ranks; "
                "train.batch must be a multiple of resources.workers_per_trial"
            )
        _seed_process(config.seed)
        prepared = self._timed("data", lambda: _prepared(config.data.model_dump_json()))
        if config.fingerprint and config.fingerprint != prepared.fingerprint:
            raise ValueError(
                f"the data set here has fingerprint {prepared.fingerprint}, the sweep was planned "
                f"with {config.fingerprint}: the files changed or another copy lies on this node"
            )
        learner, batches = self._learner(prepared)
        combiner, meta = build_combiner(config, learner.names)
        combiner.to(self.device)
        model: Any = learner.model
        frames = model.dims()["time"]
        bench = TestBench(prepared, config.evaluate, frames=frames, task=config.task)
        shifts = [name for name in prepared.evaluation if name != "clean"]
        rows, skipped = runnable(conditions(config.evaluate, shifts, config.task))
        seen = seen_in_training(config.train, rows)

        def test(some: Sequence[Condition]) -> Evaluation:
            how: dict[str, Any] = {"precision": config.train.precision, "device": self.device}
            if config.task == "classification":
                return evaluate(model, bench, some, **how)
            words = _vocabulary(prepared)
            return evaluate_retrieval(model, bench, some, vocabulary=words, **how)

        self.progress = self._timed(
            "train",
            lambda: finetune(
                learner,
                combiner,
                batches,
                config.train,
                checkpoint=self.checkpoint,
                meta=meta,
                holdout=self.holdout,
                validate=lambda: test(rows[:1]).scores[0].accuracy,
                on_metrics=self.on_metrics,
            ),
        )
        tested = self._timed("evaluate", lambda: test(rows))
        views = len(video_views(learner.names))
        trained_clips = config.train.steps * config.train.batch * views
        record = self._record(
            status="done",
            scores=tested.scores,
            final=self._final(learner),
            weights=self._weights(learner.names),
            diversity=measure_diversity(
                {name: float(s.weight or 0) for name, s in config.losses.items()},
                self.progress.history,
                primary=config.primary,
                steps=config.train.steps,
            ),
            forwards={"train": trained_clips, **tested.forwards},
            data={
                "fingerprint": prepared.fingerprint,
                "counts": prepared.counts,
                "skipped": skipped,
                **({"seen_in_training": seen} if seen else {}),
            },
            fidelity=bench.table.about() if bench.table is not None else {},
            estimates=estimates(rows, tested.outcomes),
            probabilities=tested.probabilities,
        )
        return TrialResult(record, self.progress.history, tested.outcomes)

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

    def _learner(self, prepared: Prepared) -> tuple[Learner, Batches]:
        config = self.config
        vocabulary = _vocabulary(prepared)
        needs_text = config.task == "retrieval" or needs_captions((config.primary, *config.losses))
        if needs_text and not any(prepared.train.captions):
            raise ValueError(
                f"a loss of '{config.label}' needs captions, and the data set "
                f"'{config.data.dataset}' has none"
            )
        model = models.build(
            config.model.name,
            classes=max(1, len(prepared.class_names)),
            size_px=config.data.size_px,
            vocabulary=len(vocabulary) if needs_text else 0,
            text=needs_text,
            **config.model.knobs,
        )
        models.initialise(model, stream(config.seed, "model"))
        if ranks.count() > 1:
            models.join_batchnorm(model, ranks.total, ranks.count())
        learner = Learner(
            model,
            config.losses,
            seed=stream(config.seed, "losses"),
            label_smoothing=config.train.label_smoothing,
            primary=config.primary,
        )
        learner.to(self.device)
        clips = Clips(
            frames=select(prepared.train, learner.model.dims()["time"]),  # type: ignore[operator]
            labels=np.where(prepared.labelled, prepared.train.labels, -1),
            captions=(
                encode_captions(prepared.train.captions, vocabulary)
                if needs_text
                else np.zeros((len(prepared.train.ids), 0, 0), dtype=np.int64)
            ),
            stored=prepared.train.frames if config.train.perturb != "none" else None,
        )
        supervised = any("labels" in LOSSES[name].needs for name in learner.names)
        share = _held_out_share(config)
        if share:
            clips, held_out = hold_out(clips, share, seed=config.seed, supervised=supervised)
            self.holdout = Batches(
                held_out,
                seed=stream(config.seed, "holdout"),
                settings=config.train,
                needs=data_features((config.primary,)),
                device=self.device,
                supervised=supervised,
                ladder=ladder(config.evaluate),
            )
        batches = Batches(
            clips,
            seed=config.seed,
            settings=config.train,
            needs=data_features(learner.names),
            device=self.device,
            supervised=supervised,
            ladder=ladder(config.evaluate),
        )
        return learner, batches

    def _final(self, learner: Learner) -> dict[str, Any]:
        late = self.progress.late_cross_entropy
        cross_entropy = sum(late) / max(1, len(late))
        losses_rows = [row for row in self.progress.history if "unified" in row]
        return {
            "cross_entropy": cross_entropy,
            "unified_loss": losses_rows[-1]["unified"],
            "trained": cross_entropy < self.config.train.trained_below,
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
                "device": _device_name(self.device),
                **_card(self.device),
                "threads": torch.get_num_threads(),
                **({"warnings": self.progress.warnings} if self.progress.warnings else {}),
                "ranks": ranks.count(),
                "versions": {
                    "python": platform.python_version(),
                    "torch": torch.__version__,
                    "auxsweep": _version(),
                    **_library_versions(),
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


def is_out_of_memory(error: Exception) -> bool:
    """Whether the memory of the device or of the process did not suffice."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error)  # of torch's CPU allocator and of CUDA libraries, which raise RuntimeError
    return isinstance(error, RuntimeError) and (
        "can't allocate memory" in text or "out of memory" in text or "CUBLAS_STATUS_ALLOC" in text
    )


def build_combiner(
    config: TrialConfig, names: tuple[str, ...]
) -> tuple[torch.nn.Module, MetaOptimizer | None]:
    """The combiner of a trial and, for one that is learned by meta steps, its optimiser.

    Raises:
        ValueError: Finite differences for a loss whose derivative they do not see.
    """
    from losses.combine.meta import MetaOptimizer

    spec = COMBINERS[config.combiner.name]
    knobs = {**spec.knobs, **config.combiner.knobs}
    held = moving_targets(names)
    if spec.meta and knobs["method"] == "fd" and held:
        raise ValueError(
            f"combiner {spec.name}: method fd cannot be used with {', '.join(held)}, which hold a "
            "feature fixed that the trained weights make: a difference moves it nevertheless (use "
            "jvp, loop or auto)"
        )
    weights = {config.primary: 1.0} | {n: float(s.weight or 0) for n, s in config.losses.items()}
    meta_knobs = {k: knobs.pop(k) for k in list(knobs) if k in MetaOptimizer.KNOBS}
    combiner = spec.load()(names=names, primary=config.primary, weights=weights, **knobs)
    losses.initialise(combiner, stream(config.seed, "combiner"), config.combiner.name)
    return combiner, MetaOptimizer(combiner, **meta_knobs) if spec.meta else None


def _held_out_share(config: TrialConfig) -> float:
    """Share of the labelled clips that the meta step of this trial judges by; 0 without one."""
    knobs = {**COMBINERS[config.combiner.name].knobs, **config.combiner.knobs}
    return float(knobs["holdout_share"]) if knobs.get("data") == "holdout" else 0.0


def hold_out(
    clips: Clips, share: float, *, seed: int, supervised: bool = True
) -> tuple[Clips, Clips]:
    """Clips to train on, and labelled ones kept out, drawn class by class.

    Where no loss reads labels, all clips are of one class. At least one clip of a class is kept out
    and at least one stays, so that a class with a single labelled clip gives none.

    Raises:
        ValueError: No class has two labelled clips.
    """
    rng = np.random.default_rng(stream(seed, "holdout", "clips"))
    chosen: list[np.ndarray] = []
    labels = clips.labels if supervised else np.zeros_like(clips.labels)
    for label in np.unique(labels[labels >= 0]):
        rows = rng.permutation(np.flatnonzero(labels == label))
        count = min(max(1, round(share * len(rows))), len(rows) - 1)
        chosen.append(rows[:count])
    kept_out = np.sort(np.concatenate(chosen))
    if not len(kept_out):
        raise ValueError(
            "meta data holdout: every class has a single labelled clip, none can be kept out of "
            "training (use data: memory)"
        )
    rest = np.setdiff1d(np.arange(len(clips.labels)), kept_out)
    return tuple(  # type: ignore[return-value]
        Clips(clips.frames[rows], clips.labels[rows], clips.captions[rows], clips.stored, rows)
        for rows in (rest, kept_out)
    )


def _vocabulary(prepared: Prepared) -> Vocabulary:
    return Vocabulary.of(text for texts in prepared.train.captions for text in texts)


def _seed_process(seed: int) -> None:
    """Streams draw their own numbers; this covers dropout and whatever a library draws."""
    torch.default_generator.manual_seed(stream(seed, "process"))
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(stream(seed, "process"))
        torch.backends.cudnn.benchmark = False
    np.random.seed(stream(seed, "numpy") % 2**32)  # noqa: NPY002 - libraries read the global state


def peak_memory_gb(device: torch.device) -> dict[str, float]:
    """Most memory that this process has held: resident (`host`), and tensors on the GPU (`gpu`)."""
    unit = 1 if sys.platform == "darwin" else 1024
    found = {"host": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9}
    if device.type == "cuda":
        found["gpu"] = torch.cuda.max_memory_allocated(device) / 1e9
    return {name: round(value, 3) for name, value in found.items()}


def _device_name(device: torch.device) -> str:
    return (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else platform.processor() or "cpu"
    )


def _card(device: torch.device) -> dict[str, str]:
    """Which card it was, so that a faulty one can be found; nothing on a CPU."""
    if device.type != "cuda":
        return {}
    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)  # ROCm may lack it
    return {} if uuid is None else {"device_uuid": f"GPU-{uuid}"}


@lru_cache
def _library_versions() -> dict[str, str]:
    """Of what makes the tested pixels besides torch, as far as it is installed."""
    found = {}
    for name in set(LIBRARIES) - {"torch"}:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return dict(sorted(found.items()))


def _version() -> str:
    try:
        return importlib.metadata.version("auxsweep")
    except importlib.metadata.PackageNotFoundError:
        return "source"

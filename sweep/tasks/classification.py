"""Classification: the class of a clip."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import torch

from sweep.evaluation.result import Evaluation, Tested
from sweep.metrics.agreement import rank_distance
from sweep.metrics.calibration import calibration
from sweep.runtime import heartbeat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sweep.evaluation.bench import TestBench
    from sweep.evaluation.encoders import Encoders
    from sweep.records.condition import Condition
    from sweep.tasks.catalogue import TaskSpec


def test(
    bench: TestBench, encoders: Encoders, rows: Sequence[Condition], spec: TaskSpec
) -> Evaluation:
    """Classify every clip under every condition."""
    tested = Tested(bench, encoders, [metric.name for metric in spec.metrics])
    probabilities: dict[str, Mapping[str, float]] = {}
    clean: np.ndarray | None = None
    encoders.prepare(rows)
    for number, condition in enumerate(rows, start=1):
        heartbeat.beat(f"testing {number}/{len(rows)}")
        shown = encoders.video(condition, "logits")
        logits = shown.values
        if condition.name == "clean":
            clean = logits
        truth, before = bench.prepared.evaluation[condition.clips].labels, clean
        chosen = bench.rows(condition)
        if chosen is not None:
            truth, before = truth[chosen], None if clean is None else clean[chosen]
        if condition.clips != "clean":
            before = None
        probabilities[condition.name] = _probabilities(logits, truth, before)
        found = logits.argmax(1)
        tested.keep("predictions", condition.name, found)
        tested.keep("confidence", condition.name, _confidence(logits))
        tested.add(condition, {"top1": found == truth}, pixels=shown.pixels)
    tested.keep_labels()
    return tested.evaluation(probabilities)


def _confidence(logits: np.ndarray) -> np.ndarray:
    """uint8 ``(N,)``: largest class probability in steps of 1/255; 0 where a model diverged."""
    largest = torch.from_numpy(logits).softmax(1).amax(1)
    return largest.nan_to_num(0.0).mul(255).round().to(torch.uint8).numpy()


def _probabilities(
    logits: np.ndarray, labels: np.ndarray, clean: np.ndarray | None
) -> dict[str, float]:
    """Calibration of a condition and how far its class rankings are from the clean ones.

    Args:
        logits: ``(N, V)``.
        labels: ``(N,)``.
        clean: Logits of the same clips as they are; None for another clip set.
    """
    chance = torch.from_numpy(logits).double().softmax(1).numpy()
    found = asdict(calibration(chance, labels))
    if clean is not None and np.isfinite(logits).all() and np.isfinite(clean).all():
        pair = np.stack([clean, logits], axis=1)
        for kind in ("zipf", "top5"):
            found[kind] = rank_distance(pair, kind=kind, against="first")  # type: ignore[arg-type]
    return {name: round(value, 6) for name, value in found.items()}

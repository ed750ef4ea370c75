"""Classification: the class of a clip."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import torch

from sweep.metrics.agreement import rank_distance
from sweep.metrics.calibration import calibration
from sweep.records.outcomes import Outcomes
from sweep.records.record import Score
from sweep.runtime import heartbeat, ranks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from models.interface import VideoModel
    from sweep.evaluation.conditions import (
        Condition,
    )

from sweep.evaluation.bench import TestBench, level
from sweep.evaluation.encoders import Encoder
from sweep.evaluation.result import Evaluation


def evaluate(
    model: VideoModel,
    bench: TestBench,
    rows: Sequence[Condition],
    *,
    precision: str,
    device: torch.device,
) -> Evaluation:
    """Classify every clip under every condition."""
    scores: list[Score] = []
    predictions: dict[str, np.ndarray] = {}
    confidence: dict[str, np.ndarray] = {}
    probabilities: dict[str, Mapping[str, float]] = {}
    labels = {c.clips: bench.prepared.evaluation[c.clips].labels for c in rows}
    encoder = Encoder(model, bench, feature="logits", precision=precision, device=device)
    thinned = 0
    tested_rows: dict[str, np.ndarray] = {}
    clean: np.ndarray | None = None
    if ranks.count() > 1:  # each rank makes some of the stored clips, then all find them there
        for condition in rows[ranks.index() :: ranks.count()]:
            bench.clips(condition)
        ranks.gather_objects(None)
    for number, condition in enumerate(rows, start=1):
        heartbeat.beat(f"testing {number}/{len(rows)}")
        logits, pixels = encoder(condition)
        if condition.name == "clean":
            clean = logits
        found = predictions[condition.name] = logits.argmax(1).astype(np.int16)
        confidence[condition.name] = _confidence(logits)
        truth, before = labels[condition.clips], clean
        chosen = bench.rows(condition)
        if chosen is not None:
            tested_rows[condition.name] = chosen
            thinned += len(truth) - len(chosen)
            truth, before = truth[chosen], None if clean is None else clean[chosen]
        if condition.clips != "clean":
            before = None
        probabilities[condition.name] = _probabilities(logits, truth, before)
        correct = found == truth
        scores.append(
            Score(
                condition=condition.name,
                category=condition.category,
                accuracy=100.0 * float(correct.mean()),
                clips=len(found),
                level=level(condition, bench),
                pixels=pixels,
            )
        )
    sets = list(dict.fromkeys(c.clips for c in rows))
    outcomes = Outcomes(
        conditions=tuple(c.name for c in rows),
        clips={c.name: c.clips for c in rows},
        ids={name: tuple(bench.prepared.evaluation[name].ids) for name in sets},
        labels={name: labels[name] for name in sets},
        predictions=predictions,
        rows=tested_rows,
        confidence=confidence,
    )
    forwards = encoder.forwards | ({"thinned": thinned} if tested_rows else {})
    return Evaluation(tuple(scores), outcomes, forwards, probabilities)


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

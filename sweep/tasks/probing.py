"""Probing: the class of a clip, told by a probe on features of the frozen model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sweep.evaluation.probes import PROBES
from sweep.evaluation.result import Evaluation, Tested
from sweep.runtime import heartbeat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweep.evaluation.bench import TestBench
    from sweep.evaluation.encoders import Encoders
    from sweep.evaluation.probes import Scores
    from sweep.records.condition import Condition
    from sweep.tasks.catalogue import TaskSpec

#: The feature that is probed.
FEATURE = "video"


def test(
    bench: TestBench, encoders: Encoders, rows: Sequence[Condition], spec: TaskSpec
) -> Evaluation:
    """Fit a probe to the labelled training clips as they are, then classify every clip by it."""
    tested = Tested(bench, encoders, [metric.name for metric in spec.metrics])
    scores_of = fit(bench, encoders)
    encoders.prepare(rows)
    for number, condition in enumerate(rows, start=1):
        heartbeat.beat(f"testing {number}/{len(rows)}")
        shown = encoders.video(condition, FEATURE)
        scores = scores_of(pooled(shown.values))
        truth, chosen = bench.prepared.evaluation[condition.clips].labels, bench.rows(condition)
        rank = _ranks(scores, truth if chosen is None else truth[chosen])
        tested.keep("predictions", condition.name, scores.argmax(1))
        tested.add(condition, {"top1": rank < 1, "top5": rank < 5}, pixels=shown.pixels)
    tested.keep_labels()
    return tested.evaluation()


def fit(bench: TestBench, encoders: Encoders) -> Scores:
    """The probe of `evaluate.probe`, on training clips whose class may be used.

    Raises:
        ValueError: The model diverged: there is a feature that is not finite.
    """
    heartbeat.beat("fitting a probe")
    train, known = bench.prepared.train, np.flatnonzero(bench.prepared.labelled)
    features = pooled(encoders.training(FEATURE))[known]
    if not np.isfinite(features).all():
        raise ValueError(f"the feature '{FEATURE}' of training clips is not finite: no probe fits")
    probe = PROBES[bench.settings.probe].load()
    groups = [train.groups[row] for row in known]
    return probe.fit(features, train.labels[known], groups, bench.settings.seed)


def pooled(features: np.ndarray) -> np.ndarray:
    """Mean over tokens, if there are any: ``(N, ..., D)`` to ``(N, D)``."""
    return features.reshape(len(features), -1, features.shape[-1]).mean(1)


def _ranks(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """How many classes score as high as the true one or higher; a tie is lost."""
    classes = scores.shape[1]
    own = np.where(
        truth < classes, scores[np.arange(len(truth)), np.minimum(truth, classes - 1)], -np.inf
    )
    found: np.ndarray = (scores >= own[:, None]).sum(1) - (truth < classes)
    return found

"""What testing one model gives, gathered condition by condition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweep.evaluation.bench import level
from sweep.evaluation.fidelity import estimate
from sweep.records.outcomes import Outcomes
from sweep.records.record import Score

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from sweep.evaluation.bench import TestBench
    from sweep.evaluation.encoders import Encoders
    from sweep.records.condition import Condition


@dataclass(frozen=True)
class Evaluation:
    """What testing one model gives.

    Attributes:
        scores: One row per condition.
        outcomes: Per clip.
        forwards: Clips forwarded and avoided; where conditions are tested on few clips, `thinned`
            counts the forwards that all clips would have cost beyond that.
        probabilities: See ``TrialRecord``.
    """

    scores: tuple[Score, ...]
    outcomes: Outcomes
    forwards: Mapping[str, int]
    probabilities: Mapping[str, Mapping[str, float]]


class Tested:
    """Scores and outcomes of a test, while it goes on.

    Args:
        bench: The test clips.
        encoders: What the model says of them.
        metrics: Names of those that there may be, in the order of the record.
    """

    def __init__(self, bench: TestBench, encoders: Encoders, metrics: Sequence[str]) -> None:
        self.bench = bench
        self._encoders = encoders
        self._metrics = tuple(metrics)
        self._scores: list[Score] = []
        self._clip_sets: dict[str, str] = {}
        self._values: dict[str, dict[str, np.ndarray]] = {}
        self._rows: dict[str, np.ndarray] = {}
        self._kept: dict[str, dict[str, np.ndarray]] = {}
        self._thinned = 0

    def add(
        self,
        condition: Condition,
        values: Mapping[str, np.ndarray],
        *,
        pixels: str,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Take a condition.

        Args:
            condition: Just tested.
            values: Metric -> one number from 0 to 1 per tested clip; 100 times its mean is the
                score.
            pixels: Hash of what was shown.
            metrics: Metrics of all clips together, and those whose mean is better taken otherwise.

        Raises:
            ValueError: A metric that the row of the task does not have, or no headline.
        """
        found = {name: 100.0 * float(one.mean()) for name, one in values.items()}
        found |= metrics or {}
        strange = [name for name in found if name not in self._metrics]
        if strange or self._metrics[0] not in found:
            raise ValueError(
                f"{condition.name}: the test gave {', '.join(found)}; its row has "
                f"{', '.join(self._metrics)}, of which the first must be there"
            )
        clips = len(next(iter(values.values())))
        self._scores.append(
            Score.of(
                condition,
                {name: found[name] for name in self._metrics if name in found},
                clips=clips,
                level=level(condition, self.bench),
                pixels=pixels,
            )
        )
        for name, one in values.items():
            self._values.setdefault(name, {})[condition.name] = one
        self._clip_sets[condition.name] = condition.clips
        rows = self.bench.rows(condition)
        if rows is not None:
            self._rows[condition.name] = rows
            self._thinned += len(self.bench.prepared.evaluation[condition.clips].ids) - clips

    def keep(self, name: str, member: str, array: np.ndarray) -> None:
        """Keep an array of a condition or a clip set beside the values."""
        self._kept.setdefault(name, {})[member] = array

    def keep_labels(self) -> None:
        """Keep the classes of the tested clip sets."""
        for name in self.clip_sets:
            self.keep("labels", name, self.bench.prepared.evaluation[name].labels)

    @property
    def clip_sets(self) -> list[str]:
        """Clip sets that were tested, in order."""
        return list(dict.fromkeys(self._clip_sets.values()))

    def evaluation(
        self, probabilities: Mapping[str, Mapping[str, float]] | None = None
    ) -> Evaluation:
        """What was taken."""
        outcomes = Outcomes(
            ids={n: tuple(self.bench.prepared.evaluation[n].ids) for n in self.clip_sets},
            clip_sets=self._clip_sets,
            values={n: self._values[n] for n in self._metrics if n in self._values},
            rows=self._rows,
            kept=self._kept,
        )
        forwards = self._encoders.forwards | ({"thinned": self._thinned} if self._rows else {})
        return Evaluation(tuple(self._scores), outcomes, forwards, probabilities or {})


def estimates(rows: Sequence[Condition], outcomes: Outcomes) -> dict[str, dict[str, float]]:
    """What thinned tests say about the grid, its categories and perturbations; {} at `full`.

    Order-destroying controls are no part of the grid.
    """
    thinned = [c for c in rows if c.name in outcomes.rows and not c.is_control]
    if not thinned:
        return {}
    groups: dict[str, list[str]] = {"grid": []}
    for one in thinned:
        groups["grid"].append(one.name)
        groups.setdefault(f"category/{one.category}", []).append(one.name)
    for one in thinned:
        groups.setdefault(f"perturbation/{one.perturbation}", []).append(one.name)
    found = estimate(
        {c.name: outcomes.correct(c.name) for c in thinned},
        outcomes.rows,
        outcomes.correct("clean"),
        groups,
    )
    return {
        name: {
            "mean": e.mean, "low": e.low, "high": e.high, "cells": e.cells, "pairs": e.pairs,
        }
        for name, e in found.items()
    }  # fmt: skip

"""What testing one model gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweep.evaluation.conditions import (
    TEMPORAL_CHECKS,
    Condition,
)
from sweep.evaluation.fidelity import estimate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sweep.records.outcomes import Outcomes
    from sweep.records.record import Score


@dataclass(frozen=True)
class Evaluation:
    """What testing one model gives.

    Attributes:
        scores: One row per condition.
        outcomes: Per clip.
        forwards: Clips forwarded and avoided; where cells are tested on few clips, `thinned`
            counts the forwards that all clips would have cost beyond that.
        probabilities: See ``TrialRecord``.
    """

    scores: tuple[Score, ...]
    outcomes: Outcomes
    forwards: Mapping[str, int]
    probabilities: Mapping[str, Mapping[str, float]]


def estimates(rows: Sequence[Condition], outcomes: Outcomes) -> dict[str, dict[str, float]]:
    """What thinned tests say about the grid, its categories and perturbations; {} at `full`.

    Order-destroying controls are no part of the grid.
    """
    cells = [c for c in rows if c.name in outcomes.rows and c.perturbation not in TEMPORAL_CHECKS]
    if not cells:
        return {}
    groups: dict[str, list[str]] = {"grid": []}
    for cell in cells:
        groups["grid"].append(cell.name)
        groups.setdefault(f"category/{cell.category}", []).append(cell.name)
    for cell in cells:
        groups.setdefault(f"perturbation/{cell.perturbation}", []).append(cell.name)
    found = estimate(
        {c.name: outcomes.correct(c.name) for c in cells},
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

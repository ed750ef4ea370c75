"""How many clips each perturbation is tested on, and what thinned tests say about the whole grid.

`full` tests every clip under every condition of the grid: a perturbation at a severity. `probe` and
`screen` test the clean clips and the shifts whole, and every condition of the grid on a few clips.
None is left out: a subset of conditions is biased for a loss that interacts with a kind of
perturbation, a subset of clips is not. Which clips belong to which condition is one balanced table,
a function of the study's settings and the data alone, so that two trials are compared on the same
pairs.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

#: Clips per condition where the study does not say.
CLIPS_PER_CELL: Mapping[str, int] = MappingProxyType({"probe": 32, "screen": 64})
#: Quantile of the normal distribution for two-sided 95 %.
_Z = 1.959963984540054


@dataclass(frozen=True)
class Table:
    """The (condition, clip) pairs that are tested.

    Attributes:
        fidelity: `probe` or `screen`.
        clips: Number of clips in the whole set.
        per_cell: Clips per condition.
        seed: Of the draw.
        rows: Condition -> increasing int64 row numbers in the whole set.
    """

    fidelity: str
    clips: int
    per_cell: int
    seed: int
    rows: Mapping[str, np.ndarray]

    @property
    def digest(self) -> str:
        """16 hex digits over all pairs."""
        content = {name: rows.tolist() for name, rows in sorted(self.rows.items())}
        text = json.dumps([self.clips, content], separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def about(self) -> dict[str, Any]:
        """What records and plans say about the table."""
        return {
            "name": self.fidelity,
            "clips_per_cell": self.per_cell,
            "cells": len(self.rows),
            "table": self.digest,
        }

    def to_json(self, ids: Sequence[str]) -> dict[str, Any]:
        """The pairs by name, for people and other programs.

        Args:
            ids: Names of the clips of the whole set.
        """
        pairs = {name: [ids[row] for row in rows] for name, rows in self.rows.items()}
        return {**self.about(), "seed": self.seed, "clips": self.clips, "pairs": pairs}


def draw(cells: Sequence[str], clips: int, *, fidelity: str, per_cell: int, seed: int) -> Table:
    """Deal clips to conditions like cards: no clip twice in one, all clips equally often.

    Equally often up to one more. Cells are served in random order, and the pack is shuffled anew
    whenever it is used up.

    Args:
        cells: Names; their order does not matter.
        clips: Size of the whole set.
        fidelity: Name of the rung.
        per_cell: Clips of each condition; more than there are means all.
        seed: Equal arguments give an equal table.
    """
    import numpy as np  # not for `plan`, which only counts

    rng = np.random.default_rng([seed, clips, per_cell, len(cells)])
    count = min(per_cell, clips)
    names = sorted(cells)
    order = [names[i] for i in rng.permutation(len(names))]
    pack: np.ndarray = rng.permutation(clips)
    rows: dict[str, np.ndarray] = {}
    for name in order:
        hand, pack = pack[:count], pack[count:]
        if len(hand) < count:
            fresh = rng.permutation(clips)
            held = np.isin(fresh, hand)
            free, blocked = fresh[~held], fresh[held]
            need = count - len(hand)
            hand = np.concatenate([hand, free[:need]])
            # what this condition holds already waits for a later one, at a random place
            pack = rng.permutation(np.concatenate([free[need:], blocked]))
        rows[name] = np.sort(hand)
    return Table(fidelity, clips, count, seed, {name: rows[name] for name in cells})


def clips_tested(cells: int, clips: int, per_cell: int | None) -> int:
    """Forwards of the grid: every condition on its clips; None = on all."""
    return cells * (clips if per_cell is None else min(per_cell, clips))


# ------------------------------------------------------------------------------------ estimates
@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Mean accuracy over conditions, in percent, as testing all clips would give it.

    Attributes:
        mean: Estimate, corrected by the clean outcomes of the tested clips.
        low: Lower end of the 95 % interval.
        high: Upper end.
        cells: Number of conditions.
        pairs: Number of (condition, clip) pairs tested.
        slope: Of the control variate.
        sd: Standard deviation of the estimate.
    """

    mean: float
    low: float
    high: float
    cells: int
    pairs: int
    slope: float
    sd: float


@dataclass(frozen=True)
class _Residuals:
    """Outcomes less the control variate and the condition's mean, with their variances."""

    slope: float
    means: Mapping[str, float]
    errors: Mapping[str, np.ndarray]
    spread: Mapping[str, float]
    shared: float


def estimate(
    correct: Mapping[str, np.ndarray],
    rows: Mapping[str, np.ndarray],
    clean: np.ndarray,
    groups: Mapping[str, Sequence[str]],
) -> dict[str, Estimate]:
    """Means over groups of conditions, from few clips of each.

    estimate = mean over conditions of [perturbed - b (clean on these clips - clean on all)], b
    pooled over all conditions by least squares. The error of a pair is split into a part of the
    clip, shared by all conditions (its variance is the mean product of errors of one clip in
    two of them), and a part of its own. The first cancels as far as clips are tested equally
    often, the second shrinks with the pairs and vanishes when every clip is tested; the
    interval is normal and that of a finite population. Where no clip was tested twice the first
    counts as nothing, which makes the interval too wide, never too narrow.

    Args:
        correct: Condition -> bool (n,) outcomes of its clips.
        rows: Condition -> (n,) row numbers of these clips.
        clean: Bool (N,) outcomes of all clips without perturbation.
        groups: Name -> conditions to average.
    """
    import numpy as np

    whole = np.asarray(clean, dtype=np.float64)
    found = _residuals(correct, rows, whole)
    return {name: _group(cells, rows, found, len(whole)) for name, cells in groups.items() if cells}


def _residuals(
    correct: Mapping[str, np.ndarray], rows: Mapping[str, np.ndarray], clean: np.ndarray
) -> _Residuals:
    import numpy as np

    above = below = 0.0
    for name, outcome in correct.items():
        x = clean[rows[name]]
        x = x - x.mean()
        above += float(x @ np.asarray(outcome, dtype=np.float64))
        below += float(x @ x)
    slope = above / below if below > 0 else 0.0
    means, errors, spread = {}, {}, {}
    total, squares, times = np.zeros_like(clean), np.zeros_like(clean), np.zeros_like(clean)
    for name, outcome in correct.items():
        where = rows[name]
        adjusted = np.asarray(outcome, dtype=np.float64) - slope * (clean[where] - clean.mean())
        means[name] = float(adjusted.mean())
        n = len(adjusted)
        # the mean took one degree of freedom from the errors
        error = (adjusted - means[name]) * math.sqrt(n / (n - 1)) if n > 1 else np.zeros(n)
        errors[name] = error
        spread[name] = float((error**2).mean())
        total[where] += error
        squares[where] += error**2
        times[where] += 1
    pairs = float((times * (times - 1)).sum())
    shared = float((total**2 - squares).sum()) / pairs if pairs else 0.0
    ceiling = float(np.mean(list(spread.values()))) if spread else 0.0
    return _Residuals(slope, means, errors, spread, min(max(shared, 0.0), ceiling))


def _group(
    cells: Sequence[str], rows: Mapping[str, np.ndarray], found: _Residuals, clips: int
) -> Estimate:
    import numpy as np

    weight = np.zeros(clips)
    own = 0.0
    for name in cells:
        n = len(rows[name])
        weight[rows[name]] += 1 / (len(cells) * n)
        own += max(found.spread[name] - found.shared, 0.0) * (1 / n - 1 / clips) / len(cells) ** 2
    variance = found.shared * float(((weight - 1 / clips) ** 2).sum()) + own
    mean = float(np.mean([found.means[name] for name in cells]))
    sd = math.sqrt(max(variance, 0.0))
    return Estimate(
        mean=100 * mean,
        low=100 * max(mean - _Z * sd, 0.0),
        high=100 * min(mean + _Z * sd, 1.0),
        cells=len(cells),
        pairs=sum(len(rows[name]) for name in cells),
        slope=found.slope,
        sd=100 * sd,
    )

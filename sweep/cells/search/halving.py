"""Early stopping by several objectives: asynchronous successive halving by Pareto rank.

At each rung a trial goes on if it is among the best share of those that have reached the rung so
far, ordered by non-dominated rank and, within a rank, by crowding distance (Deb et al. 2002), the
lonelier first; one that none beats always goes on. Without that exception a third of the final
front is lost, since early on the share is smaller than the front. Optuna's pruner, which this
follows otherwise, knows one number; Schmucker et al. (arXiv:2106.12639) compare such orders.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


class FrontHalving:
    """The rungs of a search with several objectives.

    Args:
        first: Step of the first rung.
        reduction: One of so many trials goes on at each rung; steps of rungs grow by it.
    """

    def __init__(self, first: int, reduction: int) -> None:
        self._first, self._reduction = first, reduction
        self._passed: dict[str, int] = defaultdict(int)
        self._rungs: dict[int, dict[str, tuple[float, ...]]] = defaultdict(dict)

    def stops(self, key: str, step: int, values: Sequence[float]) -> bool:
        """Take in what a trial has reached, and say whether it ends here.

        Args:
            key: Of the trial; rungs that it has passed are not asked again.
            step: That it has trained.
            values: One per objective, more is better, finite.
        """
        while step >= self._first * self._reduction ** self._passed[key]:
            rung = self._rungs[self._passed[key]]
            rung[key] = tuple(values)
            self._passed[key] += 1
            names, values_so_far = list(rung), np.array(list(rung.values()))
            kept = max(int(is_best(values_so_far).sum()), len(rung) // self._reduction)
            best = order(values_so_far)[:kept]
            if key not in {names[i] for i in best}:
                return True
        return False


def order(values: np.ndarray) -> list[int]:
    """Rows from best to worst: by non-dominated rank, then the lonelier, then the earlier.

    Args:
        values: float ``(N, M)``, more is better.
    """
    ranked: list[int] = []
    left = np.arange(len(values))
    while len(left):
        is_front = is_best(values[left])
        front = left[is_front]
        ranked += front[np.argsort(-crowding(values[front]), kind="stable")].tolist()
        left = left[~is_front]
    return ranked


def is_best(values: np.ndarray) -> np.ndarray:
    """Bool ``(N,)``: rows that none beats on every objective."""
    other, own = values[None, :, :], values[:, None, :]
    beaten = np.all(other >= own, axis=2) & np.any(other > own, axis=2)
    return np.asarray(~np.any(beaten, axis=1))


def crowding(values: np.ndarray) -> np.ndarray:
    """Crowding distance of the rows of a front; infinite at its ends.

    Args:
        values: float ``(N, M)``.
    """
    count, objectives = values.shape
    found = np.zeros(count)
    for column in range(objectives):
        sorted_ = np.argsort(values[:, column], kind="stable")
        x = values[sorted_, column]
        width = x[-1] - x[0]
        if width > 0:
            found[sorted_[[0, -1]]] = math.inf
            found[sorted_[1:-1]] += (x[2:] - x[:-2]) / width
    return found

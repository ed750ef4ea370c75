"""What a search has proposed: a configuration and its cells, one per seed (`search.seeds`).

All proposals see the same seeds, the first ones of the study, so that they are compared in pairs;
each is named by the key of its first cell. With `search.race` the seeds come one after the other,
and a proposal leaves that is clearly worse than the best whole one (``statistics.racing``).
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from sweep.cells.search import promotion
from sweep.cells.search.quantities import Measured
from sweep.statistics.racing import is_clearly_worse

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from sweep.settings.trial import TrialConfig


class Proposals:
    """Cells of proposals, and what their seeds have brought.

    Args:
        seeds: Of every proposal, in order.
        races: Whether seeds come one after the other and the clearly worse leave.
        waits: Whether the other seeds wait for the first, which early stopping may end.
    """

    def __init__(self, seeds: Sequence[int], *, races: bool, waits: bool) -> None:
        self._seeds = tuple(seeds)
        self._races, self._waits = races, waits
        self._cells: dict[str, tuple[TrialConfig, ...]] = {}
        self._of: dict[str, str] = {}
        self._values: dict[str, dict[int, tuple[Measured, ...]]] = defaultdict(dict)
        self._bounded: dict[str, dict[int, tuple[float, ...]]] = defaultdict(dict)
        self._handed: set[str] = set()

    def add(self, config: TrialConfig) -> None:
        """Take a proposal in, as its first cell."""
        if config.key in self._cells:
            return
        cells = tuple(config.model_copy(update={"seed": seed}) for seed in self._seeds)
        self._cells[config.key] = cells
        self._of |= {cell.key: config.key for cell in cells}

    def name(self, key: str) -> str | None:
        """The proposal that a cell belongs to; None for cells of others."""
        return self._of.get(key)

    def cell(self, key: str) -> TrialConfig:
        """A cell of a proposal."""
        return next(cell for cell in self._cells[self._of[key]] if cell.key == key)

    def handed(self, key: str) -> None:
        """A cell runs, or waits for the result of one that does."""
        self._handed.add(key)

    def ended(
        self, key: str, seed: int, values: Sequence[Measured], bounded: Sequence[float]
    ) -> None:
        """A seed of a proposal has its quantities.

        Args:
            key: Of the cell.
            seed: Of the cell.
            values: One per objective, turned so that more is better.
            bounded: One per constraint.
        """
        name = self._of[key]
        self._values[name][seed], self._bounded[name][seed] = tuple(values), tuple(bounded)

    def next_cell(self, among: Iterable[str], elsewhere: Collection[str]) -> TrialConfig | None:
        """The next cell to run of these proposals; None if each waits, or has them all."""
        for name in among:
            for number, cell in enumerate(self._cells[name]):
                if cell.seed in self._values[name]:
                    continue
                if cell.key not in self._handed and cell.key not in elsewhere:
                    return cell
                if self._races or (self._waits and number == 0):
                    break
        return None

    def is_whole(self, name: str) -> bool:
        """Whether every seed has its quantities."""
        return len(self._values[name]) == len(self._seeds)

    def has_first(self, name: str) -> bool:
        """Whether the first seed has its quantities."""
        return self._seeds[0] in self._values[name]

    def candidate(self, name: str) -> promotion.Candidate:
        """Means of the objectives over the seeds so far; of their bounds likewise.

        Bounds are about clips, which are the same in all seeds: a mean over seeds is no surer.
        """
        rows = list(self._values[name].values())
        means = (
            Measured(*(sum(part) / len(rows) for part in zip(*map(_parts, column), strict=True)))
            for column in zip(*rows, strict=True)
        )
        return promotion.Candidate(name, tuple(means))

    def bounded(self, name: str) -> list[float]:
        """Means of the bounded quantities over the seeds so far."""
        rows = list(self._bounded[name].values())
        return [sum(column) / len(rows) for column in zip(*rows, strict=True)]

    def better(self, name: str, whole: Iterable[promotion.Candidate]) -> str | None:
        """The proposal that this one is clearly worse than, on every objective; None without one.

        Args:
            name: Some of its seeds have ended.
            whole: Feasible proposals of which all seeds have ended.
        """
        if not self._races or self.is_whole(name):
            return None
        mine = self._by_objective(name)
        for best in promotion.front(whole):
            pairs = zip(mine, self._by_objective(best.key), strict=True)
            if all(is_clearly_worse(a, b, len(self._seeds)) for a, b in pairs):
                return best.key
        return None

    def _by_objective(self, name: str) -> list[dict[int, float]]:
        """Seed -> value, once per objective."""
        rows = self._values[name]
        count = len(next(iter(rows.values())))
        return [{seed: row[i].value for seed, row in rows.items()} for i in range(count)]


def _parts(found: Measured) -> tuple[float, float, float]:
    return found.value, found.low, found.high

"""Seeds in blocks: after each block a rule looks at what has been found, and may end the sweep.

What a look says follows from the records alone, so nothing is kept but that it was made: a driver
that dies before it has told the ledger makes the same look again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from sweep.settings.study import StudyConfig
    from sweep.settings.trial import TrialConfig


class Rule(Protocol):
    """Looks at the first seeds of a sweep."""

    def __call__(self, sweep: Path, seeds: int) -> Mapping[str, Any]:
        """What they say.

        Args:
            sweep: Folder of the sweep; every cell of these seeds has ended.
            seeds: How many of the study's seeds, in their order.

        Returns:
            `resolved`: whether no further seed is needed; and whatever else the ledger shall keep.
        """
        ...


class SeedBlocks:
    """How many of the seeds may run by now.

    Args:
        study: With `design.stopping`.
        events: Of the ledger.

    Attributes:
        seeds: So many seeds, in their order, are part of the plan.
        over: Whether no further seed will be.
    """

    def __init__(self, study: StudyConfig, events: Iterable[Mapping[str, Any]]) -> None:
        stopping = study.design.stopping
        assert stopping is not None
        self._order = study.seed_list
        self._looks = stopping.looks
        looked = {e["seeds"]: bool(e["resolved"]) for e in events if e["event"] == "looked"}
        # a study that asks for more seeds than a look needed goes on, at the looks that it declared
        self.seeds = next(n for n in self._looks if n >= study.least_seeds)
        self.over = False
        while self.seeds in looked and not self.over:
            self.looked(looked[self.seeds])

    def looked(self, is_resolved: bool) -> None:
        """Go on after a look at all seeds so far."""
        self.over = is_resolved or self.seeds == self._looks[-1]
        if not self.over:
            self.seeds = next(n for n in self._looks if n > self.seeds)

    def planned(self, cells: Iterable[TrialConfig]) -> list[TrialConfig]:
        """The cells of the seeds that may run."""
        allowed = set(self._order[: self.seeds])
        return [cell for cell in cells if cell.seed in allowed]

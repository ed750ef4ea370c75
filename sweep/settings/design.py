"""Settings of the design: which loss sets become cells."""

from __future__ import annotations

from typing import Literal

from sweep.settings.section import Section, setting

#: With fewer pairs nothing is claimed, so nothing is looked at.
FEWEST_SEEDS = 3


class StoppingSettings(Section):
    """Seeds in blocks, with a look after each: the sweep ends once its comparisons are resolved.

    Looks are at multiples of `look_every` from three seeds on, and at `max_seeds`; all of them
    share one error of 5 %, whichever are made (`sweep.statistics.sequential`).
    `seeds` of the study is how many run at any rate.
    """

    max_seeds: int = setting(12, ge=3, description="so many at most; declared, never raised later")
    look_every: int = setting(2, ge=1, description="seeds between two looks")

    @property
    def looks(self) -> list[int]:
        """Numbers of seeds at which the sweep is looked at, rising; the last is `max_seeds`."""
        first = self.look_every * -(-FEWEST_SEEDS // self.look_every)
        return sorted({*range(first, self.max_seeds, self.look_every), self.max_seeds})


class DesignSettings(Section):
    """Which loss sets become cells."""

    kind: str = setting("loo", description="a row of `sweep/cells/designs/catalogue.py`")
    counts: list[int] | None = setting(None, description="count: sizes k; None = 0..K")
    subsets_per_count: int = setting(3, ge=1, description="count: random subsets per size")
    sets: list[list[str]] = setting(default_factory=list, description="further loss sets, by name")
    resolution: Literal[4, 5] = setting(
        4,
        description="fractional: 4 = losses clear of interactions of two (4 to 16 losses), "
        "5 = those clear of each other, too (5 to 8)",
    )
    fold_over: bool = setting(
        False, description="plackett_burman: every row's opposite as well; clears the losses"
    )
    permutations: int = setting(8, ge=2, description="shapley: pairs of an order and its reverse")
    size: int = setting(3, ge=2, description="diversity: losses per subset")
    subsets: int = setting(20, ge=2, description="diversity: number of subsets")
    measure: str = setting(
        "catalogue_distance",
        description="diversity: what the subsets are spread over: catalogue_distance (mean over "
        "pairs, by family and level), family_entropy, families, level_entropy or span_level",
    )
    stopping: StoppingSettings | None = setting(
        None,
        description="run seeds in blocks and stop when every comparison is resolved; null = all "
        "seeds, one look",
    )
    seed: int = setting(
        0,
        ge=0,
        description="draws the subsets of `count` and `diversity`, the orders of `shapley`, and "
        "which loss gets which column of `fractional` and `plackett_burman`",
    )

"""Races over paired seeds: whether a configuration is clearly worse than the best one so far.

As in F-Race (Birattari et al. 2002) and irace (Lopez-Ibanez et al. 2016) configurations see the
same instances, here seeds, one after the other, and leave when they are clearly worse; as there the
default test is the paired t. Ranks would not do: with fewer than five pairs a signed-rank test
cannot reach 5 % at all.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats as scipy_stats

from sweep.statistics.intervals import NAN, spread

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Chance that a configuration as good as the best one is dropped, over all looks of its race.
LEVEL = 0.05
#: Pairs that a first look needs.
FEWEST = 2


def worse_p(mine: Mapping[int, float], best: Mapping[int, float]) -> float:
    """One-sided p of a paired t test: how well ``mine`` being no worse explains the seeds seen.

    Args:
        mine: Seed -> value, more is better.
        best: The same of the other configuration; seeds of one side alone do not count.

    Returns:
        NaN for fewer than two pairs, and where all differences are equal.
    """
    x = np.array([mine[seed] - best[seed] for seed in mine if seed in best])
    if x.size < FEWEST or not np.isfinite(x).all() or spread(x) == 0:
        return NAN
    t = float(x.mean()) * math.sqrt(x.size) / spread(x)
    return float(scipy_stats.t.cdf(t, x.size - 1))


def is_clearly_worse(
    mine: Mapping[int, float], best: Mapping[int, float], seeds: int, *, level: float = LEVEL
) -> bool:
    """Whether a configuration leaves the race now.

    It is looked at after every seed from the second on, but for the last, and the level is shared
    by these looks.

    Args:
        mine: See ``worse_p``.
        best: The same.
        seeds: Of a whole evaluation.
        level: Over all looks.
    """
    looks = max(1, seeds - FEWEST)
    return worse_p(mine, best) < level / looks

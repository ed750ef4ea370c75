"""Subsets of one size, spread over the range of a measure of their diversity.

For studies that relate diversity to an outcome: random subsets of a size are nearly all diverse, so
that a correlation would rest on a few. The measures here are known before training.
"""

from __future__ import annotations

import itertools
import math
import random
from typing import TYPE_CHECKING

from sweep.cells.designs.subsets import LossSet, label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweep.settings.design import DesignSettings

#: What subsets can be spread over: measures that do not depend on weights.
MEASURES = ("catalogue_distance", "family_entropy", "families", "level_entropy", "span_level")
#: Strata of the distinct values, from the least diverse to the most.
STRATA = 5
#: More subsets than this are not listed to choose from.
MAX_LISTED = 50_000


def diverse(names: LossSet, settings: DesignSettings) -> dict[str, LossSet]:
    """Subsets of one size, stratified over quantiles of the distinct values of a measure.

    Every stratum gives as many subsets as the others, or all it has; the least and the most
    diverse subset are in. Within this, every loss occurs as equally often as possible: the strata
    at the ends force some losses (a set of low diversity is made of kin), so that membership and
    diversity stay confounded to a degree.

    Raises:
        ValueError: for an unknown measure, for a size that the losses do not have, or where all
            subsets are equally diverse.
    """
    size, measure = settings.size, settings.measure
    if measure not in MEASURES:
        raise ValueError(f"design.measure: one of {', '.join(MEASURES)}, given '{measure}'")
    if not 2 <= size < len(names):
        raise ValueError(
            f"design.size: subsets of 2 to {len(names) - 1} of {len(names)} losses, given {size}"
        )
    if math.comb(len(names), size) > MAX_LISTED:
        raise ValueError(
            f"{len(names)} losses have {math.comb(len(names), size):,} subsets of size {size}, the "
            f"limit is {MAX_LISTED:,}; give a smaller design.size"
        )
    value = {subset: score(subset, measure) for subset in itertools.combinations(names, size)}
    distinct = sorted(set(value.values()))
    if len(distinct) < 2:
        raise ValueError(
            f"all subsets of size {size} have the same {measure}; add losses of other families or "
            "levels, or name another design.measure"
        )
    rng = random.Random(settings.seed)
    every = list(value)
    rng.shuffle(every)  # ties are broken by this order
    rank = {v: i * min(STRATA, len(distinct)) // len(distinct) for i, v in enumerate(distinct)}
    strata: dict[int, list[LossSet]] = {}
    for subset in every:
        strata.setdefault(rank[value[subset]], []).append(subset)
    ends = [next(s for s in every if value[s] == v) for v in (distinct[0], distinct[-1])]
    chosen = _choose([strata[i] for i in sorted(strata)], ends, settings.subsets)
    chosen.sort(key=lambda subset: (value[subset], subset))
    return {f"d={value[subset]:.2f}: {label(subset)}": subset for subset in chosen}


def score(subset: LossSet, measure: str) -> float:
    """A measure of :data:`MEASURES` of a set, every loss with weight 1."""
    from losses.diversity import set_measures

    # rounded, so that equal sets in another order do not differ in the last digit
    return round(set_measures(subset, dict.fromkeys(subset, 1.0))[measure], 9)


def _choose(
    strata: Sequence[Sequence[LossSet]], ends: Sequence[LossSet], wanted: int
) -> list[LossSet]:
    """Subsets in turn from every stratum, then exchanged within it while membership gains."""
    chosen: list[list[LossSet]] = [[end for end in ends if end in rows] for rows in strata]
    count = sum(map(len, chosen))
    uses = dict.fromkeys((name for rows in strata for subset in rows for name in subset), 0)

    def put(subset: LossSet, step: int) -> None:
        for name in subset:
            uses[name] += step

    for end in ends:
        put(end, 1)
    while count < min(wanted, sum(map(len, strata))):
        open_strata = [i for i, rows in enumerate(strata) if len(chosen[i]) < len(rows)]
        i = min(open_strata, key=lambda i: len(chosen[i]))
        left = [subset for subset in strata[i] if subset not in chosen[i]]
        best = min(left, key=lambda subset: sum(uses[name] for name in subset))
        chosen[i].append(best)
        put(best, 1)
        count += 1
    improved = True
    while improved:
        improved = False
        for i, rows in enumerate(strata):
            for k, old in enumerate(chosen[i]):
                if old in ends:
                    continue
                put(old, -1)
                left = [subset for subset in rows if subset not in chosen[i]]
                new = min([old, *left], key=lambda subset: sum(uses[name] for name in subset))
                put(new, 1)
                if new != old:
                    chosen[i][k] = new
                    improved = True
    return [subset for rows in chosen for subset in rows]

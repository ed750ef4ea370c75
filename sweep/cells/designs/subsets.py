"""Designs that list subsets of the losses: one out, one in, pairs, every subset, random subsets."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

from losses.catalogue import LOSSES

if TYPE_CHECKING:
    from sweep.settings.design import DesignSettings

#: Losses that are switched on, sorted by name.
LossSet = tuple[str, ...]

#: Enumerations beyond this many cells are refused.
MAX_CELLS = 128


def label(subset: LossSet) -> str:
    """Name of a cell for people: `none`, or the losses joined by `+`."""
    return "+".join(subset) or "none"


def labelled(*groups: list[LossSet]) -> dict[str, LossSet]:
    """Label -> set, in order."""
    return {label(subset): subset for group in groups for subset in group}


def anchors(names: LossSet, settings: DesignSettings) -> dict[str, LossSet]:
    """Nothing beyond `none` and `all`, which every design has."""
    del names, settings
    return {}


def one_out(names: LossSet, settings: DesignSettings) -> dict[str, LossSet]:
    """The full set without each loss."""
    del settings
    if len(names) < 2:
        return {}
    return {f"all - {name}": tuple(n for n in names if n != name) for name in names}


def one_in(names: LossSet, settings: DesignSettings) -> dict[str, LossSet]:
    """Each loss alone."""
    del settings
    return {f"only {name}": (name,) for name in names}


def one_out_one_in(names: LossSet, settings: DesignSettings) -> dict[str, LossSet]:
    """The full set without each loss, and each loss alone."""
    return one_out(names, settings) | one_in(names, settings)


def pairs(names: LossSet, settings: DesignSettings) -> dict[str, LossSet]:
    """Each loss alone and each pair of losses.

    Raises:
        ValueError: for more pairs than a design may have cells.
    """
    del settings
    size = 1 + len(names) + len(names) * (len(names) - 1) // 2
    if size > MAX_CELLS:
        raise ValueError(
            f"{len(names)} losses make {size} cells, the limit is {MAX_CELLS}; use "
            "design.kind=plackett_burman or shapley"
        )
    return labelled(list(itertools.combinations(names, 1)), list(itertools.combinations(names, 2)))


def every_subset(names: LossSet) -> list[LossSet]:
    """All 2**K subsets, by size.

    Raises:
        ValueError: for more subsets than a design may have cells.
    """
    if 2 ** len(names) > MAX_CELLS:
        raise ValueError(
            f"{len(names)} losses make {2 ** len(names)} cells, the limit is {MAX_CELLS}; use "
            "design.kind=loo, fractional, plackett_burman, shapley or count"
        )
    return [s for size in range(len(names) + 1) for s in itertools.combinations(names, size)]


def factorial(names: LossSet, settings: DesignSettings) -> dict[str, LossSet]:
    """Every subset.

    Raises:
        ValueError: for more subsets than a design may have cells.
    """
    del settings
    return labelled(every_subset(names))


def count(names: LossSet, settings: DesignSettings) -> dict[str, LossSet]:
    """Random subsets of each size with balanced membership; sizes 0, 1, K-1 and K exhaustive.

    Losses that are placebos are not counted among the K: each is an arm of its own, joined to the
    sets of the smallest size above 0, at most ``subsets_per_count`` of them.

    Raises:
        ValueError: for a size that K losses do not have.
    """
    placebos = tuple(name for name in names if name in LOSSES and LOSSES[name].placebo)
    names = tuple(name for name in names if name not in placebos)
    total = len(names)
    sizes = list(range(total + 1)) if settings.counts is None else sorted(set(settings.counts))
    for size in sizes:
        if not 0 <= size <= total:
            raise ValueError(f"design.counts: sizes are 0..{total}, given {size}")
    rng = random.Random(settings.seed)
    sets: dict[str, LossSet] = {}
    for size in sizes:
        every = list(itertools.combinations(names, size))
        if size in {0, 1, total - 1, total} or len(every) <= settings.subsets_per_count:
            chosen = every
        else:
            chosen = balanced(every, names, settings.subsets_per_count, rng)
        sets |= {f"k={size}: {label(subset)}": subset for subset in chosen}
    smallest = min((size for size in sizes if size), default=0)
    joined = [s for s in sets.values() if len(s) == smallest][: settings.subsets_per_count]
    arms = [tuple(sorted((*one, placebo))) for placebo in placebos for one in joined]
    return sets | {f"placebo: {label(one)}": one for one in arms}


def balanced(
    every: list[LossSet], names: LossSet, wanted: int, rng: random.Random
) -> list[LossSet]:
    """``wanted`` distinct subsets in which every name occurs as equally often as possible."""
    uses = dict.fromkeys(names, 0)
    left = every[:]
    rng.shuffle(left)
    chosen = []
    for _ in range(wanted):
        best = min(left, key=lambda subset: sorted((uses[n] for n in subset), reverse=True))
        left.remove(best)
        chosen.append(best)
        for name in best:
            uses[name] += 1
    return chosen

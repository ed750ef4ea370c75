"""Orders of adding losses, for Shapley values by sampling.

A Shapley value is what a loss adds on average over all orders of adding the losses. The design
draws M orders, takes each one backwards, too (antithetic: a loss that came late comes early), and
makes a cell of every prefix; prefixes that several orders share are one cell.

Source: Mitchell, Cooper, Frank and Holmes, Sampling Permutations for Shapley Value Estimation
(JMLR 2022), section 3.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from sweep.cells.designs.subsets import LossSet, labelled

if TYPE_CHECKING:
    from sweep.settings.design import DesignSettings


def orders(names: LossSet, settings: DesignSettings) -> list[tuple[LossSet, LossSet]]:
    """``settings.permutations`` pairs of an order and its reverse."""
    rng = random.Random(settings.seed)
    found = []
    for _ in range(settings.permutations):
        order = tuple(rng.sample(names, len(names)))
        found.append((order, order[::-1]))
    return found


def prefixes(order: LossSet) -> list[LossSet]:
    """The loss sets on the way from none to all, as sorted names."""
    return [tuple(sorted(order[:size])) for size in range(len(order) + 1)]


def shapley(names: LossSet, settings: DesignSettings) -> dict[str, LossSet]:
    """Every prefix of every order."""
    return labelled(*(prefixes(order) for pair in orders(names, settings) for order in pair))

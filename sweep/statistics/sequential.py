"""Looks at a sweep while its seeds come: the error that is spent on each, so that all share 5 %.

Adding seeds until an interval excludes 0 finds an effect in everything, sooner or later. Spending
the error over the looks (Lan and DeMets 1983, in its simplest form) holds the level at all of them
together, whatever is tested and however the tests of two looks depend on each other, since the
parts add up (Bonferroni): equal parts where the number of looks was declared, 1 / (k (k + 1)) of
it at the k-th where it was not.
"""

from __future__ import annotations


def price(look: int, planned: int = 0) -> int:
    """By how much a p at a look is multiplied, so that it holds at all looks together.

    Args:
        look: Which look it is, from 1.
        planned: Number of looks that were declared before the first; 0 = none were.

    Raises:
        ValueError: for a look that was not planned.
    """
    if look < 1 or (planned and look > planned):
        raise ValueError(f"look: 1 to {planned or 'any'}, given {look}")
    return planned or look * (look + 1)

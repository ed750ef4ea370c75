"""Losses of a combiner, addressed by name."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from losses.catalogue import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def checked(names: Sequence[str], primary: str) -> tuple[str, ...]:
    """The names in their order.

    Raises:
        ValueError: No name, a name twice, or a primary that is not among them.
    """
    if not names or len(set(names)) < len(names):
        raise ValueError(f"a combiner needs at least one loss and each once, given {list(names)}")
    if primary not in names:
        raise ValueError(f"primary loss {primary!r} is not among the losses {', '.join(names)}")
    return tuple(names)


def weight_list(names: Sequence[str], weights: Mapping[str, float] | None) -> list[float]:
    """One weight per name; 1 where none is given.

    Raises:
        ValueError: A weight for a loss that is not there, or one that is not a finite number.
    """
    weights = weights or {}
    for name, weight in weights.items():
        if name not in names:
            hint = nearest(name, names)
            raise ValueError(f"weight for {name!r}{hint} (losses: {', '.join(names)})")
        if not math.isfinite(weight):
            raise ValueError(f"weight of {name!r} is {weight}, not a finite number")
    return [float(weights.get(name, 1.0)) for name in names]


def rows(names: Sequence[str], present: Sequence[str] | None, count: int) -> list[int]:
    """Positions of the losses at hand: all of them, or those called ``present``.

    Raises:
        ValueError: An unknown name, or another number of losses than names.
    """
    chosen = names if present is None else present
    unknown = [name for name in chosen if name not in names]
    if unknown:
        hint = nearest(unknown[0], names)
        raise ValueError(f"unknown loss {unknown[0]!r}{hint} (losses: {', '.join(names)})")
    if len(chosen) != count:
        raise ValueError(f"{count} losses for the {len(chosen)} names {', '.join(chosen)}")
    return [names.index(name) for name in chosen]

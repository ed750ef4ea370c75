"""Two-level orthogonal arrays: fractional factorials and Plackett-Burman designs.

A row of an array is a cell, a column a loss, +1 means on. Columns are orthogonal (X'X = N I), so
every main effect has the precision of all N cells; what a small array pays for that is aliasing:
effects that its cells cannot tell apart. Losses are dealt to the columns in an order drawn from
``design.seed``.

Sources: Box, Hunter and Hunter, Statistics for Experimenters, 2nd ed., chapter 6 (generators);
Plackett and Burman (1946) (cyclic arrays of 12 and 20 rows).
"""

from __future__ import annotations

import itertools
import math
import random
from typing import TYPE_CHECKING

from sweep.cells.designs.subsets import LossSet, labelled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweep.settings.design import DesignSettings

#: Resolution -> number of losses -> (base columns A, B, ..., generated columns as products).
FRACTIONS: dict[int, dict[int, tuple[int, tuple[str, ...]]]] = {
    4: {
        4: (3, ("ABC",)),
        5: (4, ("ABCD",)),
        6: (4, ("ABC", "BCD")),
        7: (4, ("ABC", "BCD", "ACD")),
        8: (4, ("ABC", "BCD", "ACD", "ABD")),
    },
    5: {
        5: (4, ("ABCD",)),
        6: (5, ("ABCDE",)),
        7: (6, ("ABCDEF",)),
        8: (6, ("ABCD", "ABEF")),
    },
}
# 32 cells: products of an odd number of columns never multiply by threes to the identity, which
# is what resolution IV asks for
_ODD = (*("".join(word) for word in itertools.combinations("ABCDE", 3)), "ABCDE")
FRACTIONS[4] |= {losses: (5, _ODD[: losses - 5]) for losses in range(9, 17)}

#: First row of the cyclic Plackett-Burman arrays; the last row is all -1.
CYCLIC = {12: "++-+++---+-", 20: "++--++++-+-+----++-"}
#: Rows that a Plackett-Burman design can have.
SIZES = (8, 12, 16, 20, 32)

Array = list[tuple[int, ...]]


# ---------------------------------------------------------------------------- arrays of +1 and -1


def fraction(losses: int, resolution: int) -> Array:
    """The fractional factorial of fewest cells with at least this resolution.

    Raises:
        ValueError: if there is none of a sensible size.
    """
    table = FRACTIONS[resolution]
    if losses not in table:
        few = losses < min(table)
        advice = (
            f"factorial ({2**losses} cells)"
            if few
            else "plackett_burman or shapley"
            if resolution == 4 or losses > max(FRACTIONS[4])
            else "fractional with design.resolution=4, plackett_burman or shapley"
        )
        raise ValueError(
            f"resolution {resolution} is offered for {min(table)} to {max(table)} losses, given "
            f"{losses}; use design.kind={advice}"
        )
    base, generators = table[losses]
    rows = []
    for signs in itertools.product((-1, 1), repeat=base):
        made = [math.prod(signs["ABCDEF".index(letter)] for letter in word) for word in generators]
        rows.append((*signs, *made))
    return rows


def screening(losses: int, *, fold_over: bool = False) -> Array:
    """The Plackett-Burman array of fewest rows above the number of losses.

    Rows are 8, 16, 32 (columns of a Hadamard matrix) or 12, 20 (cyclic). With ``fold_over`` every
    row is followed, in a second half, by its opposite.

    Raises:
        ValueError: for fewer than 4 or more than 31 losses.
    """
    if losses < 4:
        raise ValueError(
            f"{losses} losses need no screening: use design.kind=factorial ({2**losses} cells)"
        )
    if losses >= SIZES[-1]:
        raise ValueError(
            f"at most {SIZES[-1] - 1} losses, given {losses}; use design.kind=shapley or count"
        )
    size = next(n for n in SIZES if n > losses)
    if size in CYCLIC:
        first = [1 if sign == "+" else -1 for sign in CYCLIC[size]]
        rows = [tuple(first[-shift:] + first[:-shift]) for shift in range(size - 1)]
        rows.append((-1,) * (size - 1))
    else:
        # Sylvester's matrix: the sign of entry (i, j) is the parity of the bits of i & j. Columns
        # of odd weight come first: up to half of the rows they alone have resolution IV.
        columns = sorted(range(1, size), key=lambda j: (j.bit_count() % 2 == 0, j))
        rows = [tuple(1 if (i & j).bit_count() % 2 else -1 for j in columns) for i in range(size)]
    rows = [row[:losses] for row in rows]
    return rows + [tuple(-x for x in row) for row in rows] if fold_over else rows


# ---------------------------------------------------------------------------- as loss sets


def fractional_array(names: LossSet, settings: DesignSettings) -> list[LossSet]:
    """Loss sets of the fractional factorial, one per row."""
    return _dealt(fraction(len(names), settings.resolution), names, settings.seed)


def screening_array(names: LossSet, settings: DesignSettings) -> list[LossSet]:
    """Loss sets of the Plackett-Burman design, one per row."""
    rows = screening(len(names), fold_over=settings.fold_over)
    return _dealt(rows, names, settings.seed)


def fractional(names: LossSet, settings: DesignSettings) -> dict[str, LossSet]:
    """Cells of the fractional factorial."""
    return labelled(fractional_array(names, settings))


def plackett_burman(names: LossSet, settings: DesignSettings) -> dict[str, LossSet]:
    """Cells of the Plackett-Burman design."""
    return labelled(screening_array(names, settings))


def dealt(names: LossSet, seed: int) -> LossSet:
    """The losses in the order of the columns."""
    order = list(names)
    random.Random(seed).shuffle(order)
    return tuple(order)


def _dealt(rows: Array, names: LossSet, seed: int) -> list[LossSet]:
    order = dealt(names, seed)
    return [tuple(sorted(n for n, x in zip(order, row, strict=True) if x > 0)) for row in rows]


# ---------------------------------------------------------------------------- aliases


def signs(array: Sequence[LossSet], names: LossSet) -> dict[str, list[int]]:
    """Loss -> its column of +1 and -1."""
    return {name: [1 if name in subset else -1 for subset in array] for name in names}


def overlaps(array: Sequence[LossSet], names: LossSet) -> dict[tuple[LossSet, LossSet], float]:
    """Pairs of effects (losses, and interactions of two) that the array does not tell apart.

    An effect is the tuple of its losses. The number is the share of the second effect that the
    estimate of the first carries, -1..1, where an interaction counts as usual: as half of what two
    losses gain beyond the sum of their gains. Pairs that do not overlap are left out.
    """
    columns = signs(array, names)
    effects: dict[LossSet, list[int]] = {(name,): columns[name] for name in names}
    for a, b in itertools.combinations(names, 2):
        effects[a, b] = [x * y for x, y in zip(columns[a], columns[b], strict=True)]
    found = {}
    for one, two in itertools.combinations(effects, 2):
        shared = sum(x * y for x, y in zip(effects[one], effects[two], strict=True))
        if shared:
            found[one, two] = shared / len(array)
    return found


def clear_interactions(array: Sequence[LossSet], names: LossSet) -> list[tuple[str, str]]:
    """Interactions of two losses that overlap with no loss and with no other interaction of two."""
    taken = {effect for pair in overlaps(array, names) for effect in pair}
    return [pair for pair in itertools.combinations(names, 2) if pair not in taken]


def aliases(array: Sequence[LossSet], names: LossSet) -> list[str]:
    """What the array cannot tell apart, in sentences.

    Interactions of three losses and more are left out.
    """
    found = overlaps(array, names)
    mains = {pair: share for pair, share in found.items() if len(pair[0]) == 1}
    lines = []
    whole = [
        name for name in names if any(p[0] == (name,) and abs(s) == 1 for p, s in mains.items())
    ]
    partial = sorted({f"{abs(s):.2g}" for s in mains.values() if abs(s) < 1})
    if not mains:
        lines.append("The effect of every loss is clear of all interactions of two losses.")
    for name in whole:
        parts = [
            f"{'+' if share > 0 else '-'} {_term(pair[1])}"
            for pair, share in mains.items()
            if pair[0] == (name,) and abs(share) == 1
        ]
        lines.append(f"The effect of {name} contains {' '.join(parts).removeprefix('+ ')}.")
    if partial:
        lines.append(
            "The effect of every loss contains a share of the interactions of two losses, each "
            f"with a weight of ±{' or ±'.join(partial)}."
        )
    groups = _equal_interactions(found)
    if groups and not mains:
        shown = "; ".join(" = ".join(map(_term, group)) for group in groups)
        lines.append(f"Interactions of two losses that are not told apart: {shown}.")
    if not found:
        lines.append("Interactions of two losses are clear of each other, too.")
    return lines


def _equal_interactions(found: dict[tuple[LossSet, LossSet], float]) -> list[list[LossSet]]:
    """Interactions of two that share one column, group by group; partial overlaps are left out."""
    groups: list[list[LossSet]] = []
    for (one, two), share in found.items():
        if len(one) != 2 or abs(share) != 1:
            continue
        home = next((group for group in groups if one in group), None)
        if home is None:
            groups.append([one, two])
        elif two not in home:
            home.append(two)
    return groups


def _term(effect: LossSet) -> str:
    return " × ".join(effect)

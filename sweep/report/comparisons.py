"""Which cells a design compares: with and without a loss, alone and in company, sets and none."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from sweep.cells.designs.arrays import clear_interactions
from sweep.cells.designs.catalogue import DESIGNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweep.report.evidence import Cell, Evidence

Kind = Literal["loss", "set", "cell", "combiner", "company", "interaction"]
#: Kinds that are differences of differences, not gains of a loss or a set.
INTERACTIONS = frozenset({"company", "interaction"})


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Treated cells against reference cells; several cells of a side are averaged per seed.

    Attributes:
        name: What it stands for: a loss, `whole set`, or a cell.
        kind: `loss` (with minus without), `set` (all minus none), `cell`, `combiner`, `company`
            (a loss alone minus the same loss in the full set), `interaction` (two losses together
            minus each of them).
        treated: Cells of the first side; a cell that stands twice counts twice.
        reference: Cells of the second side.
        formula: In words, for captions and tables.
        loss: The loss that is judged, if one is.
        pair: The two losses of an interaction.
        combiner: Of the cells; empty for a comparison of combiners.
        scale: Factor of the difference of the two means: 2 where a side is the sum of two cells.
    """

    name: str
    kind: Kind
    treated: tuple[Cell, ...]
    reference: tuple[Cell, ...]
    formula: str
    loss: str = ""
    pair: tuple[str, ...] = ()
    combiner: str = ""
    scale: float = 1.0

    @property
    def untrained(self) -> tuple[str, ...]:
        """Cells and seeds of either side that did not train."""
        cells = dict.fromkeys((*self.treated, *self.reference))
        return tuple(f"{cell.name} (seed {seed})" for cell in cells for seed in cell.untrained)


def comparisons(evidence: Evidence) -> list[Comparison]:
    """The comparisons of the study's design; those without any finished cell are kept, too."""
    # what a search tried is picked by luck; its winners are compared on seeds of their own
    cells = evidence.cells if evidence.claims else ()
    found: list[Comparison] = []
    combiners = list(dict.fromkeys(c.combiner for c in cells if c.losses))
    empty = next((c for c in cells if not c.losses), None)
    for combiner in combiners:
        suffix = f" [{combiner}]" if len(combiners) > 1 else ""
        mine = [c for c in cells if c.losses and c.combiner == combiner]
        if empty is not None:
            mine = [empty, *mine]
        rows = _of_design(evidence, mine, suffix)
        found += [replace(row, combiner=combiner) for row in rows]
    found += _between_combiners(cells, combiners, evidence.losses)
    return found + (_over_all_sets(cells, combiners) if evidence.trend else [])


def _of_design(evidence: Evidence, cells: Sequence[Cell], suffix: str) -> list[Comparison]:
    """Comparisons under one combiner: losses first, then interactions, the whole set, cells."""
    by_set: dict[frozenset[str], Cell] = {}
    for cell in cells:
        by_set.setdefault(frozenset(cell.losses), cell)
    losses = evidence.losses
    empty, full = by_set.get(frozenset()), by_set.get(frozenset(losses))
    # confirmed winners are listed sets
    design = DESIGNS["sets"] if evidence.row.picked else evidence.row
    found: list[Comparison] = []
    if "removal" in design.compares:
        found += _one_loss(by_set, losses, suffix, alone=False)
    if "addition" in design.compares:
        found += _one_loss(by_set, losses, suffix, alone=True)
    array = None if design.array is None else design.array(losses, evidence.design_settings)
    rows = [by_set[frozenset(s)] for s in array or () if frozenset(s) in by_set]
    if "main" in design.compares and array is not None and len(rows) == len(array):
        found += _main_effects(rows, losses, suffix)
    if "interaction" in design.compares and array is None:
        found += _interactions_from_none(by_set, losses, suffix)
    elif "interaction" in design.compares and array is not None and len(rows) == len(array):
        found += _interactions_in_array(rows, clear_interactions(array, losses), suffix)
    if "company" in design.compares:
        found += _companies(by_set, losses, suffix)
    if full is not None and empty is not None and full is not empty:
        found.append(
            Comparison(
                name=f"whole set{suffix}",
                kind="set",
                treated=(full,),
                reference=(empty,),
                formula=f"{full.name} minus {empty.name}",
            )
        )
    if "cell" in design.compares and empty is not None:
        found += [
            Comparison(
                name=cell.name,
                kind="cell",
                treated=(cell,),
                reference=(empty,),
                formula=f"{cell.name} minus {empty.name}",
            )
            for cell in cells
            if cell is not empty and cell is not full
        ]
    return found


def _one_loss(
    by_set: dict[frozenset[str], Cell], losses: tuple[str, ...], suffix: str, *, alone: bool
) -> list[Comparison]:
    """What each loss gains alone, or what the full set loses without it."""
    found = []
    for loss in losses if alone or len(losses) > 1 else ():
        having = frozenset({loss} if alone else losses)
        treated, reference = by_set.get(having), by_set.get(having - {loss})
        if treated is None or reference is None:
            continue
        if alone:
            formula = f"({treated.name}) minus {reference.name}"
        else:
            formula = f"{treated.name} minus ({reference.name})"
        found.append(
            Comparison(
                name=f"{loss} alone{suffix}" if alone else f"{loss}{suffix}",
                kind="loss",
                treated=(treated,),
                reference=(reference,),
                formula=formula,
                loss=loss,
            )
        )
    return found


def _companies(
    by_set: dict[frozenset[str], Cell], losses: tuple[str, ...], suffix: str
) -> list[Comparison]:
    """Gain alone minus gain in the full set: the sign of the interaction with the others."""
    empty, full = by_set.get(frozenset()), by_set.get(frozenset(losses))
    found = []
    for loss in losses:
        alone, without = by_set.get(frozenset({loss})), by_set.get(frozenset(losses) - {loss})
        if empty is None or full is None or alone is None or without is None or len(losses) < 2:
            continue
        found.append(
            Comparison(
                name=f"{loss}: alone - in the set{suffix}",
                kind="company",
                treated=(alone, without),
                reference=(empty, full),
                formula=f"({alone.name} minus {empty.name}) minus ({full.name} minus "
                f"({without.name}))",
                loss=loss,
                scale=2.0,
            )
        )
    return found


def _interactions_from_none(
    by_set: dict[frozenset[str], Cell], losses: tuple[str, ...], suffix: str
) -> list[Comparison]:
    """What each pair gains over none beyond the sum of its two losses."""
    empty = by_set.get(frozenset())
    found = []
    for one, two in itertools.combinations(losses, 2):
        both = by_set.get(frozenset({one, two}))
        first, second = by_set.get(frozenset({one})), by_set.get(frozenset({two}))
        if empty is None or both is None or first is None or second is None:
            continue
        found.append(
            Comparison(
                name=f"{one} × {two}{suffix}",
                kind="interaction",
                treated=(both, empty),
                reference=(first, second),
                formula=f"({both.name} minus {empty.name}) minus ({first.name} minus {empty.name}) "
                f"minus ({second.name} minus {empty.name})",
                pair=(one, two),
                scale=2.0,
            )
        )
    return found


def _interactions_in_array(
    rows: Sequence[Cell], pairs: Sequence[tuple[str, str]], suffix: str
) -> list[Comparison]:
    """The same averaged over the other losses: cells with both or neither minus cells with one."""
    found = []
    for one, two in pairs:
        even = tuple(c for c in rows if (one in c.losses) == (two in c.losses))
        odd = tuple(c for c in rows if (one in c.losses) != (two in c.losses))
        found.append(
            Comparison(
                name=f"{one} × {two}{suffix}",
                kind="interaction",
                treated=even,
                reference=odd,
                formula=f"twice the mean of the {len(even)} cells with both or neither minus twice "
                f"the mean of the {len(odd)} with one of them",
                pair=(one, two),
                scale=2.0,
            )
        )
    return found


def _main_effects(rows: Sequence[Cell], losses: tuple[str, ...], suffix: str) -> list[Comparison]:
    """Mean of an array's cells with each loss minus mean of those without."""
    found = []
    for loss in losses:
        there = tuple(c for c in rows if loss in c.losses)
        absent = tuple(c for c in rows if loss not in c.losses)
        if there and absent:
            found.append(
                Comparison(
                    name=f"{loss}{suffix}",
                    kind="loss",
                    treated=there,
                    reference=absent,
                    formula=(
                        f"mean of the {len(there)} cells with {loss} minus mean of the "
                        f"{len(absent)} without"
                    ),
                    loss=loss,
                )
            )
    return found


def _between_combiners(
    cells: Sequence[Cell], combiners: Sequence[str], losses: tuple[str, ...]
) -> list[Comparison]:
    full = {c.combiner: c for c in cells if c.losses == losses and c.losses}
    there = [name for name in combiners if name in full]
    return [
        Comparison(
            name=f"{first} against {second}",
            kind="combiner",
            treated=(full[first],),
            reference=(full[second],),
            formula=f"{full[first].name} minus {full[second].name}",
        )
        for i, first in enumerate(there)
        for second in there[i + 1 :]
    ]


def _over_all_sets(cells: Sequence[Cell], combiners: Sequence[str]) -> list[Comparison]:
    """Combiners on all the loss sets that both have: the question of a trend is not one set."""
    found = []
    for first, second in itertools.combinations(combiners, 2):
        one, two = common_sets(cells, first, second)
        if len(one) > 1:
            found.append(
                Comparison(
                    name=f"{first} against {second}, all sets",
                    kind="combiner",
                    treated=one,
                    reference=two,
                    formula=f"mean over {len(one)} loss sets [{first}] minus [{second}]",
                )
            )
    return found


def common_sets(
    cells: Sequence[Cell], first: str, second: str
) -> tuple[tuple[Cell, ...], tuple[Cell, ...]]:
    """Cells of two combiners with the same loss sets, in the same order."""
    other = {c.losses: c for c in cells if c.combiner == second and c.losses}
    one = [c for c in cells if c.combiner == first and c.losses in other]
    return tuple(one), tuple(other[c.losses] for c in one)

"""The kinds of designs: one row per value of `design.kind`.

A row names the function that lists the loss sets (beyond `none` and `all`, which are always in),
what the cells estimate, and what the report makes of them: comparisons, and analyses by name. A new
kind is a function (losses, settings) -> {label: loss set} and a row here; the function raises
ValueError where the losses do not fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sweep.cells.designs import arrays, diverse, permutations, subsets
from sweep.statistics.power import FEWEST_SETS

if TYPE_CHECKING:
    from collections.abc import Callable

    from sweep.cells.designs.subsets import LossSet
    from sweep.settings.design import DesignSettings

#: What the report compares, besides `all` with `none` and the combiners on their full sets:
#: `removal`      all minus (all without the loss);
#: `addition`     the loss alone minus none;
#: `company`      addition minus removal: positive where the other losses do part of the work;
#: `main`         mean of the array's cells with the loss minus mean of those without;
#: `interaction`  what two losses gain together minus what each gains alone: over the array where
#:                it has one and tells the pair from all others, else from the empty set;
#: `cell`         every other cell minus none.
Compared = Literal["removal", "addition", "company", "main", "interaction", "cell"]

#: Rows of ``sweep.report.analyses.catalogue`` that any design can ask for.
_ANYWHERE = ("retrieval", "components", "aggregates", "controls")


#: Settings of `design` that are no matter of its kind.
OF_EVERY_KIND = ("kind", "sets", "stopping")


@dataclass(frozen=True, kw_only=True)
class Design:
    """One kind of design.

    Attributes:
        name: Value of `design.kind`.
        sets: (losses, settings) -> label -> loss set.
        estimates: What its cells estimate and what they leave open, in one sentence.
        reads: Settings of `design` that it depends on, besides those of every kind; a study that
            sets another one is refused.
        compares: Comparisons of the report.
        array: (losses, settings) -> the loss sets of a balanced two-level array, over whose halves
            `main` takes its means; None for designs without one. Anchors that are not of the
            array stay out of it. ``arrays.aliases`` says what it cannot tell apart.
        orders: (losses, settings) -> the pairs of orders of adding losses whose prefixes the cells
            are; None for designs that drew none.
        trend: Whether the question is a trend over the loss sets: single sets are then no answer,
            and their crowd is corrected apart from the other comparisons.
        fewest_sets: Loss sets below which a trend is not tested.
        given_losses: Whether a trend is tested given which losses are in a set, which costs one
            degree of freedom per loss; `none` and `all` are no part of it then.
        grows: Of a trend, the key of `design` that asks for more loss sets: its unit is the set.
        picked: Whether cells are picked by their own numbers, so that nothing is compared before
            the winners have run again with fresh seeds.
        analyses: Rows of ``sweep.report.analyses.catalogue`` that the report asks.
    """

    name: str
    sets: Callable[[LossSet, DesignSettings], dict[str, LossSet]]
    estimates: str
    reads: tuple[str, ...] = ()
    compares: tuple[Compared, ...] = ()
    array: Callable[[LossSet, DesignSettings], list[LossSet]] | None = None
    orders: Callable[[LossSet, DesignSettings], list[tuple[LossSet, LossSet]]] | None = None
    trend: bool = False
    fewest_sets: int = 0
    given_losses: bool = False
    grows: str = ""
    picked: bool = False
    analyses: tuple[str, ...] = ("shapley", *_ANYWHERE)

    def aliases(self, names: LossSet, settings: DesignSettings) -> list[str]:
        """What the cells cannot tell apart, in sentences; nothing for designs without an array."""
        return [] if self.array is None else arrays.aliases(self.array(names, settings), names)


_ROWS = (
    Design(
        name="anchors",
        sets=subsets.anchors,
        estimates="What the whole set gains; nothing about single losses.",
    ),
    Design(
        name="loo",
        sets=subsets.one_out,
        estimates="Leave one out: what the full set loses without each loss (is it needed?); "
        "interactions stay open.",
        compares=("removal",),
    ),
    Design(
        name="aoi",
        sets=subsets.one_in,
        estimates="Add one in: what each loss gains alone; interactions stay open.",
        compares=("addition",),
    ),
    Design(
        name="loo+aoi",
        sets=subsets.one_out_one_in,
        estimates="What each loss gains alone and in the full set; the difference shows whether "
        "the others replace it or help it, but not which of them.",
        compares=("removal", "addition", "company"),
    ),
    Design(
        name="pairs",
        sets=subsets.pairs,
        estimates="What each loss gains alone, and how much more or less each pair gains than its "
        "two losses; interactions of three and more stay open.",
        compares=("addition", "interaction"),
    ),
    Design(
        name="factorial",
        sets=subsets.factorial,
        estimates="Every effect and interaction, and exact Shapley values; nothing is aliased.",
        compares=("main", "interaction"),
        array=lambda names, _: subsets.every_subset(names),
    ),
    Design(
        name="fractional",
        sets=arrays.fractional,
        reads=("resolution", "seed"),
        estimates="The effect of each loss, averaged over the others, from a fraction of all "
        "subsets; at design.resolution=5 the interactions of two losses as well.",
        compares=("main", "interaction"),
        array=arrays.fractional_array,
    ),
    Design(
        name="plackett_burman",
        sets=arrays.plackett_burman,
        reads=("fold_over", "seed"),
        estimates="Screening: the effect of each loss, averaged over the others, from the fewest "
        "cells, under the assumption that interactions are small; design.fold_over doubles the "
        "cells and lifts it for interactions of two losses.",
        compares=("main",),
        array=arrays.screening_array,
    ),
    Design(
        name="shapley",
        sets=permutations.shapley,
        reads=("permutations", "seed"),
        estimates="The Shapley value of each loss: what it adds on average over all orders of "
        "adding losses, interactions shared out; from design.permutations pairs of orders.",
        orders=permutations.orders,
    ),
    Design(
        name="count",
        sets=subsets.count,
        reads=("counts", "subsets_per_count", "seed"),
        estimates="How outcomes depend on the number of losses, with every loss equally often in "
        "the sets of a size.",
        compares=("cell",),
        trend=True,
        fewest_sets=FEWEST_SETS,
        grows="subsets_per_count",
        analyses=("dose", "placebo", "shapley", *_ANYWHERE),
    ),
    Design(
        name="diversity",
        sets=diverse.diverse,
        reads=("size", "subsets", "measure", "seed"),
        estimates="How outcomes go with the diversity of the losses, at an equal number of losses; "
        "which losses are in a set goes with its diversity.",
        compares=("cell",),
        trend=True,
        given_losses=True,
        grows="subsets",
        analyses=("diversity", "shapley", *_ANYWHERE),
    ),
    Design(
        name="sets",
        sets=subsets.anchors,
        estimates="What each listed set (design.sets) gains.",
        compares=("cell",),
    ),
    Design(
        name="search",
        sets=subsets.anchors,
        estimates="The best configuration found; no attribution.",
        picked=True,
        analyses=("search", *_ANYWHERE),
    ),
)

DESIGNS: dict[str, Design] = {row.name: row for row in _ROWS}

"""``plan.json``: which cells a sweep consists of. Its format is written and read here alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


#: What a row of a plan holds besides its losses.
_SINGLE = ("key", "label", "seed", "combiner", "design", "stage")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCell:
    """A row of a plan.

    Attributes:
        key: Names the content of the cell, and its folder.
        label: Of its configuration, such as `all [meltr]`; "" in a damaged plan.
        seed: Of the cell; None in a damaged plan.
        losses: Auxiliary losses; those of a plan from the ledger are not known.
        combiner: Its name, likewise.
        design: Kind of the design, likewise.
        stage: Stage of a search that the cell belongs to; None without one.
    """

    key: str
    label: str = ""
    seed: int | None = None
    losses: tuple[str, ...] = ()
    combiner: str = ""
    design: str = ""
    stage: str | None = None

    @property
    def name(self) -> str:
        """For people: `all [meltr] s3`."""
        return f"{self.label} s{self.seed}"

    def to_json(self) -> dict[str, Any]:
        """The row as it is stored."""
        return {
            "key": self.key,
            "label": self.label,
            "losses": list(self.losses),
            "combiner": self.combiner,
            "seed": self.seed,
            "design": self.design,
            **({} if self.stage is None else {"stage": self.stage}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPlan:
    """What a sweep consists of.

    Attributes:
        study: Name of the study.
        scale: Its scale.
        created: When the sweep was first planned, ISO 8601.
        cells: In the order in which they were planned, each once.
        not_planned: Keys of finished cells that are no part of the plan any more.
        data: About the data set: counts, fingerprint, files that are left out.
        is_whole: Whether every row says which cell it is; not stored.
    """

    study: str = ""
    scale: str = ""
    created: str = ""
    cells: tuple[PlannedCell, ...]
    not_planned: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    is_whole: bool = True

    @property
    def keys(self) -> list[str]:
        """Keys of the cells."""
        return [cell.key for cell in self.cells]

    def to_json(self) -> dict[str, Any]:
        """The content of ``plan.json``."""
        return {
            "study": self.study,
            "scale": self.scale,
            "created": self.created,
            "cells": [cell.to_json() for cell in self.cells],
            "not_planned": list(self.not_planned),
            "data": dict(self.data),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> SweepPlan | None:
        """A stored plan, of this or an earlier version; None where it names no cells.

        A file may be damaged or the work of a hand: rows that name no key are passed over.
        """
        rows = content.get("cells")
        if not isinstance(rows, list):
            return None
        cells: dict[str, PlannedCell] = {}
        is_whole = True
        for row in rows:
            if not isinstance(row, dict) or not isinstance(row.get("key"), str):
                is_whole = False
                continue
            kinds = {name: int if name == "seed" else str for name in _SINGLE}
            known = {n: row[n] for n, kind in kinds.items() if isinstance(row.get(n), kind)}
            is_whole &= known.keys() >= {"label", "seed"}
            cell = PlannedCell(losses=_words(row.get("losses")), **known)
            cells.setdefault(cell.key, cell)
        data = content.get("data")
        return cls(
            study=str(content.get("study", "")),
            scale=str(content.get("scale", "")),
            created=str(content.get("created", "")),
            cells=tuple(cells.values()),
            not_planned=_words(content.get("not_planned")),
            data=data if isinstance(data, dict) else {},
            is_whole=is_whole,
        )


def _words(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()

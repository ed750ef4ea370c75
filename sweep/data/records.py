"""Labelled clips and the classes they belong to, as readers give them."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Record:
    """One item of a data set.

    Attributes:
        id: Unique within its split.
        path: The video; None when there is none under the root. It was looked up, not opened.
        label: Class index, -1 = none.
        captions: Sentences on the video.
        group: Identity of the recording: items of one group never stand in two splits.
        meta: What else the annotation says.
    """

    id: str
    path: Path | None
    label: int = -1
    captions: tuple[str, ...] = ()
    group: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LabelMap:
    """Class names by index, and the class that a horizontally flipped clip shows.

    Attributes:
        names: Class names; the position is the label.
        flip_map: Label after a horizontal flip; classes without left or right map to themselves.
    """

    names: tuple[str, ...]
    flip_map: Mapping[int, int]

    @classmethod
    def of(cls, names: Iterable[str]) -> LabelMap:
        """A map with the flips that follow from the words left and right in the names."""
        names = tuple(names)
        index = {name.lower(): label for label, name in enumerate(names)}
        flips = {
            label: index.get(mirrored(name.lower()), label) for label, name in enumerate(names)
        }
        return cls(names, MappingProxyType(flips))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by names (a read-only mapping cannot be pickled)."""
        return (LabelMap.of, (self.names,))


def mirrored(name: str) -> str:
    """The class name with left and right exchanged."""
    swap = {"left": "right", "right": "left"}
    return " ".join(swap.get(word, word) for word in name.split(" "))


def check_unique(records: Sequence[Record], path: Path) -> None:
    """Refuse an annotation that names an item twice: ids are the join key of all reports."""
    seen: set[str] = set()
    for record in records:
        if record.id in seen:
            raise ValueError(f"{path}: {record.id!r} stands there twice")
        seen.add(record.id)

"""Class names by index, of one clip set each, and the way from one numbering to another."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


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


def renumber(own: LabelMap, space: LabelMap) -> Mapping[int, int | None]:
    """Label of a set -> label of the same class name in another map; None where that lacks it."""
    index = {name: label for label, name in enumerate(space.names)}
    return {label: index.get(name) for label, name in enumerate(own.names)}

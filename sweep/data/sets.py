"""Which sets a data set has, and which splits of its reader they are. Reads no annotation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweep.data.catalogue import SHIFTS, find, given_options
from sweep.data.folders import root_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sweep.data.catalogue import DatasetSpec
    from sweep.settings.data import DataSettings


def sets_of(spec: DatasetSpec, found: Mapping[str, Path]) -> dict[str, str]:
    """Name of every set, in order -> split of the reader.

    Args:
        spec: Row of the data set.
        found: What the reader's `splits` has found.

    Raises:
        ValueError: A shift has the name of another set.
    """
    own = {"train": "train", "validation": spec.validation, "clean": spec.clean}
    own = {name: split for name, split in own.items() if split}
    shifts = [name for name in found if name not in own.values()]
    for name in own.keys() | {"validation"}:
        if name in shifts:
            raise ValueError(f"{found[name]}: a shift cannot be called {name!r}, which is a set")
    shifts.sort(key=lambda name: (SHIFTS.index(name) if name in SHIFTS else len(SHIFTS), name))
    return own | {name: name for name in shifts}


def shifts_of(settings: DataSettings) -> tuple[str, ...]:
    """Shifted test sets that there are: those of a folder, or of embedded data.

    Raises:
        ValueError: The folder lacks its annotation files.
    """
    spec = find(settings.dataset)
    if spec.embedded and settings.root is None:
        return spec.shifts
    found = spec.load().splits(root_of(settings), {**spec.options, **given_options(settings)})
    sets = sets_of(spec, found)
    return tuple(name for name in sets if name not in {"train", "validation", "clean"})

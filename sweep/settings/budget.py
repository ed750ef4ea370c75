"""`8gpuh` as an amount and a unit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Unit = Literal["gpuh", "cpuh", "h"]
_WORDS: dict[str, tuple[Unit, float]] = {
    "gpuh": ("gpuh", 1.0),
    "cpuh": ("cpuh", 1.0),
    "h": ("h", 1.0),
    "min": ("h", 1 / 60),
    "d": ("h", 24.0),
}
NAMES: Mapping[str, str] = {
    "gpuh": "GPU-hours",
    "cpuh": "core-hours",
    "h": "hours from start to end",
}


@dataclass(frozen=True)
class Budget:
    """A limit: so many GPU-hours, core-hours or hours of wall time."""

    amount: float
    unit: Unit

    def __str__(self) -> str:
        return f"{self.amount:.3g} {NAMES[self.unit]}"


def parse_budget(text: str) -> Budget:
    """`8gpuh`, `20 cpuh`, `3h`, `45min`, `2d`.

    Raises:
        ValueError: for anything else.
    """
    found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-z]+)\s*", text.lower())
    if found is None or found[2] not in _WORDS or float(found[1]) <= 0:
        raise ValueError(
            f"{text}: a number and a unit are expected: 8gpuh (GPU-hours), 20cpuh (core-hours), "
            "3h, 45min or 2d (from start to end)"
        )
    unit, factor = _WORDS[found[2]]
    return Budget(float(found[1]) * factor, unit)

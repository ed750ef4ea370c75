"""How cells are named, marked and coloured everywhere, and what axes are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweep.report import figures
from sweep.report.page import MINUS, Entry, number
from sweep.statistics.intervals import mean_interval

if TYPE_CHECKING:
    from sweep.report.evidence import Cell, Evidence

#: Mark of cells with a run that did not train.
DAGGER = "†"
#: Mark of conditions that were not the same pixels in all cells.
DOUBLE_DAGGER = "‡"


def unit_of(evidence: Evidence) -> str:
    """Axis of accuracies, or of what stands for them."""
    return f"{evidence.score_name} (%)"


def points_of(evidence: Evidence) -> str:
    """Axis of their differences."""
    return f"difference in {evidence.score_name} (percentage points)"


def marked(cell: Cell) -> str:
    """Name of a cell, with a dagger if one of its runs did not train."""
    return f"{cell.name} {DAGGER}" if cell.untrained else cell.name


def brief(name: str) -> str:
    """A label short enough for the margin of a small panel: `con+fra+inf`."""
    name = short(name)
    if len(name) <= 20 or "+" not in name:
        return name
    head, colon, rest = name.rpartition(": ")
    names, space, tail = rest.partition(" ")
    return f"{head}{colon}{'+'.join(n[:3] for n in names.split('+'))}{space}{tail}"


def short(name: str) -> str:
    """`all - pixel` as `− pixel`, for labels in figures."""
    return f"{MINUS} {name.removeprefix('all - ')}" if name.startswith("all - ") else name


def with_seeds(cell: Cell, patterns: list[str]) -> Entry:
    """Mean ± half width of an outcome of a cell, its seeds below."""
    values = cell.values(patterns)
    interval = mean_interval(values.values())
    if interval.n == 0:
        return Entry(text="–")
    text = number(interval.mean)
    if interval.n > 1:
        text += f" ± {number(interval.half)}"
    seeds = [
        f"{number(value)}{DAGGER if seed in cell.untrained else ''}"
        for seed, value in values.items()
    ]
    return Entry(text=text, details=(" / ".join(seeds) if len(seeds) > 1 else "n=1",))


def brief_note(evidence: Evidence) -> str:
    """Sentence on shortened names and on what is labelled, where needed."""
    names = [marked(cell) for cell in evidence.finished]
    text = ""
    if len(names) > figures.MOST_LABELS:
        text = "Labelled: none, all and the extremes; colour goes with the number of losses. "
    if any(brief(name) != short(name) for name in names):
        text += "Losses are named by their first three letters. "
    return text


def cell_colours(evidence: Evidence) -> dict[str, str]:
    """One colour per cell, the same in all figures."""
    cells = evidence.finished
    return figures.colours([c.name for c in cells], {c.name: len(c.losses) for c in cells})

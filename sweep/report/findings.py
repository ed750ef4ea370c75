"""What was found in a sweep: the input of all sections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweep.report.page import Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from sweep.report.effects import Effect, Resolution
    from sweep.report.evidence import Evidence
    from sweep.report.figures import Drawing


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What was found.

    Attributes:
        evidence: The sweep.
        effects: Comparisons of the design on every outcome.
        columns: The same on every column of a heat map.
        cells: Every cell against `none` on every column.
        resolutions: What the seeds can show, per outcome.
        found: Name of an analysis -> what it found; None where it does not apply.
        draw: Saves a drawing under a name; returns its SVG.
    """

    evidence: Evidence
    effects: Sequence[Effect]
    columns: Sequence[Effect]
    cells: Sequence[Effect]
    resolutions: Sequence[Resolution]
    found: Mapping[str, Any]
    draw: Callable[[str, Drawing], str]

    def figure(self, name: str, drawing: Drawing, *, alt: str, caption: str) -> Figure:
        """Save a drawing and make it a block."""
        return Figure(name=name, alt=alt, caption=caption, svg=self.draw(name, drawing))

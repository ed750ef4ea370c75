"""What was found in a sweep: the input of all sections."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from sweep.report.comparisons import INTERACTIONS
from sweep.report.effects import against_none, column_effects, contrast_of
from sweep.report.page import Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from sweep.report.comparisons import Comparison
    from sweep.report.effects import Effect, Resolution
    from sweep.report.evidence import Evidence
    from sweep.report.figures import Drawing
    from sweep.statistics.claims import Claim


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What was found.

    Attributes:
        evidence: The sweep.
        compared: The comparisons of the design.
        effects: The same on every outcome, graded.
        claims: (What is claimed, outcome) -> the graded claim, those of analyses included.
        resolutions: What the seeds can show, per outcome.
        found: Name of an analysis -> what it found; None where it does not apply.
        draw: Saves a drawing under a name; returns its SVG.
    """

    evidence: Evidence
    compared: Sequence[Comparison]
    effects: Sequence[Effect]
    claims: Mapping[tuple[str, str], Claim]
    resolutions: Sequence[Resolution]
    found: Mapping[str, Any]
    draw: Callable[[str, Drawing], str]

    @cached_property
    def columns(self) -> list[Effect]:
        """Comparisons on every column of a heat map; the answer does not need them."""
        kept = [c for c in self.compared if c.kind not in INTERACTIONS]
        finished = [c for c in kept if contrast_of(c, ["clean"]).n]
        return column_effects(finished, self.evidence.columns())

    @cached_property
    def cells(self) -> list[Effect]:
        """Every cell against `none` on every column."""
        return column_effects(against_none(self.evidence), self.evidence.columns())

    def figure(self, name: str, drawing: Drawing, *, alt: str, caption: str) -> Figure:
        """Save a drawing and make it a block."""
        return Figure(name=name, alt=alt, caption=caption, svg=self.draw(name, drawing))

"""The questions that a report can ask beyond comparisons: one row and one file each, no torch.

A design names the analyses that its cells are made for (``sweep.cells.designs.catalogue``); a study
adds others by `report: [name]`. ``sweep.report.build`` loops over the rows, in the order below.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from losses.catalogue import index_by_name
from sweep.report.page import Text
from sweep.settings.section import known

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import ModuleType

    import pandas as pd

    from sweep.report.evidence import Evidence
    from sweep.report.findings import Findings
    from sweep.report.page import Figure, Section
    from sweep.statistics.claims import Claim

#: Where the sections of an analysis stand on the page:
#: `before`      before the section on the comparisons;
#: `opening`     as its first blocks, under the title of the analysis;
#: `closing`     as its last blocks; the title is the analysis's unless another opens it;
#: `after`       right after it;
#: `accuracies`  after the table of accuracies.
Place = Literal["before", "opening", "closing", "after", "accuracies"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """One question.

    Attributes:
        name: Under which designs and studies ask for it.
        target: Module. Its functions, of which all but the first may be absent:
            `find(evidence)`: the numbers, computed once; None where the question does not apply.
            `claims(found) -> list[Claim]`: what may be claimed (`statistics.claims.Claim`): they
            join the family of the report, and `findings.claims` holds them graded.
            `sentences(findings, found) -> list[Text | str]`: of the answer, with **strong** marks;
            those of tone `holds` lead it.
            `sections(findings, found) -> list[Section]`: text, tables and figures.
            `picture(findings, found, outcome) -> Figure | None`: the one of the answer, in the
            place of the forest plot of the outcome.
            `tables(found) -> {file stem: DataFrame}`: full numbers; empty ones are not written.
        place: Of its sections.
        ends: Whether its sentences end the answer instead of leading it.
    """

    name: str
    target: str
    place: Place = "after"
    ends: bool = False

    def find(self, evidence: Evidence) -> Any:
        """What it finds in a sweep; None where it does not apply.

        Raises:
            TypeError: if the module has no `find`, or nothing to say what was found.
        """
        module = self.module()
        if not hasattr(module, "find") or not any(hasattr(module, name) for name in _SAYING):
            raise TypeError(
                f"analysis '{self.name}': {self.target} needs a function `find` and one of "
                f"{', '.join(f'`{name}`' for name in _SAYING)}"
            )
        return module.find(evidence)

    def claims(self, found: Any) -> list[Claim]:
        """What it wants to claim, to be graded with all else."""
        return list(self._say("claims", found) or ())

    def sentences(self, findings: Findings) -> list[Text]:
        """Its part of the answer."""
        found = findings.found.get(self.name)
        say = getattr(self.module(), "sentences", None)
        rows = [] if say is None or found is None else say(findings, found)
        return [Text(text=row) if isinstance(row, str) else row for row in rows]

    def sections(self, findings: Findings) -> list[Section]:
        """Its part of the page."""
        found = findings.found.get(self.name)
        say = getattr(self.module(), "sections", None)
        return [] if say is None or found is None else list(say(findings, found))

    def picture(self, findings: Findings, outcome: str) -> Figure | None:
        """The picture of the answer; None leaves it to others."""
        found = findings.found.get(self.name)
        draw = getattr(self.module(), "picture", None)
        return None if draw is None or found is None else draw(findings, found, outcome)

    def tables(self, found: Any) -> Mapping[str, pd.DataFrame]:
        """Its files, by stem."""
        return self._say("tables", found) or {}

    def _say(self, how: str, found: Any) -> Any:
        say = getattr(self.module(), how, None)
        return None if say is None or found is None else say(found)

    def module(self) -> ModuleType:
        """The file; imported here."""
        return importlib.import_module(self.target)


_SAYING = ("sentences", "sections", "tables")
_HERE = "sweep.report.analyses"

#: In the order in which they speak.
_ROWS = (
    Analysis(name="search", target=f"{_HERE}.search"),
    Analysis(name="dose", target=f"{_HERE}.dose", place="opening"),
    Analysis(name="placebo", target=f"{_HERE}.placebo", place="opening"),
    Analysis(name="diversity", target=f"{_HERE}.diversity", place="before"),
    Analysis(name="shapley", target=f"{_HERE}.shapley", place="closing"),
    Analysis(name="retrieval", target=f"{_HERE}.retrieval", place="accuracies"),
    Analysis(name="components", target=f"{_HERE}.components"),
    Analysis(name="aggregates", target=f"{_HERE}.aggregates", place="accuracies"),
    Analysis(name="controls", target=f"{_HERE}.controls", ends=True),
)

ANALYSES: Mapping[str, Analysis] = index_by_name(_ROWS)


def check_names(names: Iterable[str]) -> None:
    """Refuse what is no analysis, before anything is run.

    Args:
        names: Key `report` of a study.

    Raises:
        ConfigError: with the nearest name.
    """
    for name in names:
        known(name, ANALYSES, "report", "analysis")


def asked(evidence: Evidence) -> list[Analysis]:
    """The analyses of a sweep: of its design, and those that its study adds.

    Raises:
        ConfigError: for a name that is no analysis.
    """
    added = [str(name) for name in evidence.study.get("report") or ()]
    check_names(added)
    wanted = {*evidence.row.analyses, *added}
    return [row for row in ANALYSES.values() if row.name in wanted]

"""The budget of a sweep: what its cells have held, and whether one more may begin."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from sweep.engine.contract import Listener
from sweep.engine.demand import Demand, demand
from sweep.engine.duration import duration
from sweep.engine.meter import Meter, moment
from sweep.planning.cost import kind_of
from sweep.settings.budget import NAMES, parse_budget

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sweep.engine.contract import Row
    from sweep.records.record import TrialRecord
    from sweep.settings.resources import ResourceSettings
    from sweep.settings.trial import TrialConfig


class Allowance(Listener):
    """Reads the meter whenever a cell begins or ends.

    Args:
        resources: Of the study; without `budget` everything is allowed.
        cells: Of the plan, for the times that the ledger tells.
        events: Of the ledger, in order.
    """

    def __init__(
        self,
        resources: ResourceSettings,
        cells: Mapping[str, TrialConfig],
        events: Iterable[Mapping[str, Any]],
    ) -> None:
        self._resources = resources
        self.budget = None if resources.budget is None else parse_budget(resources.budget)
        self.meter = Meter(cores=resources.cpus_per_trial, gpus=resources.gpus)
        self.meter.read(events, {key: time_kind(cell) for key, cell in cells.items()})
        self._said = ""

    def opened(self, since: str, *, seen: str | None) -> None:
        """A driver is at work from now on; one that was killed was so until it was seen."""
        self.meter.opened(moment(since), seen=None if seen is None else moment(seen))

    def fits(self, cell: TrialConfig) -> bool:
        """Whether the budget has room for a cell now."""
        return self.budget is None or self.meter.fits(
            self.budget, time_kind(cell), **self.demand(cell).held(), at=time.time()
        )

    @property
    def why(self) -> str:
        """Why no further cell begins; empty while one still may."""
        return self._said

    def exhausted(self, cell: TrialConfig) -> dict[str, Any] | None:
        """A cell does not fit: the event to store if that is certain, the first time it is."""
        if self.budget is None or self._said or self.meter.held:
            return None  # cells at work may end sooner than thought
        spent = self.meter.spent(self.budget.unit, time.time())
        self._said = (
            f"over budget: {spent:.3g} of {self.budget} are spent, and one more cell takes "
            f"about {duration(self.meter.expected(time_kind(cell)))}"
        )
        return {
            "event": "over_budget", "budget": self._resources.budget, "spent": spent,
            "limit": self.budget.amount, "unit": NAMES[self.budget.unit],
        }  # fmt: skip

    def demand(self, cell: TrialConfig) -> Demand:
        """What the study says that a cell asks for."""
        return demand(self._resources, cell)

    def handed(self, cell: TrialConfig) -> None:
        """A cell waits for a worker."""
        self.meter.handed(cell.key, time_kind(cell), **self.demand(cell).held())

    def began(self, cell: TrialConfig, attempt: int, asked: Demand) -> None:  # noqa: ARG002
        """A worker begins a cell: from now on it costs."""
        self.meter.began(cell.key, time.time(), **asked.held(), kind=time_kind(cell))

    def lost(self, cell: TrialConfig, kind: str, message: str) -> None:  # noqa: ARG002
        """An attempt has cost what it has; the cell waits for the next one."""
        self.meter.ended(cell.key, time.time())
        self.handed(cell)

    def ended(self, record: TrialRecord, history: Sequence[Row]) -> None:  # noqa: ARG002
        """A cell holds nothing any more; a finished one tells how long others take."""
        self.meter.ended(record.key, time.time(), is_whole=record.status == "done")

    def stopped(self, cell: TrialConfig, history: Sequence[Row], last: Row) -> None:  # noqa: ARG002
        """A cell holds nothing any more."""
        self.meter.ended(cell.key, time.time())


def time_kind(cell: TrialConfig) -> tuple[str, str]:
    """What the time of a cell depends on within a sweep, the most important part first."""
    return cell.evaluate.fidelity, kind_of(cell)

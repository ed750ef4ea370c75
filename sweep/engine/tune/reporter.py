"""What a worker sends to the driver: rows, signs of life, and its record, packed."""

from __future__ import annotations

import base64
import json
import logging
import time
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict

from sweep.records.files import validation_of
from sweep.records.outcomes import Outcomes
from sweep.records.record import TrialRecord, TrialResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sweep.engine.tune.watch import Whereabouts

log = logging.getLogger(__name__)

#: A worker collects history rows for this long before it reports them.
REPORT_EVERY_S = 1.0
#: A record above this would fill the object store of a node and the memory of the driver; that of
#: a grid of 90 conditions on 20,000 clips is below a tenth of it.
MAX_PACKED_BYTES = 64 * 1024**2


class Report(TypedDict, total=False):
    """What a worker says. Tune wants it flat, and adds to it.

    Attributes:
        step: Of training.
        rows: Of the history, since the last report.
        at: What the trial is at, for people.
        where: In the first report: node, host and process of the worker, see ``watch.whereabouts``.
        packed: In the last report: the packed result.
        out_of_memory: Likewise, of a trial for which memory did not suffice: it may run again.
    """

    step: int
    rows: list[dict[str, Any]]
    at: str
    where: Whereabouts
    packed: str
    out_of_memory: str


class Reporter:
    """Collects history rows, so that a fast trial does not flood the driver.

    Args:
        report: Sends a report.
        beat_every_s: A sign of life goes out so often at most.
    """

    def __init__(self, report: Callable[[Report], None], *, beat_every_s: float) -> None:
        self.report = report
        self.beat_every_s = beat_every_s
        self.rows: list[dict[str, Any]] = []
        self.step = 0
        self.at = ""
        self.last = time.monotonic()

    def __call__(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        self.step = int(row["step"])
        # a validation goes out at once: early stopping decides on it
        if validation_of(row) or time.monotonic() - self.last >= REPORT_EVERY_S:
            self._send()

    def beat(self, what: str) -> None:
        """A sign of life without a row; sent now and then."""
        self.at = what or self.at
        if time.monotonic() - self.last >= self.beat_every_s:
            self._send()

    def take(self) -> list[dict[str, Any]]:
        """The rows collected so far, once."""
        rows, self.rows = self.rows, []
        return rows

    def _send(self) -> None:
        self.last = time.monotonic()
        self.report({"step": self.step, "rows": self.take(), "at": self.at})


def pack(result: TrialResult) -> str:
    """Everything that a cell leaves, as one string: Tune looks into nothing and counts nothing."""
    outcomes = result.outcomes
    content = {
        "record": result.record.to_json(),
        "history": result.history,
        "outcomes": None if outcomes is None else outcomes.pack(),
    }
    packed = base64.b64encode(zlib.compress(json.dumps(content).encode(), 6)).decode()
    if len(packed) > MAX_PACKED_BYTES and outcomes is not None:
        record, size = result.record, len(packed) / 2**20
        log.warning("the outcomes of cell %s (%.0f MiB) are too large to travel", record.key, size)
        note = f"left out: {size:.0f} MiB travel badly; thin the tests with evaluate.fidelity"
        slim = replace(record, run={**record.run, "outcomes": note})
        return pack(TrialResult(record=slim, history=result.history, outcomes=None))
    return packed


def unpack(text: str) -> TrialResult:
    """Inverse of ``pack``."""
    content: Mapping[str, Any] = json.loads(zlib.decompress(base64.b64decode(text)))
    outcomes = content["outcomes"]
    return TrialResult(
        record=TrialRecord.from_json(content["record"]),
        history=list(content["history"]),
        outcomes=None if outcomes is None else Outcomes.unpack(outcomes),
    )

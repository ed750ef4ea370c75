"""What runs in a worker process: one cell, its reports, and its record as the last of them."""

from __future__ import annotations

import base64
import json
import logging
import os
import tempfile
import time
import traceback
import zlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.engine.demand import Demand
from sweep.engine.trial_function import trial_function
from sweep.engine.tune.ranked import RankLostError, run_ranked
from sweep.engine.tune.watch import whereabouts
from sweep.records.files import validation_of
from sweep.records.ledger import failed_record
from sweep.records.outcomes import Outcomes
from sweep.records.record import TrialRecord
from sweep.runtime import heartbeat
from sweep.settings.trial import TrialConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sweep.engine.trial_function import TrialFunction

log = logging.getLogger(__name__)

#: A worker collects history rows for this long before it reports them.
REPORT_EVERY_S = 1.0
#: A record above this would fill the object store of a node and the memory of the driver; that of
#: a grid of 90 conditions on 20,000 clips is below a tenth of it.
MAX_PACKED_BYTES = 64 * 1024**2


class TrialOutOfMemoryError(RuntimeError):
    """Ends the worker process, with whatever holds its memory."""


def trial_in_worker(config: dict[str, Any], *, function: TrialFunction | None, marker: str) -> None:
    """Run one cell in a worker and report its rows and, last, its record.

    Raises:
        TrialOutOfMemoryError: The memory of the node or GPU did not suffice; reported before.
    """
    from ray import tune

    cell = TrialConfig.model_validate_json(config["cell"])
    if config.get("given_up"):  # the driver has stored its failure; Tune has to see an end
        tune.report({"step": 0, "rows": []})
        return
    tune.report({"step": 0, "rows": [], "where": whereabouts()})
    reporter = Reporter(tune.report, beat_every_s=config["beat_every_s"])
    out_of_memory = ""
    try:
        demand = Demand(**config["demand"])
        scratch = scratch_folder(Path(config["sweep"]), key=cell.key, marker=marker)
        if demand.ranks > 1:
            beat_every_s = config["beat_every_s"]
            ranked = run_ranked(
                cell, demand, function=function, scratch=scratch, beat_every_s=beat_every_s
            )
            if ranked is None:  # rank 0 has reported
                return
            packed = ranked
        else:
            os.environ.setdefault("OMP_NUM_THREADS", str(max(1, int(demand.cpus))))
            run_trial = trial_function(function, cpus=demand.cpus)
            with heartbeat.heard_by(reporter.beat):
                result = run_trial(cell, scratch=scratch, on_metrics=reporter)
            packed = pack(result.record, result.history, result.outcomes)
        error = unpack(packed)[0].error or {}
        if error.get("type") == "OutOfMemory":
            out_of_memory = str(error["message"])
    except RankLostError:
        raise  # of the machine: Tune starts the trial again
    except Exception as mistake:  # noqa: BLE001 - of the program, not of the cell; told like one
        record = failed_record(
            cell,
            kind=type(mistake).__name__,
            message=str(mistake),
            traceback="".join(traceback.format_exception(mistake)),
        )
        packed = pack(record, [], None)
    name = "out_of_memory" if out_of_memory else "packed"
    tune.report({"step": cell.train.steps, "rows": reporter.take(), name: packed})
    if out_of_memory:
        raise TrialOutOfMemoryError(out_of_memory)


class Reporter:
    """Collects history rows, so that a fast trial does not flood the driver."""

    def __init__(self, report: Any, *, beat_every_s: float) -> None:
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


def scratch_folder(sweep: Path, *, key: str, marker: str) -> Path:
    """Where a cell keeps checkpoints: the sweep's folder, or one on a node that does not see it."""
    try:
        shared = (sweep / ".id").read_text().strip() == marker
    except OSError:
        shared = False
    if shared:
        return sweep / "cells" / key
    folder = Path(tempfile.gettempdir()) / f"auxsweep-{os.getuid()}" / marker / key
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def pack(record: TrialRecord, history: list[dict[str, Any]], outcomes: Outcomes | None) -> str:
    """Everything that a cell leaves, as one string: Tune looks into nothing and counts nothing."""
    content = {
        "record": record.to_json(),
        "history": history,
        "outcomes": None if outcomes is None else outcomes.pack(),
    }
    packed = base64.b64encode(zlib.compress(json.dumps(content).encode(), 6)).decode()
    if len(packed) > MAX_PACKED_BYTES and outcomes is not None:
        size = len(packed) / 2**20
        log.warning("the outcomes of cell %s (%.0f MiB) are too large to travel", record.key, size)
        note = f"left out: {size:.0f} MiB travel badly; thin the tests with evaluate.fidelity"
        slim = replace(record, run={**record.run, "outcomes": note})
        return pack(slim, history, None)
    return packed


def unpack(text: str) -> tuple[TrialRecord, list[dict[str, Any]], Outcomes | None]:
    """Inverse of ``pack``."""
    content: Mapping[str, Any] = json.loads(zlib.decompress(base64.b64decode(text)))
    outcomes = content["outcomes"]
    return (
        TrialRecord.from_json(content["record"]),
        list(content["history"]),
        None if outcomes is None else Outcomes.unpack(outcomes),
    )

"""What runs in a worker process: one cell, its reports, and its record as the last of them."""

from __future__ import annotations

import os
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from sweep.engine.demand import Demand
from sweep.engine.trial_function import trial_function
from sweep.engine.tune.failures import RankLostError, TrialOutOfMemoryError
from sweep.engine.tune.ranked import run_ranked
from sweep.engine.tune.reporter import Report, Reporter, pack, unpack
from sweep.engine.tune.watch import whereabouts
from sweep.records.ledger import failed_record
from sweep.records.record import TrialResult
from sweep.runtime import heartbeat
from sweep.settings.trial import TrialConfig

if TYPE_CHECKING:
    from sweep.engine.trial_function import TrialFunction
    from sweep.engine.tune.decisions import TrialSettings


def trial_in_worker(config: TrialSettings, *, function: TrialFunction | None, marker: str) -> None:
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
    try:
        packed = _packed_result(cell, config, function, marker=marker, reporter=reporter)
    except RankLostError:
        raise  # of the machine: Tune starts the trial again
    except Exception as mistake:  # noqa: BLE001 - of the program, not of the cell; told like one
        record = failed_record(
            cell,
            kind=type(mistake).__name__,
            message=str(mistake),
            traceback="".join(traceback.format_exception(mistake)),
        )
        packed = pack(TrialResult(record=record, history=[], outcomes=None))
    if packed is None:  # rank 0 has reported
        return
    last: Report = {"step": cell.train.steps, "rows": reporter.take()}
    error = unpack(packed).record.error or {}
    if error.get("type") == "OutOfMemory":
        tune.report({**last, "out_of_memory": packed})
        raise TrialOutOfMemoryError(str(error["message"]))
    tune.report({**last, "packed": packed})


def _packed_result(
    cell: TrialConfig,
    config: TrialSettings,
    function: TrialFunction | None,
    *,
    marker: str,
    reporter: Reporter,
) -> str | None:
    """Run the cell here, or in several processes; None if one of those has reported its record."""
    demand = Demand(**config["demand"])
    scratch = scratch_folder(Path(config["sweep"]), key=cell.key, marker=marker)
    if demand.ranks > 1:
        beat_every_s = config["beat_every_s"]
        return run_ranked(
            cell, demand, function=function, scratch=scratch, beat_every_s=beat_every_s
        )
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, int(demand.cpus))))
    run_trial = trial_function(function, cpus=demand.cpus)
    with heartbeat.heard_by(reporter.beat):
        return pack(run_trial(cell, scratch=scratch, on_metrics=reporter))


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

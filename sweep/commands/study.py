"""`study`: run a built-in study or a YAML file of your own, or continue it where it is."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.commands.plan import RefusedError, Wishes, decide, has_begun
from sweep.commands.reporting import reported, rule
from sweep.engine.folder import folder
from sweep.engine.run import run_study
from sweep.engine.summary import ExitCode, Summary, leave
from sweep.records.files import validation_of
from sweep.records.reuse import sweeps, with_reuse
from sweep.report.analyses.catalogue import check_names
from sweep.runtime.program import program
from sweep.studies.checks import check_idle
from sweep.studies.load import load_study, validate_study
from sweep.tracking.server import resolve_mode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweep.settings.study import StudyConfig

#: `--debug`: enough to pass through every phase, little enough to step through.
DEBUG_STEPS = 6
DEBUG_CONDITIONS = 2


def run(
    source: str,
    *,
    scale: str | None = None,
    overrides: Sequence[str] = (),
    out: Path | None = None,
    engine: str = "ray",
    debug: bool = False,
    extend: bool = False,
    wishes: Wishes | None = None,
) -> int:
    """Run a study; returns the exit code."""
    wishes = wishes or Wishes()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    study = with_reuse(load_study(source, scale=scale, overrides=overrides), wishes.reuse)
    check_idle(study)
    sweeps(study.reuse)  # refuses a folder that is none, before any work
    check_names(study.report)
    if debug:
        return run_debug(study)
    resolve_mode(study.track.wandb)  # refuses what the environment says wrongly, before any work
    expected_s = None
    if wishes.budget is not None or wishes.effect is not None:
        try:
            study, expected_s = _decided(study, wishes)
        except RefusedError as refused:
            print(f"auxsweep: {refused}", file=sys.stderr)
            return ExitCode.OVER_BUDGET
    print(f"{study.title}  ({study.scale})  ->  {folder(study, out)}", file=sys.stderr)
    summary = run_study(
        study, out=out, engine=engine, extend=extend, expected_s=expected_s, rule=rule
    )
    return finish(summary, *(["--local"] if engine == "local" else []))


def _decided(study: StudyConfig, wishes: Wishes) -> tuple[StudyConfig, float | None]:
    """The study with its budget, at the fidelity that this allows, and seconds per cell.

    Measured here if nothing else tells.

    Raises:
        RefusedError: if no fidelity fits, or the named effect would hardly be found.
    """
    chooses = wishes.budget is not None and not has_begun(folder(study, wishes.out))
    if chooses and decide(study, replace(wishes, budget=None))[1].time is None:
        wishes = replace(wishes, dry_step=True)
    study, plan, said = decide(study, wishes)
    for text in said:
        print(text, file=sys.stderr)
    time = plan.time
    return study, None if time is None else time.cell_s * time.stretch


def finish(summary: Summary, *flags: str) -> int:
    """Write the report and print how a sweep ended, the status line last; the exit code.

    Args:
        summary: Of the run.
        flags: Of the command that ran it, for those that are proposed.
    """
    return show(reported(summary), *flags)


def show(summary: Summary, *flags: str) -> int:
    """Print how a sweep ended; arguments as of ``finish``."""
    for sentence in (*summary.warnings, *summary.answer):
        print(f"- {sentence}")
    if summary.failures:
        print(f"{len(summary.failures)} cells failed:")
        for name, reason in summary.failures.items():
            print(f"  {name}: {reason}")
        print(f"  tracebacks: {summary.sweep}/cells/<key>/failure.json; tried again by")
        print(f"  {program('resume', summary.sweep, *flags)}")
    if summary.stopped:
        print(f"{summary.stopped} trials were stopped early")
    if summary.message:
        print(summary.message)
    if summary.code == ExitCode.OVER_BUDGET:
        flags = (*flags, "--budget", "...")
    if summary.is_cut_short or summary.code == ExitCode.OVER_BUDGET:
        print(f"nothing is lost; continue with: {program('resume', summary.sweep, *flags)}")
    if summary.report is not None:
        print(f"report: {summary.report}")
    print(summary.status_line, flush=True)
    return leave(summary)


def run_debug(study: StudyConfig) -> int:
    """One cell in this process: no Ray, no W&B, a few steps; exceptions are not caught."""
    from sweep.cells.resolve import cells
    from sweep.data.prepare import prepare
    from sweep.runtime.device import limit_threads

    os.environ["AUXSWEEP_TRACEBACK"] = "1"  # a mistake of the code is to be seen where it happens
    study = shortened(study)
    prepared = prepare(study.data)
    cell = max(cells(study, prepared.fingerprint), key=lambda config: len(config.losses))
    print(
        f"debug: cell '{cell.label}', seed {cell.seed}, {cell.train.steps} steps", file=sys.stderr
    )
    limit_threads(study.resources.cpus_per_trial)
    from sweep.trial import run_trial

    def show_row(row: dict[str, Any]) -> None:
        shown = ", ".join(
            f"{name} {value:.4g}" for name, value in row.get("losses", {}).items()
        ) or ", ".join(f"{name} {value:.1f}" for name, value in validation_of(row).items())
        print(f"  step {row['step']}: {shown}", file=sys.stderr)

    with tempfile.TemporaryDirectory(prefix="auxsweep-debug-") as scratch:
        result = run_trial(cell, scratch=Path(scratch), on_metrics=show_row, reraise=True)
    for score in result.record.scores:
        print(f"  {score.condition:24s} {score.accuracy:6.2f} %  ({score.clips} clips)")
    print("SWEEP_STATUS=debug done=1 failed=0 reused=0", flush=True)
    return ExitCode.DONE


def shortened(study: StudyConfig) -> StudyConfig:
    """The same study with a few steps, clips and conditions."""
    content = study.model_dump(mode="json")
    content["train"] |= {"steps": DEBUG_STEPS, "log_every": 1, "warmup": 0.0}
    content["train"]["batch"] = min(8, study.train.batch)
    content["data"] |= {"train_per_class": 6, "val_per_class": 3}
    labelled = study.data.labelled_per_class
    content["data"]["labelled_per_class"] = None if labelled is None else min(3, labelled)
    conditions = study.evaluate.conditions
    if conditions is None:
        conditions = {"gaussian_noise": [3], "jumbling": [3]}
    content["evaluate"]["conditions"] = {
        name: severities[-1:] for name, severities in list(conditions.items())[:DEBUG_CONDITIONS]
    }
    content["evaluate"] |= {"profile": None, "temporal_checks": False}
    content["track"]["wandb"] = "disabled"
    # only what is evaluated can be an outcome
    content["outcomes"], content["headline"] = {"clean": ["clean"]}, ["clean"]
    content |= {"primary_outcome": None, "margins": {}}
    content["disclosures"] = study.disclosed
    content["search"] |= {"objective": "clean", "constraints": {}}
    return validate_study(content, where="--debug")

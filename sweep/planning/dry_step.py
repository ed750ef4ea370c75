"""A dry step: a few real training steps and test batches of every kind of cell, timed.

It runs in processes of its own, as many at a time as trials will run on this machine, because
trials that share cores slow each other down. The clips are those of a small embedded data set in
the geometry of the study: time and memory depend on shapes, not on what the frames show.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from sweep.cells.resolve import resolve
from sweep.planning.cost import Rates, kind_of
from sweep.settings.losses import CombinerSettings
from sweep.settings.section import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sweep.settings.study import StudyConfig
    from sweep.settings.trial import TrialConfig

#: Kinds of cells up to which each is measured itself.
MAX_KINDS = 16
#: Processes that measure at a time; more share the memory bandwidth no differently.
MAX_PROCESSES = 4
TIMEOUT_S = 900.0


def measure_rates(study: StudyConfig, trials: Sequence[TrialConfig], *, workers: int) -> Rates:
    """Rates of a study on this machine.

    Args:
        study: The study.
        trials: All planned cells.
        workers: Trials that will run at a time here.

    Raises:
        ConfigError: if a step cannot be made here; says why.
    """
    chosen = representatives(study, trials)
    request = json.dumps(
        {
            "trials": [trial.model_dump(mode="json") for trial in chosen],
            "threads": max(1, int(study.resources.cpus_per_trial)),
            "gpu": study.resources.gpus > 0,
        }
    )
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(max(1, int(study.resources.cpus_per_trial))),
    }
    count = max(1, min(workers, MAX_PROCESSES))
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "sweep.planning.dry_step_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for _ in range(count)
    ]
    answers = []
    try:
        for process in processes:  # all begin before the first is waited for
            assert process.stdin is not None
            process.stdin.write(request)
            process.stdin.close()
            process.stdin = None
        for process in processes:
            out, err = process.communicate(timeout=TIMEOUT_S)
            if process.returncode:
                last = err.strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
                raise ConfigError(f"--dry-step: a step failed on this machine: {last[0]}")
            answers.append(json.loads(out.strip().splitlines()[-1]))
    except subprocess.TimeoutExpired:
        raise ConfigError(
            f"--dry-step: not through after {TIMEOUT_S:.0f} s; plan without it, or with a smaller "
            "model or batch"
        ) from None
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
    return combine(answers, processes=count)


def representatives(study: StudyConfig, trials: Sequence[TrialConfig]) -> list[TrialConfig]:
    """Cells to measure: one of each kind, or the parts that all kinds can be put together from."""
    kinds: dict[str, TrialConfig] = {}
    for trial in trials:
        kinds.setdefault(kind_of(trial), trial)
    if len(kinds) <= MAX_KINDS:
        return list(kinds.values())
    static = CombinerSettings()
    sets = [{}, *({name: study.losses[name]} for name in sorted(study.losses)), dict(study.losses)]
    found = [resolve(study, losses, static, label="", seed=trials[0].seed) for losses in sets]
    found += [
        resolve(
            study,
            dict(study.losses),
            CombinerSettings(name=name, knobs=dict(knobs or {})),
            label="",
            seed=trials[0].seed,
        )
        for name, knobs in study.combiners.items()
        if name != "static"
    ]
    return found


def combine(answers: Sequence[Mapping[str, Any]], *, processes: int) -> Rates:
    """Mean over the processes that measured side by side."""

    def mean(name: str) -> float:
        return statistics.fmean(answer[name] for answer in answers)

    def means(name: str) -> dict[str, float]:
        return {key: statistics.fmean(a[name][key] for a in answers) for key in answers[0][name]}

    def largest(name: str) -> float | None:
        return max((a[name] for a in answers if a[name] is not None), default=None)

    side = f", {processes} side by side" if processes > 1 else ""
    return Rates(
        source="dry step",
        where=f"a dry step on {answers[0]['device']} here{side}",
        step_s=means("step_s"),
        forward_s=mean("forward_s"),
        cell_s=mean("cell_s"),
        perturb_s=means("perturb_s"),
        data_s=mean("data_s"),
        start_s=mean("start_s"),
        stretch=mean("stretch"),
        host_gb=largest("host_gb"),
        gpu_gb=largest("gpu_gb"),
    )

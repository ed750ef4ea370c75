"""The process of a dry step: reads cells as JSON from stdin, prints rates as JSON on stdout."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.data.catalogue import DATASETS, find
from sweep.data.motes.knobs import MOTES_CLASSES
from sweep.planning.cost import frames_of, kind_of
from sweep.settings.trial import TrialConfig
from sweep.tasks.catalogue import task_of

if TYPE_CHECKING:
    from sweep.records.condition import Condition
    from sweep.settings.data import DataSettings

Clock = Callable[[], float]

#: Steps of a cell that are made. Learned combiners move every third one.
STEPS = 10
#: Gaps between history rows that hold one plain step each: not the first one, which warms up, and
#: none that ends at a step whose gradients are looked at (the first, the middle, the last).
PLAIN = (1, 2, 3, 5, 6, 7)
MIDDLE = 4
#: Such looks per training.
LOOKS = 3
CLASSES = 8
#: Times that a test batch is forwarded.
FORWARDS = 4


def main() -> int:
    """Measure what stdin asks for."""
    request = json.load(sys.stdin)
    trials = [TrialConfig.model_validate(content) for content in request["trials"]]
    with contextlib.redirect_stdout(sys.stderr):
        found = measure_here(trials, threads=request["threads"], gpu=request["gpu"])
    print(json.dumps(found))
    return 0


def measure_here(trials: Sequence[TrialConfig], *, threads: int, gpu: bool) -> dict[str, Any]:
    """Rates of cells that share data, model and tests.

    Raises:
        RuntimeError: if there is no GPU and the study wants one, or a cell fails.
    """
    clock = time.process_time if threads == 1 and not gpu else time.perf_counter
    begin = clock()
    import torch

    from sweep.runtime.device import peak_memory_gb

    start_s = clock() - begin
    torch.set_num_threads(threads)
    if gpu and not torch.cuda.is_available():
        raise RuntimeError(
            "no GPU here, and the study asks for one (resources.gpus_per_trial); plan on a "
            "machine with a GPU"
        )
    device = torch.device("cuda" if gpu else "cpu")
    with tempfile.TemporaryDirectory(prefix="auxsweep-dry-") as folder:
        data = small_data(trials[0], Path(folder))
        data_s = _prepare(data)
        steps: dict[str, float] = {}
        rest: list[float] = []
        stretches: list[float] = []
        _train(trials[0], data, device, Path(folder), clock)  # warms up
        for trial in trials:
            step_s, cell_s, stretch = _train(trial, data, device, Path(folder), clock)
            steps[kind_of(trial)] = step_s
            rest.append(cell_s)
            stretches.append(stretch)
        forward_s = _forward(trials[0], data, device, clock)
        perturb_s = _perturb(trials[0], data, clock)
    stretch = statistics.fmean(stretches)
    memory = peak_memory_gb(device)
    return {
        "device": torch.cuda.get_device_name(device) if gpu else f"{threads} CPU",
        "start_s": start_s,
        "data_s": data_s / stretch,  # made in processes whose CPU time is not ours
        "step_s": steps,
        "cell_s": statistics.median(rest),
        "forward_s": forward_s,
        "perturb_s": perturb_s,
        "stretch": stretch,
        "host_gb": memory["host"],
        "gpu_gb": memory.get("gpu"),
    }


def small_data(trial: TrialConfig, folder: Path) -> DataSettings:
    """Embedded clips in the geometry of the study, enough for a batch."""
    asked, needed = find(trial.data.dataset), task_of(trial.evaluate, trial.primary).clips
    able = [asked, *DATASETS.values()] if asked.embedded else DATASETS.values()
    embedded = next((r.name for r in able if r.embedded and needed <= r.clips_have), "motes-ssv2")
    classes = min(CLASSES, MOTES_CLASSES[embedded][0])
    per_class = max(4, math.ceil(trial.train.batch / classes))
    return trial.data.model_copy(
        update={
            "dataset": embedded,
            "options": trial.data.options if embedded == asked.name else {},
            "root": None,
            "train_per_class": per_class,
            "val_per_class": 2,
            "labelled_per_class": None if trial.data.labelled_per_class is None else per_class - 1,
            "cache_dir": str(folder / "cache"),
            "workers": 1,
        }
    )


def _prepare(data: DataSettings) -> float:
    """Seconds to make and decode one clip."""
    from sweep.data.prepare import prepare

    begin = time.perf_counter()
    prepared = prepare(data)
    clips = sum(count["n_used"] for count in prepared.counts.values())
    return (time.perf_counter() - begin) / clips


def _train(
    trial: TrialConfig, data: DataSettings, device: Any, folder: Path, clock: Clock
) -> tuple[float, float, float]:
    """Seconds per step, seconds of a cell besides training, wall seconds per second."""
    from sweep.trial import run_trial

    wall: list[float] = []
    busy: list[float] = []

    def note(_row: dict[str, Any]) -> None:
        wall.append(time.perf_counter())
        busy.append(clock())

    settings = {"steps": STEPS, "log_every": 1, "validate_every": 0, "checkpoint_every": 10**6}
    tests = {"conditions": {}, "shifts": [], "temporal_checks": False, "fidelity": "full"}
    short = trial.model_copy(
        update={
            "data": data,
            "fingerprint": "",
            "train": trial.train.model_copy(update=settings),
            "evaluate": trial.evaluate.model_copy(update={**tests, "clips_per_cell": None}),
        }
    )
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        result = run_trial(
            short, scratch=Path(scratch), on_metrics=note, device=str(device), reraise=True
        )
    gaps = [after - before for before, after in itertools.pairwise(busy)]
    plain = statistics.fmean(gaps[i] for i in PLAIN)
    look = max(0.0, gaps[MIDDLE] - plain)
    stretch = max(1.0, (wall[-1] - wall[0]) / (busy[-1] - busy[0]))
    seconds = result.record.run["seconds"]
    rest = max(0.0, seconds["all"] - seconds["train"] - seconds["evaluate"]) / stretch
    return plain + LOOKS * look / trial.train.steps, rest, stretch


def _forward(trial: TrialConfig, data: DataSettings, device: Any, clock: Clock) -> float:
    """Seconds to forward one clip in a test batch, as far as the task reads it."""
    import numpy as np

    from sweep.data.prepare import prepare
    from sweep.evaluation.bench import select
    from sweep.evaluation.forward import Forward, encode
    from sweep.training.assembly import build_model

    prepared = prepare(data)
    task = task_of(trial.evaluate, trial.primary)
    model = build_model(trial, prepared, task.clips, heads=task.heads).to(device)
    clips = select(prepared.evaluation["clean"], model.clip.frames)
    batch = np.resize(clips, (trial.evaluate.batch, *clips.shape[1:]))
    forward = Forward(model, trial.train.precision, device, len(batch))
    times = []
    for _ in range(FORWARDS):
        begin = clock()
        encode(forward, batch, task.features)
        times.append(clock() - begin)
    return statistics.median(times[1:]) / len(batch)


def _perturb(trial: TrialConfig, data: DataSettings, clock: Clock) -> dict[str, float]:
    """Perturbation -> seconds per clip at the middle one of the planned severities."""
    from sweep.data.prepare import prepare
    from sweep.evaluation.bench import TestBench, runnable
    from sweep.evaluation.conditions import TestPlan

    prepared = prepare(data)
    whole = {"fidelity": "full", "clips_per_cell": None}
    settings = trial.evaluate.model_copy(update={"keep_perturbed": False, "shifts": [], **whole})
    sides = task_of(trial.evaluate, trial.primary).sides
    tests = TestPlan.of(settings, (), sides, len(prepared.evaluation["clean"].ids))
    bench = TestBench(prepared, tests, frames=frames_of(trial.model))
    rows, _ = runnable(tests.of_videos)
    planned: dict[str, list[Condition]] = {}
    for row in rows:
        if row.perturbation:
            planned.setdefault(row.perturbation, []).append(row)
    found = {}
    clips = len(prepared.evaluation["clean"].ids)
    for name, severities in planned.items():
        begin = clock()
        bench.clips(severities[len(severities) // 2])
        found[name] = (clock() - begin) / clips
    return found


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception as error:  # noqa: BLE001 - the parent shows the last line
        print(f"{type(error).__name__}: {error}".replace("\n", " "), file=sys.stderr)
        sys.exit(1)

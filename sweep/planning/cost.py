"""From measured rates to the time, memory and disk of a study.

cost = data made once + perturbed clips made once + per cell (steps x seconds per step + tested
clips x seconds per clip + the rest), laid over the workers one after the other. The rates come
from finished cells (``from_cells``) or from a dry step (``sweep.planning.dry_step``); a loss set
that was not measured is put together from those that were.
"""

from __future__ import annotations

import heapq
import json
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from losses.views import video_views
from models.catalogue import clip_of
from sweep.evaluation.conditions import MAX_STORED_BYTES, TestPlan
from sweep.settings.trial import TrialConfig
from sweep.tasks.catalogue import task_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from sweep.settings.model import ModelSettings
    from sweep.settings.study import StudyConfig

#: Joining or starting Ray on this machine, before the first worker begins to import.
RAY_START_S = 8.0
#: Importing torch and the rest in a worker, where it was not measured.
WORKER_START_S = 5.0
#: Newest cells that are looked at; more would slow `plan` down.
MAX_CELLS_READ = 300


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Seconds per unit of work, on one worker among as many as were at work while measuring.

    Of a trial with one CPU thread they are CPU seconds, which other programs on the machine leave
    nearly alone; `stretch` tells how much longer the clock on the wall went.

    Attributes:
        source: `cells` or `dry step`.
        where: What was measured, for people.
        step_s: Kind of cell (see ``kind``) -> seconds per training step.
        forward_s: Seconds per tested clip.
        cell_s: Seconds per cell besides training and testing.
        perturb_s: Perturbation -> seconds to perturb a clip; None = the clips are made already.
        data_s: Seconds to make and decode a clip of the data set; None = not measured.
        start_s: Seconds until a worker has imported everything.
        stretch: Seconds of wall time per second of work while measuring, 1 or more.
        host_gb: Peak resident memory of a worker.
        gpu_gb: Peak memory on the GPU.
    """

    source: str
    where: str
    step_s: Mapping[str, float]
    forward_s: float
    cell_s: float
    perturb_s: Mapping[str, float] | None = None
    data_s: float | None = None
    start_s: float = WORKER_START_S
    stretch: float = 1.0
    host_gb: float | None = None
    gpu_gb: float | None = None


def kind(combiner: str, losses: Iterable[str]) -> str:
    """What the time of a training step depends on within a study: `static/consistency+pixel`."""
    return f"{combiner}/{'+'.join(sorted(losses)) or 'none'}"


def kind_of(trial: TrialConfig) -> str:
    """Kind of a cell."""
    return kind(trial.combiner.name, trial.losses)


# ------------------------------------------------------------------------------------- measured


def from_cells(trials: Sequence[TrialConfig], folders: Iterable[Path]) -> Rates | None:
    """Rates of finished cells with the model, clip size and batch of a study; None without any.

    Args:
        trials: The cells of the study.
        folders: Sweep folders.
    """
    wanted = _shape(trials[0])
    steps: dict[str, list[float]] = {}
    forwards, rest, stretches, host, device = [], [], [], [], []
    machines: set[str] = set()
    for content in _records(folders):
        try:
            trial = TrialConfig.model_validate(content["config"])
            seconds, run = content["run"]["seconds"], content["run"]
            if _shape(trial) != wanted or "reused_from" in run:
                continue
            busy = _busy_share(run)
            per_step = busy * seconds["train"] / trial.train.steps
            steps.setdefault(kind_of(trial), []).append(per_step)
            tested = content["forwards"]["evaluate"]
        except (KeyError, TypeError, ValueError):
            continue
        if tested:
            forwards.append(busy * seconds["evaluate"] / tested)
        rest.append(busy * max(0.0, seconds["all"] - seconds["train"] - seconds["evaluate"]))
        stretches.append(1 / busy)
        machines.add(f"{run.get('device', '')} of {run.get('host', '')}")
        memory = run.get("peak_memory_gb") or {}
        host.append(memory.get("host") or 0.0)
        device.append(memory.get("gpu") or 0.0)
    if not steps or not forwards:
        return None
    return Rates(
        source="cells",
        where=f"{len(rest)} finished cells on {', '.join(sorted(machines))}",
        step_s={name: statistics.median(values) for name, values in steps.items()},
        # the cell that made the perturbed clips took longer: the median leaves it out
        forward_s=statistics.median(forwards),
        cell_s=statistics.median(rest),
        stretch=statistics.median(stretches),
        host_gb=max(host) or None,
        gpu_gb=max(device) or None,
    )


def _busy_share(run: Mapping[str, Any]) -> float:
    """Part of its time that a cell with one CPU thread was at work; 1 for others."""
    if "cpu_seconds" not in run or run.get("threads") != 1 or "gpu" in run["peak_memory_gb"]:
        return 1.0
    return min(1.0, max(0.01, float(run["cpu_seconds"]) / float(run["seconds"]["all"])))


def _shape(trial: TrialConfig) -> tuple[Any, ...]:
    """What the time of a step depends on besides losses and combiner."""
    return (
        trial.model.name,
        json.dumps(trial.model.knobs, sort_keys=True),
        trial.data.size_px,
        trial.train.batch,
        trial.train.precision,
        trial.train.perturb,
    )


def _records(folders: Iterable[Path]) -> Iterator[dict[str, Any]]:
    paths = [path for folder in folders for path in folder.glob("cells/*/result.json")]
    for path in sorted(paths, key=lambda p: -p.stat().st_mtime)[:MAX_CELLS_READ]:
        try:
            yield json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue


# ------------------------------------------------------------------------------------ estimates


def step_seconds(step_s: Mapping[str, float], combiner: str, losses: Sequence[str]) -> float:
    """Seconds per training step of a loss set under a combiner, measured or put together.

    What single losses add to training without any is summed up, scaled by what of it remains when
    many losses share their views (known from a measured larger set), and multiplied by what the
    combiner costs beside `static`. Without single losses the nearest measured set is scaled by the
    number of views.
    """
    exact = step_s.get(kind(combiner, losses))
    if exact is not None:
        return exact
    base = step_s.get(kind("static", ()))
    singles = {
        name.removeprefix("static/"): seconds
        for name, seconds in step_s.items()
        if name.startswith("static/") and "+" not in name and name != "static/none"
    }
    if base is None or not set(losses) <= set(singles):
        return _by_views(step_s, combiner, losses)
    added = sum(max(0.0, singles[name] - base) for name in losses)
    largest = max(
        (
            found
            for name in step_s
            if name.startswith("static/")
            and set(found := name.removeprefix("static/").split("+")) <= set(singles)
        ),
        key=len,
        default=[],
    )
    whole = sum(max(0.0, singles[name] - base) for name in largest)
    if len(largest) > 1 and whole > 0:
        remains = max(0.0, step_s[kind("static", largest)] - base) / whole
        added *= 1 + (remains - 1) * (len(losses) - 1) / (len(largest) - 1)
    ratios = [
        seconds / step_s[f"static/{found}"]
        for name, seconds in step_s.items()
        for own, _, found in [name.partition("/")]
        if own == combiner and combiner != "static" and f"static/{found}" in step_s
    ]
    return (base + added) * (statistics.fmean(ratios) if ratios else 1.0)


def _by_views(step_s: Mapping[str, float], combiner: str, losses: Sequence[str]) -> float:
    views = len(video_views(losses))

    def distance(name: str) -> tuple[bool, int, int]:
        own, _, found = name.partition("/")
        theirs = [] if found == "none" else found.split("+")
        known = len(video_views(theirs))
        return own != combiner, abs(known - views), abs(len(theirs) - len(losses))

    nearest = min(step_s, key=distance)
    found = nearest.partition("/")[2]
    return step_s[nearest] * views / len(video_views([] if found == "none" else found.split("+")))


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a study takes.

    Attributes:
        cells_s: Seconds that each cell holds its worker, in the order of the plan.
        once_s: Seconds of work done once: perturbed clips; `data` apart.
        data_s: Seconds to prepare the data before the first cell.
        wall_s: Seconds from the command to the end of the last cell, on a machine with nothing
            else to do.
        parts: Seconds of work by kind, over all cells.
    """

    cells_s: tuple[float, ...]
    once_s: float
    data_s: float
    wall_s: float
    parts: Mapping[str, float] = field(default_factory=dict)

    @property
    def worker_s(self) -> float:
        """Seconds that workers are held, all together."""
        return sum(self.cells_s) + self.once_s

    def __add__(self, later: Cost) -> Cost:
        """This and then, on the same workers, what waits for its end."""
        return Cost(
            cells_s=self.cells_s + later.cells_s,
            once_s=self.once_s + later.once_s,
            data_s=self.data_s + later.data_s,
            wall_s=self.wall_s + later.wall_s,
            parts={name: value + later.parts[name] for name, value in self.parts.items()},
        )


def predict(
    study: StudyConfig,
    trials: Sequence[TrialConfig],
    rates: Rates,
    *,
    data: Mapping[str, Any],
    workers: int,
    ray: bool = True,
    has_begun: bool = False,
) -> Cost:
    """Time of the cells that are still to run.

    Args:
        study: The study.
        trials: The cells that will run.
        rates: Measured rates.
        data: As planned by ``sweep.data.survey.plan``.
        workers: Cells at a time.
        ray: Whether Ray starts (not with `--local`).
        has_begun: Whether data and workers are there already.
    """
    tests = planned_tests(study, data)
    clips = sum(map(tests.tested, tests.of_videos)) + fitted_clips(study, data)
    making = 0.0
    if rates.perturb_s is not None and trials:
        mean = statistics.fmean(rates.perturb_s.values()) if rates.perturb_s else 0.0
        making = sum(
            tests.tested(row) * rates.perturb_s.get(row.perturbation, mean)
            for row in tests.of_videos
            if row.perturbation
        )
    every_cell = not is_stored(study, tests)
    train = [
        t.train.steps * step_seconds(rates.step_s, t.combiner.name, sorted(t.losses))
        for t in trials
    ]
    rest = rates.cell_s + clips * rates.forward_s + (making if every_cell else 0.0)
    cells_s = tuple(seconds + rest for seconds in train)
    once_s = 0.0 if every_cell else making
    data_s = 0.0
    if not has_begun and not data["is_ready"] and rates.data_s is not None:
        data_s = rates.data_s * data["clips"]
    fresh = study.resources.gpus > 0 and study.resources.reuse_workers != "on"
    start_s = rates.start_s if ray and fresh else 0.0
    begin_s = (RAY_START_S if ray else 0.0) + rates.start_s
    busy = [0.0 if has_begun else begin_s] * max(1, workers)
    # all workers begin with the same conditions: they make the clips together
    busy = [moment + once_s / max(1, min(workers, len(trials))) for moment in busy]
    heapq.heapify(busy)
    end = max(busy) if trials else 0.0
    for seconds in cells_s:
        moment = heapq.heappop(busy) + start_s + seconds
        heapq.heappush(busy, moment)
        end = max(end, moment)
    return Cost(
        cells_s=tuple(seconds + start_s for seconds in cells_s),
        once_s=once_s,
        data_s=data_s,
        wall_s=data_s + end,
        parts={
            "train": sum(train),
            "test": len(trials) * clips * rates.forward_s,
            "perturb": once_s if not every_cell else len(trials) * making,
            "rest": len(trials) * (rates.cell_s + start_s),
        },
    )


def planned_tests(study: StudyConfig, data: Mapping[str, Any]) -> TestPlan:
    """What every model of a study is tested under, on the clip sets that there are."""
    sides = task_of(study.evaluate, study.primary).sides
    return TestPlan.of(study.evaluate, data["shifts"], sides, data.get("evaluation_clips") or 0)


def fitted_clips(study: StudyConfig, data: Mapping[str, Any]) -> int:
    """Training clips that are forwarded before a test, where the task fits something on them."""
    fits = task_of(study.evaluate, study.primary).fits
    return (data.get("train_clips") or 0) if fits else 0


def frames_of(model: ModelSettings) -> int:
    """Frames per clip that the model takes."""
    return clip_of(model.name, weights=model.weights, frames=model.knobs.get("frames")).frames


def clip_bytes(study: StudyConfig, frames: int) -> int:
    """Bytes of a stored uint8 clip."""
    return frames * 3 * study.data.size_px**2


def is_stored(study: StudyConfig, tests: TestPlan) -> bool:
    """Whether perturbed clips are kept; otherwise every cell makes them again."""
    count = tests.clips if tests.per_cell is None else min(tests.clips, tests.per_cell)
    size = count * clip_bytes(study, frames_of(study.model))
    return study.evaluate.keep_perturbed and size <= MAX_STORED_BYTES


def perturbed_gb(study: StudyConfig, data: Mapping[str, Any]) -> float:
    """GB of test clips, perturbed and as they are, kept beside the decoded ones."""
    if not study.evaluate.keep_perturbed:
        return 0.0
    size = clip_bytes(study, frames_of(study.model))
    tests = planned_tests(study, data)
    stored = (tests.tested(row) * size for row in tests.of_videos)
    return sum(found for found in stored if found <= MAX_STORED_BYTES) / 1e9

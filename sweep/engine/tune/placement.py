"""Before trials start: what they ask for, whether nodes have it, what it measures, who shares."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.engine.demand import Demand, Peak, demand, heaviest
from sweep.engine.folder import in_ray_job
from sweep.engine.tune.nodes import ask_nodes, resources_of_nodes
from sweep.settings.section import ConfigError
from sweep.settings.trial import TrialConfig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sweep.engine.contract import Cells
    from sweep.settings.resources import ResourceSettings

#: What the waiting process of a trial of several ranks asks for.
WAITING_MEMORY_BYTES = 512 * 1024**2
#: A job's working folder above this is uploaded slowly; Ray refuses 512 MiB.
LARGE_JOB_BYTES = 250 * 1024**2
#: A dry step that takes longer says that something is wrong.
DRY_STEP_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Placement:
    """What each trial of a sweep asks for.

    Attributes:
        resources: Of the study.
        peaks: Kind of trial -> memory of its dry step; {} unless ``gpus_per_trial: auto``.
        concurrent: Largest number of trials at a time; None = as many as there is room for.
    """

    resources: ResourceSettings
    peaks: Mapping[str, Peak] = field(default_factory=dict)
    concurrent: int | None = None

    def demand(self, trial: TrialConfig) -> Demand:
        """What this trial asks for."""
        return demand(self.resources, trial, self.peaks)

    def bundle(self, trial: TrialConfig) -> dict[str, float]:
        """What Tune reserves for it: of several ranks only the process that waits for them."""
        asked = self.demand(trial)
        return asked.bundle() if asked.ranks == 1 else {"memory": WAITING_MEMORY_BYTES}


def place(cells: Cells, *, wait_s: float) -> Placement:
    """Check, measure and tell.

    Args:
        cells: The session; a search is judged by its largest trial.
        wait_s: How long a cluster gets to bring up nodes that are large enough.

    Raises:
        ConfigError: if a trial fits nowhere, or checkpoints must be shared and cannot be.
    """
    resources = cells.study.resources
    if in_ray_job() and (size := folder_bytes(Path.cwd())) > LARGE_JOB_BYTES:
        cells.note(
            f"the job's working folder has more than {size // 1024**2} MiB; every node gets a "
            "copy, and Ray refuses 512 MiB: list what is not needed in .rayignore"
        )
    trials = cells.samples()
    settled = Placement(resources)
    if _measures(resources):
        settled = Placement(resources, measure_peaks(trials, cells))
        for kind, peak in settled.peaks.items():
            cells.note(f"dry step of {kind}: {_told(peak)}")
    check_demands(distinct(settled, trials), wait_s=wait_s)
    check_storage(cells)
    return Placement(resources, settled.peaks, _concurrent(resources, distinct(settled, trials)))


def distinct(placement: Placement, trials: Sequence[TrialConfig]) -> list[Demand]:
    """Each demand once, in order."""
    found: list[Demand] = []
    for trial in trials:
        asked = placement.demand(trial)
        if asked not in found:
            found.append(asked)
    return found


def check_demands(demands: Sequence[Demand], *, wait_s: float = 0.0) -> None:
    """Refuse a trial that the nodes can never hold: Ray would wait without end.

    Raises:
        ConfigError: with the demand, the nodes, and what to change.
    """
    end = time.monotonic() + wait_s
    while True:
        nodes = resources_of_nodes()
        wanting = [one for one in demands if not one.fit(nodes)]
        if not wanting:
            return
        if time.monotonic() >= end:
            break
        time.sleep(0.5)
    asked = wanting[0]
    offered = ", ".join(sorted({_offer(node, asked) for node in nodes})[::-1][:4])
    if asked.ranks == 1:
        raise ConfigError(
            f"a trial asks for {asked.cpus:g} CPU and {asked.gpus:g} GPU"
            f"{_further(asked)}, but no node has that (nodes: {offered or 'none'}); "
            "change resources.cpus_per_trial, gpus_per_trial, memory_gb_per_trial, custom or rules"
        )
    raise ConfigError(
        f"a trial asks for {asked}, but the cluster has not that much room (nodes: "
        f"{offered or 'none'}); change resources.workers_per_trial or what a trial asks for"
    )


def _further(asked: Demand) -> str:
    named = [f"{amount:g} {name}" for name, amount in asked.custom.items()]
    if asked.memory_bytes:
        named.insert(0, f"{asked.memory_bytes / 1024**3:.5g} GiB memory")
    return "".join(f" and {text}" for text in named)


def _offer(node: Mapping[str, float], asked: Demand) -> str:
    """A node's total of everything that is asked for."""
    parts = [f"{node.get('CPU', 0.0):g} CPU", f"{node.get('GPU', 0.0):g} GPU"]
    if asked.memory_bytes:
        parts.append(f"{node.get('memory', 0.0) / 1024**3:.5g} GiB memory")
    parts += [f"{node.get(name, 0.0):g} {name}" for name in asked.custom]
    return " + ".join(parts)


def _concurrent(resources: ResourceSettings, demands: Sequence[Demand]) -> int | None:
    """The user's bound; with ranks, at most as many trials as their ranks have room for."""
    ranked = [one for one in demands if one.ranks > 1]
    if not ranked:
        return resources.max_concurrent
    nodes = resources_of_nodes()
    room = max(1, min(one.fit(nodes) for one in demands))
    return min(room, resources.max_concurrent or room)


# --------------------------------------------------------------------------------- measured memory


def _measures(resources: ResourceSettings) -> bool:
    given = [resources.gpus_per_trial, *(rule.gpus_per_trial for rule in resources.rules)]
    return "auto" in given


def measure_peaks(trials: Sequence[TrialConfig], cells: Cells) -> dict[str, Peak]:
    """Memory of a dry step for each kind of trial, one after the other, each in its own process.

    Measured memory is stored in the ledger; a resumed sweep takes it from there.

    Raises:
        ConfigError: if a dry step fails.
    """
    import ray

    known = {
        event["kind"]: Peak(rss=event["rss"], gpu=event["gpu"], card=event["card"])
        for event in cells.remembered("measured")
    }
    has_gpu = any(node.get("GPU", 0.0) >= 1 for node in resources_of_nodes())
    how: Any = {"num_cpus": 1, "num_gpus": 1 if has_gpu else 0, "max_calls": 1, "max_retries": 1}
    found: dict[str, Peak] = {}
    for kind, trial in heaviest(trials).items():
        if kind in known:
            found[kind] = known[kind]
            continue
        cells.note(f"dry step of {kind}")
        task = ray.remote(**how)(_dry_step).remote(trial.model_dump_json())
        try:
            peak = found[kind] = ray.get(task, timeout=DRY_STEP_TIMEOUT_S)
        except Exception as error:  # noqa: BLE001 - whatever a trial may raise
            ray.cancel(task, force=True)
            last = (str(error).strip() or repr(error)).splitlines()[-1]
            raise ConfigError(
                f"resources.gpus_per_trial: auto: the dry step of a trial failed ({kind}): "
                f"{last}; give a number instead, such as resources.gpus_per_trial=1"
            ) from None
        cells.remember("measured", kind=kind, rss=peak.rss, gpu=peak.gpu, card=peak.card)
    return found


def _dry_step(text: str) -> Peak:
    """Runs in a worker."""
    from sweep.engine.tune.peak_memory import measure_peak

    return measure_peak(TrialConfig.model_validate_json(text))


def _told(peak: Peak) -> str:
    text = f"{peak.rss / 1024**3:.2f} GiB memory"
    if peak.card:
        text += f", {peak.gpu / 1024**3:.2f} of {peak.card / 1024**3:.0f} GiB GPU memory"
    return text


# ----------------------------------------------------------------------------------------- storage


def check_storage(cells: Cells) -> None:
    """Ask every node whether it sees the sweep's folder, where there are several.

    Results travel by Ray and need no shared folder; checkpoints do.

    Raises:
        ConfigError: if ``resources.shared_checkpoints`` is set and a node does not see the folder.
    """
    if len(resources_of_nodes()) < 2:
        return
    apart = [node for node in ask_nodes(cells.sweep) if not node.is_shared]
    cells.remember("storage", apart=[node.host for node in apart])
    if not apart:
        return
    hosts = ", ".join(
        f"{node.host}" + (f" ({node.problem})" if node.problem else "") for node in apart
    )
    if cells.study.resources.shared_checkpoints:
        raise ConfigError(
            f"resources.shared_checkpoints: {cells.sweep} is not seen by {hosts}; give --out a "
            "folder that all nodes share"
        )
    cells.note(
        f"{len(apart)} nodes do not see {cells.sweep} ({hosts}): results arrive all the same; a "
        "trial that moves to another node starts anew"
    )


def folder_bytes(folder: Path, *, limit: int = LARGE_JOB_BYTES) -> int:
    """Size of the files below a folder; stops counting above ``limit``."""
    size = 0
    for place, _, names in os.walk(folder):  # what goes meanwhile is passed over
        for name in names:
            path = Path(place, name)
            if not path.is_symlink():
                with contextlib.suppress(OSError):
                    size += path.stat().st_size
        if size > limit:
            break
    return size


def slots(placement: Placement, trials: Sequence[TrialConfig]) -> int:
    """How many trials the cluster holds at a time, by the smallest demand."""
    nodes = resources_of_nodes()
    fits = [one.fit(nodes) for one in distinct(placement, trials)]
    return max(fits) if fits else 1

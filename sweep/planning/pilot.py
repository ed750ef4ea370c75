"""What effect a plan can resolve, in points, from finished cells of the same study."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweep.records.files import read_records
from sweep.records.patterns import outcome
from sweep.statistics.power import detectable_sd

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from sweep.records.record import TrialRecord
    from sweep.settings.study import StudyConfig

#: Half of a 95 % interval in standard deviations.
_Z = 1.96
#: Root of the mean of p (1 - p) over the cells of a perturbation grid, in points.
CLIP_SD = 42.0


@dataclass(frozen=True)
class Pilot:
    """Spread of paired differences between loss sets, per outcome, in points.

    Attributes:
        sd: Outcome -> standard deviation over seeds, pooled over loss sets.
        pairs: Number of paired differences that it comes from, less their means.
        cells: Finished cells that were read.
    """

    sd: Mapping[str, float]
    pairs: int
    cells: int

    def detectable(self, seeds: int) -> dict[str, float]:
        """Outcome -> smallest mean difference in points that so many seeds resolve (80 %)."""
        factor = detectable_sd(seeds)
        return {} if factor is None else {name: factor * sd for name, sd in self.sd.items()}


def pilot(study: StudyConfig, folders: Iterable[Path]) -> Pilot | None:
    """Spread from finished cells on the same data, model and training; None without two seeds."""
    by_set: dict[tuple[str, ...], dict[int, TrialRecord]] = defaultdict(dict)
    for folder in folders:
        for record in read_records(folder):
            config = record.config
            same = (
                record.status == "done"
                and config["data"]["dataset"] == study.data.dataset
                and config["model"]["name"] == study.model.name
                and config["train"]["steps"] == study.train.steps
            )
            if same:
                by_set[(record.combiner, *record.losses)].setdefault(record.seed, record)
    reference = max(
        (key for key in by_set), key=lambda key: (len(by_set[key]), len(key)), default=None
    )
    if reference is None:
        return None
    squares: dict[str, list[float]] = defaultdict(list)
    degrees = 0
    for key, runs in by_set.items():
        seeds = sorted(set(runs) & set(by_set[reference]))
        if key == reference or len(seeds) < 2:
            continue
        degrees += len(seeds) - 1
        for name in study.headline:
            patterns = study.outcomes[name]
            found = [
                outcome(runs[s], patterns) - outcome(by_set[reference][s], patterns) for s in seeds
            ]
            if not any(map(math.isnan, found)):
                squares[name].append(statistics.variance(found))
    if not squares:
        return None
    return Pilot(
        {name: math.sqrt(statistics.fmean(values)) for name, values in squares.items()},
        pairs=degrees,
        cells=sum(map(len, by_set.values())),
    )


def grid_interval(cells: int, clips: int, per_cell: int | None) -> float:
    """Half of the 95 % interval of a mean over the grid that thinned clips leave, in points.

    sd = 42 / sqrt(cells x clips per cell), less what a finite set takes off; 0 where all clips
    are tested.
    """
    if per_cell is None or not cells or per_cell >= clips:
        return 0.0
    return _Z * CLIP_SD / math.sqrt(cells * per_cell) * math.sqrt(1 - per_cell / clips)


def weakest(
    effect: float, sd: Mapping[str, float], seeds: int, names: Sequence[str], *, family: int
) -> tuple[str, float]:
    """The outcome with the least power for an effect, and that power.

    Args:
        effect: In points.
        sd: Outcome -> spread of the paired differences, points.
        seeds: Number of pairs.
        names: Outcomes that are judged.
        family: Number of tests that are corrected together.
    """
    from sweep.statistics.detectable import power  # scipy: not for a plan without `--effect`

    chances = {
        n: power(seeds, effect, sd[n], family=family) if sd[n] > 0 else float(seeds > 1)
        for n in names
        if n in sd
    }
    name = min(chances, key=lambda n: chances[n])
    return name, chances[name]

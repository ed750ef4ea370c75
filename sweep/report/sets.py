"""The loss set as the unit of a trend: its mean over seeds, what it keeps beyond its ability."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from losses.catalogue import LOSSES
from sweep.records.patterns import clean_of, matching
from sweep.statistics.curves import logit_gap
from sweep.statistics.intervals import NAN

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sweep.records.record import TrialRecord
    from sweep.report.evidence import Cell

#: What a run that did not train measures; ends every sentence that gives no verdict for it.
DELAY = (
    "What was measured is how long training takes to start, which losses delay, not what they "
    "are worth."
)


def mean_of(cell: Cell, patterns: list[str]) -> float:
    """Accuracy in percent, mean over the seeds of a set; NaN without one."""
    return mean(cell.values(patterns).values())


def beyond_ability(cell: Cell, patterns: list[str]) -> float:
    """Log odds under stress less those on clean clips, mean over seeds; NaN where not tested."""
    return mean(_gap(record, patterns) for record in cell.records.values())


def is_clean(patterns: Sequence[str]) -> bool:
    """Whether an outcome is clean accuracy, beyond which there is nothing."""
    return set(patterns) == {clean_of(patterns)}


def delayed(cells: Iterable[Cell]) -> dict[int, tuple[int, int]]:
    """Number of losses -> (runs that did not train, runs), where that is most of them."""
    runs: dict[int, list[int]] = {}
    for cell in cells:
        counts = runs.setdefault(len(cell.losses), [0, 0])
        counts[0] += len(cell.untrained)
        counts[1] += len(cell.records)
    return {k: (failed, n) for k, (failed, n) in sorted(runs.items()) if 2 * failed > n}


def reads_captions(cell: Cell) -> bool:
    """Whether a loss of the set reads captions: more losses are then more supervision, too."""
    specs = [LOSSES[name] for name in cell.losses if name in LOSSES]
    return any(
        spec.text_views or any(need.startswith("caption_") for need in spec.needs) for spec in specs
    )


def placebos(cell: Cell) -> tuple[str, ...]:
    """Losses of the set that teach nothing: controls, which are not counted among its losses."""
    return tuple(name for name in cell.losses if name in LOSSES and LOSSES[name].placebo)


def mean(values: Iterable[float]) -> float:
    """Of what is finite; NaN of nothing."""
    rows = [value for value in values if math.isfinite(value)]
    return float(np.mean(rows)) if rows else NAN


def _gap(record: TrialRecord, patterns: list[str]) -> float:
    stressed, clean = _counts(record, patterns), _counts(record, [clean_of(patterns)])
    return logit_gap(*stressed, *clean) if stressed[1] and clean[1] else NAN


def _counts(record: TrialRecord, patterns: list[str]) -> tuple[float, float]:
    """Right answers and answers, over the matching conditions."""
    scores = {score.condition: score for score in record.scores}
    right = total = 0.0
    for name in matching(scores, patterns):
        metric, _, condition = name.rpartition(":")
        score = scores[condition]
        value = score.value(metric)
        if math.isfinite(value):
            right += score.clips * min(value, 100.0) / 100
            total += score.clips
    return min(right, total), total

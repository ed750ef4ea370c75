"""How diverse the losses of a trial are: known before training, and measured in its course.

Measures are those of ``losses.diversity``, over the auxiliary losses; the primary does not count.
They need no more than the history of the trial: values and slopes at the logged steps, and the
cosines between gradients that fine-tuning logs at the start, at half-time and at the end.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from losses import diversity
from losses.catalogue import LOSSES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: When the losses are looked at.
POINTS = ("start", "half", "end")
#: Slopes are averaged over logged steps within this share of the training: those of some combiners
#: (random weights, say) change from step to step.
WINDOW = 0.05
NAN = math.nan

#: Every measure of a point, so that one that is not defined is NaN instead of absent.
_EVERY = (
    *diversity.weight_measures([1.0]),
    *diversity.granularity_measures([0], [1.0]),
    "family_entropy_weighted",
    *(f"gradient/{name}" for name in ("task_cosine", "dead")),
    *(
        f"{kind}/{name}"
        for kind in ("gradient", "trajectory")
        for name in diversity.direction_measures(np.ones((1, 1)), [1.0])
    ),
)


def measure_history(
    weights: Mapping[str, float],
    history: Sequence[Mapping[str, Any]],
    *,
    primary: str,
    steps: int,
) -> dict[str, Any]:
    """The section `diversity` of a record; empty without an auxiliary loss.

    Args:
        weights: Auxiliary loss -> configured weight.
        history: Rows of ``history.jsonl``.
        primary: Name of the task's own loss.
        steps: Steps of the training.

    Returns:
        `set`: measures that were known before training, by catalogue and configured weight. For
        each of :data:`POINTS`: `step`; `weights`, mean slope dM/dl of every loss around that step
        (primary included); `measures`, with the sizes of these slopes as weights. `gradient/*`
        are NaN where no gradients were logged, `trajectory/*` (losses up to this step) where
        fewer than four steps were. `gradient/task_cosine` is the mean cosine with the primary.
    """
    rows = [row for row in history if "slopes" in row]
    if not weights or not rows:
        return {}
    names = sorted(weights)
    anchors = {
        "start": rows[0],
        "half": [row for row in rows if row["step"] <= steps // 2][-1],
        "end": rows[-1],
    }
    found: dict[str, Any] = {"set": diversity.set_measures(names, weights)}
    for point, anchor in anchors.items():
        near = [row for row in rows if abs(row["step"] - anchor["step"]) <= WINDOW * steps]
        slopes = {
            name: {"mean": _mean(near, name), "size": _mean(near, name, size=True)}
            for name in (primary, *names)
        }
        until = [row for row in rows if row["step"] <= anchor["step"]]
        found[point] = {
            "step": anchor["step"],
            "weights": {name: slope["mean"] for name, slope in slopes.items()},
            "measures": _measures(
                names, [slopes[name]["size"] for name in names], anchor, until, primary
            ),
        }
    return found


def recorded(section: Mapping[str, Any], points: Iterable[str]) -> dict[str, float]:
    """`set/...`, `end/...` -> value of a section as :func:`measure` makes it; NaN for null.

    Args:
        section: `diversity` of a record; may be empty.
        points: `set`, or of :data:`POINTS`.
    """
    found: dict[str, float] = {}
    for point in points:
        there = section.get(point) or {}
        values = there if point == "set" else there.get("measures", {})
        found |= {f"{point}/{name}": NAN if v is None else float(v) for name, v in values.items()}
    return found


def _mean(rows: Sequence[Mapping[str, Any]], name: str, *, size: bool = False) -> float:
    values = [row["slopes"][name] for row in rows]
    return float(np.mean(np.abs(values) if size else values))


def _measures(
    names: Sequence[str],
    weights: Sequence[float],
    anchor: Mapping[str, Any],
    until: Sequence[Mapping[str, Any]],
    primary: str,
) -> dict[str, float]:
    rows = [LOSSES[name] for name in names]
    series = np.array([[row["losses"][name] for row in until] for name in names])
    found = {
        **diversity.weight_measures(weights),
        **diversity.granularity_measures([row.granularity for row in rows], weights),
        "family_entropy_weighted": diversity.group_entropy([row.family for row in rows], weights),
    }
    gradients = anchor.get("gradients")
    cosines = None
    if gradients:
        cosines = _cosines(names, gradients)
        toward = [_cosine(gradients, primary, name) for name in names]
        known = [value for value in toward if math.isfinite(value)]
        found["gradient/task_cosine"] = float(np.mean(known)) if known else NAN
    found |= diversity.training_measures(
        weights, cosines=cosines, series=series, positive=(series >= 0).all(axis=1)
    )
    return {name: found.get(name, NAN) for name in _EVERY}


def _cosines(names: Sequence[str], gradients: Mapping[str, Any]) -> np.ndarray:
    """Mean cosines over the batches, NaN for a loss without a gradient.

    The mean of cosines, not the cosine of means: the gradients were taken at the features of other
    clips in every batch.
    """
    return np.array([[_cosine(gradients, one, two) for two in names] for one in names])


def _cosine(gradients: Mapping[str, Any], one: str, two: str) -> float:
    for name in (one, two):
        norm = gradients["norms"][name]
        if norm is None or not norm >= diversity.DEAD_BELOW:
            return NAN
    if one == two:
        return 1.0
    found = gradients["cosines"]
    value = found.get(f"{one}|{two}", found.get(f"{two}|{one}"))
    return NAN if value is None else float(value)

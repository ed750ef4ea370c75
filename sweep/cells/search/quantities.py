"""What a search maximises, minimises or bounds: accuracies, clips forwarded, measures of a set."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from losses.diversity import set_measures
from losses.views import video_views
from sweep.cells.search.dimensions import CLIPS
from sweep.evaluation.fidelity import estimate
from sweep.records.patterns import counted_in, mean_over, outcome
from sweep.records.record import Score

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Literal

    from sweep.records.outcomes import Outcomes
    from sweep.records.record import TrialRecord
    from sweep.settings.study import StudyConfig
    from sweep.settings.trial import TrialConfig

#: Quantile of the normal distribution for two-sided 95 %.
_Z = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Measured:
    """A value with its 95 % interval over the choice of clips; a point if all tests were made."""

    value: float
    low: float
    high: float


def measure(
    name: str,
    accuracies: Mapping[str, Sequence[str]],
    record: TrialRecord,
    outcomes: Outcomes | None = None,
    *,
    on: Literal["validation", "test"] = "test",
) -> Measured:
    """A quantity of a finished trial; NaN if it was not measured.

    Accuracies over cells that were tested on few clips are those that all clips would give, as
    far as the outcomes of the clips are at hand. On validation clips the interval is that of other
    clips of their kind, with the conditions of a clip taken as one: at most too wide.

    Args:
        name: Outcome of the study, `clips`, or a measure of ``losses.diversity.set_measures``.
        accuracies: Outcomes of the study: name -> patterns of conditions.
        record: Of the trial.
        outcomes: Of its test clips.
        on: The clips that accuracies are read from; quantities of other kinds have none.
    """
    if name in accuracies and on == "validation":
        return _validated(accuracies[name], record)
    if name in accuracies:
        return _accuracy(accuracies[name], record, outcomes)
    if name == CLIPS:
        parts = ("train", "evaluate", "validation")
        counted = [record.forwards[k] for k in parts if k in record.forwards]
        value = float(sum(counted)) if counted else math.nan
    else:
        value = _of_set(name, record.config.get("losses") or {})
    return Measured(value, value, value)


def _validated(patterns: Sequence[str], record: TrialRecord) -> Measured:
    value = mean_over(record.validation, patterns, record.config)
    if math.isnan(value):
        return Measured(value, value, value)
    share = min(max(value / 100, 0.0), 1.0)
    half = 100 * _Z * math.sqrt(share * (1 - share) / max(1, record.validation[0].clips))
    return Measured(value, value - half, value + half)


def _accuracy(patterns: Sequence[str], record: TrialRecord, outcomes: Outcomes | None) -> Measured:
    value = outcome(record, patterns)
    conditions = counted_in(record, patterns)
    thinned = [] if outcomes is None else [c for c in conditions if c in outcomes.rows]
    if outcomes is None or not thinned or math.isnan(value):
        return Measured(value, value, value)
    found = estimate(
        {c: outcomes.correct(c) for c in thinned},
        outcomes.rows,
        outcomes.correct("clean"),
        {"outcome": thinned},
    )["outcome"]
    whole = sum(record.accuracy[c] for c in conditions if c not in outcomes.rows)
    share = len(thinned) / len(conditions)
    value = whole / len(conditions) + share * found.mean
    half = _Z * share * found.sd
    return Measured(value, value - half, value + half)


def at_a_rung(
    name: str, study: StudyConfig, config: TrialConfig, validated: Mapping[str, Mapping[str, float]]
) -> float:
    """A quantity of a trial in training; NaN if it was not validated.

    Args:
        name: As of ``measure``.
        study: Of the search.
        config: Of the trial.
        validated: Condition -> metric -> value on the validation clips.
    """
    if name not in study.outcomes:
        value = known_before(name, study, config)
        return math.nan if value is None else value
    scores = [Score(condition=c, clips=0, metrics=m, category="") for c, m in validated.items()]
    return mean_over(scores, study.outcomes[name], config.model_dump())


def known_before(name: str, study: StudyConfig, config: TrialConfig) -> float | None:
    """A quantity that needs no run; None for one that does.

    Of `clips` the part of the training is known: a lower bound.
    """
    if name in study.outcomes:
        return None
    if name == CLIPS:
        views = len(video_views((config.primary, *config.losses)))
        return float(config.train.steps * config.train.batch * views)
    return _of_set(name, {loss: s.model_dump() for loss, s in config.losses.items()})


def violation(value: float, low: float | None, high: float | None) -> float:
    """How far a value lies outside of its bounds; 0 or less = inside."""
    parts = [] if low is None else [low - value]
    parts += [] if high is None else [value - high]
    return max(parts)


def _of_set(name: str, losses: Mapping[str, Mapping[str, Any]]) -> float:
    weights = {loss: float(about.get("weight") or 0.0) for loss, about in losses.items()}
    return set_measures(weights, weights)[name]

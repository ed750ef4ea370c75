"""Patterns of conditions (`gaussian_noise/*`, `t2v_R5:clean`) and what records say of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sweep.records.equal import counted, equal_by_settings, equal_in, exact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sweep.records.record import Score, TrialRecord


def metric_of(pattern: str) -> str:
    """The metric that a pattern names, as in `t2v_R5:clean`; "" for the headline."""
    return pattern.rpartition(":")[0]


def matching(conditions: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """Conditions that match any of the patterns (`gaussian_noise/*`), each once, in order.

    What a pattern says before a colon is kept: `t2v_R5:*` gives `t2v_R5:clean` and so on.
    """
    from fnmatch import fnmatchcase

    metrics = dict.fromkeys(metric_of(pattern) for pattern in patterns)
    globs = {m: [p.rpartition(":")[2] for p in patterns if metric_of(p) == m] for m in metrics}
    return [
        f"{metric}:{condition}" if metric else condition
        for condition in conditions
        for metric in metrics
        if any(fnmatchcase(condition, glob) for glob in globs[metric])
    ]


def clean_of(patterns: Sequence[str]) -> str:
    """What an outcome is to be divided by: the clean clips under its own metric."""
    metrics = {metric_of(pattern) for pattern in patterns} - {""}
    return f"{min(metrics)}:clean" if metrics else "clean"


def counted_in(record: TrialRecord, patterns: Sequence[str]) -> list[str]:
    """Matching conditions that a mean takes: equal frames once, see ``records.equal``."""
    names = matching((score.condition for score in record.scores), patterns)
    return names if len(names) < 2 else counted(names, exact(equal_in(record)))


def unmeasured(records: Iterable[TrialRecord], outcomes: Mapping[str, Sequence[str]]) -> list[str]:
    """Outcomes for which no record has a number: nothing was tested that their patterns match."""
    done = [record for record in records if record.status == "done"]
    if not done:
        return []
    return [
        name for name, given in outcomes.items() if all(math.isnan(outcome(r, given)) for r in done)
    ]


def outcome(record: TrialRecord, patterns: Sequence[str]) -> float:
    """Mean headline (or named metric) over what counts of the patterns; NaN if nothing matches."""
    return _mean(record.scores, counted_in(record, patterns))


def mean_over(scores: Sequence[Score], patterns: Sequence[str], config: Mapping[str, Any]) -> float:
    """The same over scores of other clips than those of the test, with the settings of a trial."""
    names = [score.condition for score in scores]
    chosen = matching(names, patterns)
    if len(chosen) > 1:
        chosen = counted(chosen, exact(equal_by_settings(names, config)))
    return _mean(scores, chosen)


def _mean(scores: Iterable[Score], names: Iterable[str]) -> float:
    by_name = {score.condition: score for score in scores}
    values = []
    for name in names:
        metric, _, condition = name.rpartition(":")
        values.append(by_name[condition].value(metric))
    return sum(values) / len(values) if values else math.nan

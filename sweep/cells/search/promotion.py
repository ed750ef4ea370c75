"""The end of a search: the best at full fidelity, then the winners with fresh seeds.

The best of many tries is picked by its own luck. Only runs with seeds that the search never saw
say how good it is, beside the anchors with the same seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sweep.cells.search.quantities import Measured
    from sweep.settings.study import StudyConfig
    from sweep.settings.trial import TrialConfig


@dataclass(frozen=True, slots=True)
class Candidate:
    """A finished, feasible trial.

    Attributes:
        key: Of its cell.
        values: One per objective, turned so that more is better.
    """

    key: str
    values: tuple[Measured, ...]


def rank(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Best first: by Pareto front, within one by the first objective, the earlier of equals."""
    left = list(candidates)
    ranked: list[Candidate] = []
    while left:
        first = front(left)
        ranked += sorted(first, key=lambda c: -c.values[0].value)
        left = [c for c in left if c not in first]
    return ranked


def front(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that none beats on every objective."""
    every = list(candidates)
    return [c for c in every if not any(_dominates(other, c) for other in every)]


def _dominates(one: Candidate, two: Candidate) -> bool:
    pairs = [(a.value, b.value) for a, b in zip(one.values, two.values, strict=True)]
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


def promising(candidates: Iterable[Candidate], most: int, *, least: int = 1) -> list[Candidate]:
    """The best, less those that are surely worse than another one.

    Surely worse: the upper confidence bound lies below the other's lower bound, on every
    objective.

    Args:
        candidates: In the order of the search.
        most: So many at most.
        least: The first ones, which stay whatever their bounds: those that will be confirmed.
    """
    best = rank(candidates)[:most]
    return best[:least] + [c for c in best[least:] if not any(_beats(other, c) for other in best)]


def _beats(one: Candidate, two: Candidate) -> bool:
    return all(a.low > b.high for a, b in zip(one.values, two.values, strict=True))


def at_full(config: TrialConfig) -> TrialConfig:
    """The same cell with every clip tested and nothing to choose by; its training is the same."""
    every: dict[str, Any] = {
        "fidelity": "full",
        "clips_per_cell": None,
        "on_validation": [],
        "each_validation": False,
    }
    full = config.evaluate.model_copy(update=every)
    return config.model_copy(update={"evaluate": full})


def fresh_seeds(study: StudyConfig) -> list[int]:
    """Seeds that no trial of the search has."""
    assert study.search.confirm is not None
    first = max(study.seed_list) + 1
    return list(range(first, first + study.search.confirm.seeds))


def at_full_fidelity(sources: Iterable[TrialConfig]) -> list[tuple[TrialConfig, TrialConfig]]:
    """Every cell, once, with its twin whose clips are all tested."""
    distinct = {source.key: source for source in sources}
    return [(source, at_full(source)) for source in distinct.values()]


def with_fresh_seeds(
    winners: Sequence[TrialConfig], anchors: Sequence[TrialConfig], study: StudyConfig
) -> list[tuple[TrialConfig, TrialConfig]]:
    """Winners and anchors, once per fresh seed and at full fidelity; nothing without a winner."""
    if not winners:
        return []
    distinct = {source.key: source for source in (*anchors, *winners)}
    return [
        (source, at_full(source).model_copy(update={"seed": seed}))
        for seed in fresh_seeds(study)
        for source in distinct.values()
    ]


def most_promoted(study: StudyConfig, anchors: Sequence[TrialConfig]) -> list[TrialConfig]:
    """The cells that a search adds at its end, at most, each winner as large as one can be.

    Args:
        study: With its `search` section.
        anchors: Planned cells over all seeds; not empty.
    """
    settings = study.search
    largest = max(anchors, key=lambda trial: len(trial.losses))
    finals: list[TrialConfig] = []
    if study.evaluate.fidelity != "full":
        finals = [at_full(trial) for trial in (*anchors, *[largest] * settings.finalists)]
    if settings.confirm is None:
        return finals
    first = [trial for trial in anchors if trial.seed == study.seed_list[0]]
    return finals + [
        at_full(trial).model_copy(update={"seed": seed})
        for seed in fresh_seeds(study)
        for trial in (*first, *[largest] * settings.confirm.best)
    ]

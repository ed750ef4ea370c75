"""The dimensions of a search space, and what may be one."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from itertools import chain, combinations
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ValidationError

from losses.catalogue import LOSSES
from losses.combine.catalogue import COMBINERS
from losses.knob_ranges import KnobRange
from sweep.data.catalogue import DATASETS
from sweep.records.patterns import matching
from sweep.settings.names import nearest
from sweep.settings.section import ConfigError, known, searchable
from sweep.settings.train import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from losses.catalogue import LossSpec
    from losses.combine.catalogue import CombinerSpec
    from sweep.settings.search import RangeSettings, Scalar
    from sweep.settings.study import StudyConfig

#: Above so many losses, `membership: size` would need too many subsets per size.
MOST_LOSSES_BY_SIZE = 6


#: Seeds before a race may drop a proposal; fewer have no spread (``statistics.racing``).
FEWEST_SEEDS = 2
#: Measures of a loss set that its weights do not change.
OF_MEMBERS = ("losses", "families", "catalogue_distance", "family_entropy")
#: With more losses than this, sets are not tried one by one before the search.
MOST_LOSSES_TRIED = 10
#: A factor of a loss; 0 would be the loss switched off.
WEIGHTS = KnobRange(1e-6, 1e6, log=True)
#: A quantity that is no accuracy: clips forwarded by training and tests.
CLIPS = "clips"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """A resolved entry of ``search.space``.

    Attributes:
        path: As in the study; also the name of Optuna's parameter.
        part: `losses`, `combiners` or `train`.
        owner: Loss or combiner; "" for the recipe.
        knob: Name of the knob, `weight`, or key of the recipe (`lr`, `views.noise_b`).
        low: Smallest value; None with choices.
        high: Largest value.
        log: Equal ratios.
        step: Grid of a linear range.
        integer: Whole numbers only.
        choices: Values instead of a range.
    """

    path: str
    part: Literal["losses", "combiners", "train"]
    owner: str = ""
    knob: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = None
    integer: bool = False
    choices: tuple[Scalar, ...] | None = None


def dimensions(study: StudyConfig) -> tuple[Dimension, ...]:
    """The resolved ``search.space``, in the order of the paths.

    Raises:
        ValueError: for an unknown path, or values outside of what is allowed; says which.
    """
    return tuple(_dimension(study, path, study.search.space[path]) for path in _paths(study))


def _paths(study: StudyConfig) -> list[str]:
    return sorted(study.search.space)


def _dimension(study: StudyConfig, path: str, given: RangeSettings) -> Dimension:
    part, _, rest = path.partition(".")
    where = f"search.space.{path}"
    if part == "losses":
        owner, _, knob = rest.partition(".")
        known(owner, study.losses, where, "loss of this study")
        if knob == "weight":
            if not any(COMBINERS[name].uses_weights for name in study.combiners):
                able = ", ".join(n for n, row in COMBINERS.items() if row.uses_weights)
                raise ValueError(
                    f"{where}: no combiner of this study uses weights (those that do: {able})"
                )
            return _resolved(path, "losses", owner, knob, given, WEIGHTS, 1.0)
        head, _, name = knob.partition(".")
        if head != "knobs" or not name:
            raise ValueError(f"{where}: expected losses.{owner}.weight or losses.{owner}.knobs.X")
        return _knob_dimension(path, "losses", LOSSES[owner], name, given)
    if part == "combiners":
        owner, _, name = rest.partition(".")
        known(owner, study.combiners, where, "combiner of this study")
        if name == "holdout_share":
            raise ValueError(
                f"{where}: the same in every trial, or trials would not train on the same clips; "
                f"set combiners.{owner}.holdout_share"
            )
        return _knob_dimension(path, "combiners", COMBINERS[owner], name, given)
    if part == "train":
        return _train_dimension(study, path, rest, given)
    raise ValueError(
        f"{where}: expected losses.NAME.weight, losses.NAME.knobs.KNOB, combiners.NAME.KNOB or "
        f"train.KEY{nearest(part, ('losses', 'combiners', 'train'))}"
    )


def _knob_dimension(
    path: str,
    part: Literal["losses", "combiners"],
    row: LossSpec | CombinerSpec,
    knob: str,
    given: RangeSettings,
) -> Dimension:
    where = f"search.space.{path}"
    known(knob, row.knobs, where, "knob")
    limits = row.ranges.get(knob)
    return _resolved(path, part, row.name, knob, given, limits, row.knobs[knob])


def _train_dimension(study: StudyConfig, path: str, key: str, given: RangeSettings) -> Dimension:
    where = f"search.space.{path}"
    free = searchable(TrainSettings)
    recipe = dict(_leaves(study.train))
    allowed = {name: value for name, value in recipe.items() if name in free}
    if key in recipe and key not in free:  # the budget, in which early stopping counts, and places
        raise ValueError(
            f"{where}: {key} is the same in every trial (searchable: {', '.join(allowed)})"
        )
    known(key, allowed, where, "key of the recipe")
    found = _resolved(path, "train", "", key, given, None, allowed[key])
    for value in found.choices or (found.low, found.high):
        try:
            with_train(study, {key: value})
        except ValidationError as error:
            raise ValueError(f"{where}: {value!r}: {error.errors()[0]['msg']}") from None
    return found


def _leaves(settings: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def with_train(study: StudyConfig, changes: Mapping[str, Any]) -> StudyConfig:
    """The study with other values at dotted keys of `train`, validated.

    Raises:
        ValidationError: for a value that `train` does not allow.
    """
    content = study.train.model_dump()
    for key, value in changes.items():
        *outer, last = key.split(".")
        inner = content
        for name in outer:
            inner = inner[name]
        inner[last] = value
    return study.model_copy(update={"train": type(study.train).model_validate(content)})


def _resolved(
    path: str,
    part: Literal["losses", "combiners", "train"],
    owner: str,
    knob: str,
    given: RangeSettings,
    limits: KnobRange | None,
    default: Any,
) -> Dimension:
    where = f"search.space.{path}"
    about: dict[str, Any] = {"path": path, "part": part, "owner": owner, "knob": knob}
    if given.choices is not None:
        if given.low is not None or given.high is not None or given.step is not None:
            raise ValueError(f"{where}: either choices or a range")
        values = tuple(dict.fromkeys(given.choices))
        if len(values) < 2:
            raise ValueError(f"{where}: two different choices at least, given {given.choices}")
        for value in values:
            _check_choice(where, value, limits, default)
        return Dimension(**about, choices=values)
    number = isinstance(default, (int, float)) and not isinstance(default, bool)
    if not number and limits is None:
        raise ValueError(f"{where}: no number (default {default!r}): give a list of choices")
    integer = isinstance(limits.low if limits else default, int)
    low, high = given.low, given.high
    if limits is not None:
        low = limits.low if low is None else low
        high = limits.high if high is None else high
    if low is None or high is None:
        of_row = f", or the row of {owner} a range in `ranges`" if owner else ""
        raise ValueError(f"{where}: nothing says what to try: give low and high{of_row}")
    log = given.log
    if log is None:  # a grid is linear unless told otherwise
        log = limits is not None and limits.log and given.step is None and low > 0
    if limits is not None and not limits.low <= low <= high <= limits.high:
        raise ValueError(
            f"{where}: allowed are {limits.low:g} to {limits.high:g}, given {low:g} to {high:g}"
        )
    if low >= high:
        raise ValueError(f"{where}: low must be below high, given {low:g} and {high:g}")
    if log and low <= 0:
        raise ValueError(f"{where}: log needs low above 0, given {low:g}")
    if log and given.step is not None:
        raise ValueError(f"{where}: either log or step")
    if integer and any(v is not None and v != int(v) for v in (low, high, given.step)):
        raise ValueError(f"{where}: whole numbers only, given {low:g} to {high:g}")
    return Dimension(**about, low=low, high=high, log=log, step=given.step, integer=integer)


def _check_choice(where: str, value: Scalar, limits: KnobRange | None, default: Any) -> None:
    if value is None:
        if default is not None:
            raise ValueError(f"{where}: null is no value of it (default {default!r})")
        return
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if limits is not None:
        if not is_number or not limits.low <= float(value) <= limits.high:
            raise ValueError(
                f"{where}: allowed are {limits.low:g} to {limits.high:g}, given {value!r}"
            )
        if isinstance(limits.low, int) and float(value) != int(value):
            raise ValueError(f"{where}: whole numbers only, given {value!r}")
    elif isinstance(default, (bool, str)) and type(value) is not type(default):
        raise ValueError(f"{where}: {type(default).__name__} expected, given {value!r}")
    elif isinstance(default, (int, float)) and not is_number:
        raise ValueError(f"{where}: a number expected, given {value!r}")
    elif default is not None and not isinstance(default, (bool, int, float, str)):
        raise ValueError(f"{where}: cannot be searched (default {default!r})")


def check(study: StudyConfig) -> None:
    """Refuse a search whose names, ranges or sampler do not fit the study.

    Raises:
        ValueError: with the key, what was given and what is allowed.
    """
    settings = study.search
    found = dimensions(study)
    allowed = [*study.outcomes, CLIPS, *set_measure_names()]
    for name in settings.objectives:
        known(name.removeprefix("-"), allowed, "search.objective", "quantity")
    names = [name.removeprefix("-") for name in settings.objectives]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"search.objective: each once, given {settings.objectives}")
    for name, bounds in settings.constraints.items():
        known(name, allowed, "search.constraints", "quantity")
        if bounds.low is None and bounds.high is None:
            raise ValueError(f"search.constraints.{name}: give low, high or both")
        if bounds.low is not None and bounds.high is not None and bounds.low > bounds.high:
            raise ValueError(
                f"search.constraints.{name}: low {bounds.low:g} is above high {bounds.high:g}"
            )
    if settings.weight_range is not None and settings.weight_range[0] >= settings.weight_range[1]:
        raise ValueError(f"search.weight_range: rising, given {settings.weight_range}")
    _check_seeds(study)
    check_objectives(study, DATASETS[study.data.dataset].shifts)
    _check_membership(study)
    _check_satisfiable(study)
    _check_sampler(study, found)


def measured(study: StudyConfig) -> list[str]:
    """Outcomes that objectives and constraints of a search are made of, each once."""
    names = (*study.search.objectives, *study.search.constraints)
    stripped = (name.removeprefix("-") for name in names)
    return [name for name in dict.fromkeys(stripped) if name in study.outcomes]


def check_objectives(study: StudyConfig, shifts: Iterable[str]) -> None:
    """Refuse a choice by validation clips where there are none, or that asks for a shift.

    Args:
        study: With its `search` section.
        shifts: Shifted test sets that the data has.

    Raises:
        ConfigError: with the outcome, the shifts in it, and what may be given instead.
    """
    if study.search.objective_on == "test":
        return
    own = DATASETS[study.data.dataset].validation
    if not study.data.validation_share and not own:
        raise ConfigError(
            "search.objective_on: 'validation' needs clips to choose by, and data.validation_share "
            "is 0: give a share, such as .1, or search.objective_on=test, by which the tests that "
            "are reported choose"
        )
    shifts = list(shifts)
    clean = [n for n, patterns in study.outcomes.items() if not _shifts_in(patterns, shifts)]
    for name in measured(study):
        found = _shifts_in(study.outcomes[name], shifts)
        if found:
            raise ConfigError(
                f"search: '{name}' holds the shifts {', '.join(found)}, which are test sets: no "
                "validation clip stands for them. Choose by an outcome of clean or perturbed clips "
                f"({', '.join(clean) or 'none is declared'}), or by the tests that are reported: "
                "search.objective_on=test"
            )


def _shifts_in(patterns: Sequence[str], shifts: Sequence[str]) -> list[str]:
    """Shifts that an outcome is made of."""
    return [name.rpartition(":")[2] for name in matching(shifts, patterns)]


def set_measure_names() -> tuple[str, ...]:
    """Measures of a set of losses that are known before training."""
    from losses.diversity import set_measures

    return tuple(set_measures(()))


def _check_seeds(study: StudyConfig) -> None:
    count, there = study.search.seeds, len(study.seed_list)
    if count > there:
        raise ValueError(
            f"search.seeds: {count} given, and the study has {there}: they are the first of "
            f"`seeds`; give seeds={count}"
        )
    if study.search.race and count <= FEWEST_SEEDS:
        raise ValueError(
            f"search.race: a proposal is dropped after {FEWEST_SEEDS} seeds at the earliest, and "
            f"before its last: give search.seeds={FEWEST_SEEDS + 1} or more (given {count})"
        )


def _check_membership(study: StudyConfig) -> None:
    settings, count = study.search, len(study.losses)
    if settings.membership == "size" and count > MOST_LOSSES_BY_SIZE:
        raise ValueError(
            f"search.membership: `size` is for up to {MOST_LOSSES_BY_SIZE} losses, this study has "
            f"{count}; use `binary`"
        )
    most = settings.max_losses
    if settings.membership == "fixed" and most is not None and most < count:
        raise ValueError(
            f"search.membership: `fixed` keeps all {count} losses on, search.max_losses is {most}"
        )


def _check_satisfiable(study: StudyConfig) -> None:
    """Some loss set of the space keeps the bounds on what follows from its losses alone."""
    bounds = {n: one for n, one in study.search.constraints.items() if n in OF_MEMBERS}
    names = sorted(study.losses)
    if not bounds or len(names) > MOST_LOSSES_TRIED:
        return
    if study.search.membership == "fixed":
        sizes = [len(names)]
    else:
        most = study.search.max_losses
        sizes = list(range((len(names) if most is None else min(most, len(names))) + 1))
    reached: dict[str, list[float]] = {name: [] for name in bounds}
    for subset in chain.from_iterable(combinations(names, size) for size in sizes):
        values = _members_measured(subset)
        inside = [
            (one.low is None or values[name] >= one.low)
            and (one.high is None or values[name] <= one.high)
            for name, one in bounds.items()
        ]
        if all(inside):
            return
        for name in bounds:
            reached[name].append(values[name])
    told = "; ".join(
        f"search.constraints.{name}: {_interval(one.low, one.high)} wanted, sets of this study "
        f"reach {min(reached[name]):g} to {max(reached[name]):g}"
        for name, one in bounds.items()
    )
    raise ValueError(f"no loss set keeps the constraints: {told}")


def _members_measured(names: Sequence[str]) -> dict[str, float]:
    from losses.diversity import set_measures

    return set_measures(names)


def _interval(low: float | None, high: float | None) -> str:
    if low is None:
        return f"at most {high:g}"
    return f"at least {low:g}" if high is None else f"{low:g} to {high:g}"


def _check_sampler(study: StudyConfig, found: Sequence[Dimension]) -> None:
    settings = study.search
    if settings.sampler == "cmaes":
        if importlib.util.find_spec("cmaes") is None:
            raise ValueError(
                "search.sampler: cmaes needs the package cmaes: pip install 'auxsweep[cmaes]'"
            )
        choices = [d.path for d in found if d.choices is not None]
        if settings.membership != "fixed" or len(study.combiners) > 1 or choices:
            raise ValueError(
                "search.sampler: cmaes knows numbers only: membership `fixed`, one combiner, no "
                f"lists of choices{' (' + ', '.join(choices) + ')' if choices else ''}"
            )
        if len(settings.objectives) > 1:
            raise ValueError("search.sampler: cmaes knows one objective only; use tpe or nsga2")
    if settings.sampler == "brute_force":
        endless = [d.path for d in found if d.choices is None and not d.integer and not d.step]
        if "static" in study.combiners and settings.weight_range is not None:
            endless.append("search.weight_range")
        if endless:
            raise ValueError(
                "search.sampler: brute_force needs finitely many values: give choices or a step "
                f"(or null) for {', '.join(endless)}"
            )

"""Settings of a search: what is tried, by which sampler, for how long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import field_validator

from sweep.settings.section import Positive, Section, Share, setting

Scalar = bool | int | float | str | None
SamplerName = Literal[
    "tpe", "tpe_group", "tpe_independent", "random", "gp", "nsga2", "nsga3", "cmaes", "qmc",
    "brute_force",
]  # fmt: skip


class RangeSettings(Section):
    """One dimension; without `low` and `high` the whole range that is allowed."""

    low: float | None = setting(None, description="smallest value")
    high: float | None = setting(None, description="largest value")
    log: bool | None = setting(None, description="equal ratios; default: as the knob's own range")
    step: float | None = setting(None, gt=0, description="grid of a linear range")
    choices: list[Scalar] | None = setting(None, description="these values instead of a range")


class BoundSettings(Section):
    """A constraint on a quantity."""

    low: float | None = setting(None)
    high: float | None = setting(None)


class ConfirmSettings(Section):
    """The winners again, with seeds that the search never saw."""

    best: int = setting(3, ge=1, description="how many winners")
    seeds: int = setting(3, ge=1, description="how many fresh seeds, for winners and anchors alike")


class SearchSettings(Section):
    """`design.kind: search`: Optuna over membership, weights, knobs, combiner and recipe."""

    trials: int = setting(24, ge=1)
    objective: str | list[str] = setting(
        "clean",
        description="outcome to maximise; several = Pareto front; `-clips` minimises, and measures "
        "of the loss set (losses, families, family_entropy, ...) may stand here too",
    )
    objective_on: Literal["validation", "test"] = setting(
        "validation",
        description="clips that objectives and constraints are measured on. Shifts are test sets: "
        "an objective that holds one needs `test`, and its winners are then chosen by the very "
        "clips that are reported",
    )
    seeds: int = setting(
        1,
        ge=1,
        description="a proposal is judged by its mean over so many seeds, the first ones of the "
        "study, the same for every proposal",
    )
    race: bool = setting(
        False,
        description="seeds of a proposal run one after the other, and it is dropped once it is "
        "clearly worse than the best one on the seeds of both (paired t, 5 % per race)",
    )
    sampler: SamplerName = setting("tpe")
    seed: int = setting(0, ge=0)
    membership: Literal["binary", "size", "fixed"] = setting(
        "binary",
        description="binary: each loss on or off; size: first how many, then which (at most 6 "
        "losses); fixed: all losses are on",
    )
    weight_range: tuple[Positive, Positive] | None = setting(
        (1e-2, 10.0), description="weight of every loss under `static`; null = not searched"
    )
    max_losses: int | None = setting(None, ge=0)
    space: dict[str, RangeSettings] = setting(
        default_factory=dict,
        description="dotted path (losses.NAME.weight, losses.NAME.knobs.KNOB, combiners.NAME.KNOB, "
        "train.KEY) -> {low, high, log, step}, a list of choices, or true",
    )
    constraints: dict[str, BoundSettings] = setting(
        default_factory=dict,
        description="outcome, `clips` or measure of the loss set -> {low, high}",
    )
    early_stopping: bool | None = setting(
        None,
        description="successive halving, every train.validate_every steps (0 = ten times per "
        "trial): on clean validation accuracy, with several objectives on all of them (by Pareto "
        "rank, then crowding); default: on for one objective, off for several",
    )
    grace: Share = setting(0.5, description="share of the steps that every trial gets")
    reduction: int = setting(3, ge=2)
    finalists: int = setting(
        5, ge=1, description="trials tested at `probe` or `screen`: so many are tested at `full`"
    )
    confirm: ConfirmSettings | None = setting(
        default_factory=ConfirmSettings, description="null = the winners are not run again"
    )
    journal: bool = setting(
        False, role="place", description="keep optuna.log, which optuna-dashboard reads"
    )

    @field_validator("space", mode="before")
    @classmethod
    def _flatten(cls, value: Any) -> Any:
        return dict(flat(value)) if isinstance(value, Mapping) else value

    @field_validator("objective", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return value[0] if isinstance(value, list) and len(value) == 1 else value

    @property
    def objectives(self) -> list[str]:
        """Names with their sign, at least one."""
        return [self.objective] if isinstance(self.objective, str) else list(self.objective)


def flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted path -> range, whether the YAML nests or dots."""
    for key, value in content.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and not {"low", "high", "choices"} & set(value):
            yield from flat(value, f"{path}.")
        elif isinstance(value, list):
            yield path, {"choices": [number(item) for item in value]}
        elif value is True:
            yield path, {}
        elif value is not None and value is not False:
            yield path, value


def number(value: Any) -> Any:
    """YAML 1.1 reads 1e-3 as text."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value

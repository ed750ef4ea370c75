"""`--budget 8gpuh`: the highest fidelity that fits, or why none does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweep.settings.budget import NAMES, Budget, Unit, parse_budget
from sweep.settings.section import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sweep.settings.study import StudyConfig

#: From the dearest to the cheapest.
FIDELITIES = ("full", "screen", "probe")


def parse(text: str) -> Budget:
    """The value of `--budget`; see ``sweep.settings.budget``.

    Raises:
        ConfigError: if it is none.
    """
    try:
        return parse_budget(text)
    except ValueError as error:
        raise ConfigError(f"--budget {error}") from None


@dataclass(frozen=True)
class Choice:
    """Which fidelity fits.

    Attributes:
        study: The study at the chosen fidelity; None if none fits.
        fidelity: Its name, or the cheapest one.
        costs: Fidelity -> cost in the unit of the budget, as far as they were looked at.
    """

    study: StudyConfig | None
    fidelity: str
    costs: dict[str, float]

    @property
    def smallest(self) -> float:
        """The smallest budget that would do."""
        return min(self.costs.values())


def choose(study: StudyConfig, budget: Budget, cost: Callable[[StudyConfig], float]) -> Choice:
    """The dearest fidelity, from that of the study downwards, whose cost is within the budget.

    Args:
        study: As given.
        budget: The limit.
        cost: Cost of a study in the unit of the budget.
    """
    costs: dict[str, float] = {}
    name: str = study.evaluate.fidelity
    for name in FIDELITIES[FIDELITIES.index(study.evaluate.fidelity) :]:
        candidate = at_fidelity(study, name)
        costs[name] = cost(candidate)
        if costs[name] <= budget.amount:
            return Choice(candidate, name, costs)
    return Choice(None, name, costs)


def at_fidelity(study: StudyConfig, fidelity: str) -> StudyConfig:
    """The study at another fidelity; clips per cell are its own where it was given at this one."""
    if fidelity == study.evaluate.fidelity:
        return study
    tests = study.evaluate.model_copy(update={"fidelity": fidelity, "clips_per_cell": None})
    return study.model_copy(update={"evaluate": tests})


def refusal(choice: Choice, budget: Budget, kept: Sequence[str]) -> str:
    """Why no fidelity fits, and what would."""
    listed = ", ".join(f"{name} {value:.3g}" for name, value in choice.costs.items())
    return (
        f"over budget: {budget} given, the study takes {listed} {NAMES[budget.unit]}. The smallest "
        f"budget that works is {_ceiling(choice.smallest, budget.unit)} (fidelity "
        f"{min(choice.costs, key=lambda n: choice.costs[n])}); or take fewer {', '.join(kept)}"
    )


def _ceiling(value: float, unit: Unit) -> str:
    """Rounded up to two digits, as it is given on the command line."""
    import math

    if unit == "h" and value < 1:
        return f"{math.ceil(value * 60)}min"
    if value <= 0:
        return f"0{unit}"
    digits = 1 - math.floor(math.log10(value))
    return f"{math.ceil(value * 10**digits) / 10**digits:g}{unit}"

"""The conditions that a trained model is tested under, spelled out from the settings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from perturb.catalogue import PERTURBATIONS, PROFILES
from sweep import fidelity
from sweep.config import ConfigError, EvaluateSettings, nearest

#: Order-destroying controls: a task that needs time order must fail on them.
TEMPORAL_CHECKS = ("frame_shuffle", "reversal")
#: Perturbed clips above this many bytes per condition are made on the fly, not stored.
MAX_STORED_BYTES = 512 * 2**20


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition.

    Attributes:
        name: `clean`, a shift, or `<perturbation>/<severity>`.
        clips: Clip set that is tested: `clean` or the shift.
        perturbation: "" for the clips as they are.
        severity: 0 without perturbation.
        category: `clean`, `shift` or the perturbation's category.
    """

    name: str
    clips: str
    perturbation: str
    severity: int
    category: str


def ladder(settings: EvaluateSettings) -> str:
    """Name of the severity table in force."""
    if settings.ladder is not None:
        return settings.ladder
    if settings.profile is not None:
        return PROFILES[settings.profile].ladder
    return "paper_fixed"


def conditions(settings: EvaluateSettings, shifts: Iterable[str]) -> list[Condition]:
    """Clean first, then the shifts, then perturbations by catalogue order and severity.

    Args:
        settings: Of the study.
        shifts: Shifted clip sets that the data set has.

    Raises:
        ConfigError: for a shift that the data set does not have.
    """
    available = list(shifts)
    wanted = available if settings.shifts == "all" else list(settings.shifts)
    for name in wanted:
        if name not in available:
            raise ConfigError(
                f"evaluate.shifts: unknown shift '{name}'{nearest(name, available)} "
                f"(this data set has: {', '.join(available) or 'none'})"
            )
    grid: dict[str, Iterable[int]] = {}
    if settings.conditions is not None:
        grid |= settings.conditions
    elif settings.profile is not None:
        grid |= PROFILES[settings.profile].conditions
    if settings.temporal_checks:
        for name in TEMPORAL_CHECKS:
            grid.setdefault(name, (1,))
    rows = [Condition("clean", "clean", "", 0, "clean")]
    rows += [Condition(name, name, "", 0, "shift") for name in wanted]
    for name in PERTURBATIONS:
        for severity in sorted(set(grid.get(name, ()))):
            category = PERTURBATIONS[name].category
            rows.append(Condition(f"{name}/{severity}", "clean", name, severity, category))
    return rows


def clips_per_cell(settings: EvaluateSettings) -> int | None:
    """Clips of every perturbation and severity; None = all of them."""
    if settings.fidelity == "full":
        return None
    return settings.clips_per_cell or fidelity.CLIPS_PER_CELL[settings.fidelity]


def table(
    settings: EvaluateSettings, rows: Sequence[Condition], clips: int
) -> fidelity.Table | None:
    """Which clips each perturbation cell is tested on; None = every cell on all clips.

    Args:
        settings: Of the study; the draw is keyed by its seed.
        rows: All conditions of the study, those that cannot run here included.
        clips: Size of the clean set.
    """
    count = clips_per_cell(settings)
    cells = [row.name for row in rows if row.perturbation]
    if count is None or not cells:
        return None
    return fidelity.draw(
        cells, clips, fidelity=settings.fidelity, per_cell=count, seed=settings.seed
    )

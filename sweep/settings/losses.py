"""Settings of the losses and of what combines them."""

from __future__ import annotations

from typing import Any

from sweep.settings.section import Section, setting


class LossSettings(Section):
    """One auxiliary loss of a study."""

    weight: float | None = setting(None, ge=0, description="factor; None = the loss's default")
    knobs: dict[str, Any] = setting(default_factory=dict, description="hyperparameters by name")


class TrialLoss(Section):
    """One auxiliary loss of a trial: what the study leaves open is filled in."""

    weight: float = setting(ge=0, description="factor")
    knobs: dict[str, Any] = setting(default_factory=dict, description="hyperparameters by name")


class CombinerSettings(Section):
    """How the losses become one number."""

    name: str = setting("static")
    knobs: dict[str, Any] = setting(default_factory=dict)

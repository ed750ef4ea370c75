"""Settings of the losses and of what combines them."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from sweep.settings.section import Section


class LossSettings(Section):
    """One auxiliary loss of a study or trial."""

    weight: float | None = Field(None, ge=0, description="factor; None = the loss's default")
    knobs: dict[str, Any] = Field(default_factory=dict, description="hyperparameters by name")


class CombinerSettings(Section):
    """How the losses become one number."""

    name: str = "static"
    knobs: dict[str, Any] = Field(default_factory=dict)

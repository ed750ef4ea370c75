"""Settings of Weights & Biases."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sweep.settings.section import Section


class TrackSettings(Section):
    """Weights & Biases."""

    wandb: Literal["auto", "offline", "online", "disabled"] = Field(
        "auto", description="auto: $WANDB_MODE, else offline"
    )
    project: str = "auxsweep"
    entity: str | None = None
    tags: list[str] = Field(default_factory=list)

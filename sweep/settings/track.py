"""Settings of Weights & Biases."""

from __future__ import annotations

from typing import Literal

from sweep.settings.section import Section, setting


class TrackSettings(Section):
    """Weights & Biases."""

    wandb: Literal["auto", "offline", "online", "disabled"] = setting(
        "auto", role="place", description="auto: $WANDB_MODE, else offline"
    )
    project: str = setting("auxsweep", role="place")
    entity: str | None = setting(None, role="place")
    tags: list[str] = setting(default_factory=list, role="place")

"""Settings of the model."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from sweep.settings.section import Section


class ModelSettings(Section):
    """Which network is fine-tuned."""

    name: str = "tiny"
    knobs: dict[str, Any] = Field(default_factory=dict)

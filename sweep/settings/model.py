"""Settings of the model."""

from __future__ import annotations

from typing import Any

from sweep.settings.section import Section, setting


class ModelSettings(Section):
    """Which network is fine-tuned."""

    name: str = setting("tiny")
    knobs: dict[str, Any] = setting(default_factory=dict)

"""Settings of the model."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from models.weights import RANDOM
from sweep.settings.section import Section


class ModelSettings(Section):
    """Which network is fine-tuned."""

    name: str = "tiny"
    weights: str = Field(
        RANDOM,
        description="`random`, a checkpoint of the model by name (`list models`), or a file; a "
        "trial holds the digest of the file, too: name#digest",
    )
    knobs: dict[str, Any] = Field(default_factory=dict)

"""Settings of the model."""

from __future__ import annotations

from typing import Any

from models.weights import RANDOM
from sweep.settings.section import Section, Since, setting


class ModelSettings(Section):
    """Which network is fine-tuned."""

    name: str = setting("tiny")
    weights: str = setting(
        RANDOM,
        since=Since(RANDOM),
        description="`random`, a checkpoint of the model by name (`list models`), or a file; a "
        "trial holds the digest of the file, too: name#digest",
    )
    knobs: dict[str, Any] = setting(default_factory=dict)

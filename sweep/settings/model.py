"""Settings of the model."""

from __future__ import annotations

from typing import Any

from models.weights import RANDOM
from sweep.settings.section import Section, Since, setting


class ModelSettings(Section):
    """Which network is fine-tuned."""

    name: str = setting(
        "tiny",
        description="a row of `list models`, hf:<folder or hub name> for any network of "
        "transformers, or timm:<architecture>",
    )
    weights: str = setting(
        RANDOM,
        since=Since(RANDOM),
        description="a checkpoint of the model by name (`list models`), a file or folder, or "
        "`random`; default: the first published one, random for a model that has none. A trial "
        "holds the digest of the file, too: name#digest",
    )
    knobs: dict[str, Any] = setting(default_factory=dict)

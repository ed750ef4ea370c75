"""A cell: one resolved point of a study, as a trial gets it, and its key."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from models.weights import split_digest
from sweep.settings.data import DataSettings
from sweep.settings.evaluate import EvaluateSettings
from sweep.settings.losses import CombinerSettings, TrialLoss
from sweep.settings.model import ModelSettings
from sweep.settings.section import Section, Since, keyed, setting
from sweep.settings.train import TrainSettings

#: Raised by hand when a change of code changes the numbers of a cell; part of every cell key.
CODE_EPOCH = 3
#: A cell above this size carries data that belongs in a file, not in a config.
MAX_TRIAL_JSON_BYTES = 64 * 1024


class TrialConfig(Section):
    """A cell, as the trial that runs it gets it: the only thing that travels to a worker."""

    study: str = setting(role="words")
    label: str = setting(role="words", description="for people, e.g. `all - pixel`")
    primary: str = setting("classification", since=Since("classification"))
    losses: dict[str, TrialLoss] = setting()
    combiner: CombinerSettings = setting()
    model: ModelSettings = setting()
    data: DataSettings = setting()
    fingerprint: str = setting("", description="of the prepared data set")
    train: TrainSettings = setting()
    evaluate: EvaluateSettings = setting()
    seed: int = setting()

    @property
    def key(self) -> str:
        """Content address: 16 hex digits over everything that changes the numbers."""
        content = keyed(type(self), self.model_dump())
        if "weights" in content["model"]:  # by their digest, wherever the file lies
            digest = split_digest(self.model.weights)[1]
            content["model"]["weights"] = digest or self.model.weights
            if digest:  # a folder is its network, too
                content["model"]["name"] = self.model.name.partition(":")[0]
        content["code_epoch"] = CODE_EPOCH
        return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:16]

    @property
    def loss_set(self) -> str:
        """Sorted names joined by `+`, `none` without auxiliary losses."""
        return "+".join(sorted(self.losses)) or "none"


def canonical_json(content: Any) -> str:
    """JSON with sorted keys and no blanks; floats as Python's shortest ``repr``."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)

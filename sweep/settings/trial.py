"""A trial: one resolved point of a study, and its key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from sweep.settings.data import DataSettings
from sweep.settings.evaluate import EvaluateSettings
from sweep.settings.losses import CombinerSettings, LossSettings
from sweep.settings.model import ModelSettings
from sweep.settings.section import Section
from sweep.settings.train import TrainSettings

#: Raised by hand when a change of code changes the numbers of a cell; part of every cell key.
CODE_EPOCH = 3


#: A resolved trial above this size carries data that belongs in a file, not in a config.
MAX_TRIAL_JSON_BYTES = 64 * 1024


#: Settings of views that keys leave out at the default policy, which is older than they are.
MASK_CHOICES = ("mask_policy", "mask_strength", "mask_random")


#: Settings of training that keys leave out where clips are not perturbed.
PERTURB_CHOICES = ("perturb", "perturb_probability")


#: Keys that older records lack, and what they then stood for: left out of cell keys at that value.
ADDED_KEYS: Mapping[str, Mapping[str, Any]] = {
    "": {"primary": "classification"},
    "evaluate": {
        "task": "auto",
        "probe": "linear",
        "captions": "few",
        "joint": "few",
        "joint_severity": 3,
        "captions_per_clip": "first",
    },
}


class TrialConfig(Section):
    """One resolved point: the only thing that travels to a worker."""

    study: str
    label: str = Field(description="for people, e.g. `all - pixel`")
    primary: str = "classification"
    losses: dict[str, LossSettings]
    combiner: CombinerSettings
    model: ModelSettings
    data: DataSettings
    fingerprint: str = Field("", description="of the prepared data set")
    train: TrainSettings
    evaluate: EvaluateSettings
    seed: int

    @property
    def key(self) -> str:
        """Content address: 16 hex digits over everything that changes the numbers."""
        content = self.model_dump(
            exclude={
                "study": True,
                "label": True,
                "data": {"root", "cache_dir", "workers", "max_bad_fraction"},
                "train": {"log_every", "checkpoint_every"},
                "evaluate": {"batch", "keep_perturbed"},
            }
        )
        if self.evaluate.fidelity == "full":  # as before there was a choice
            del content["evaluate"]["fidelity"], content["evaluate"]["clips_per_cell"]
        for section, keys in ADDED_KEYS.items():
            place = content[section] if section else content
            for name, default in keys.items():
                if place[name] == default:
                    del place[name]
        if self.train.views.mask_policy == "random":  # likewise
            for name in MASK_CHOICES:
                del content["train"]["views"][name]
        if self.train.perturb == "none":  # likewise
            for name in PERTURB_CHOICES:
                del content["train"][name]
        content["code_epoch"] = CODE_EPOCH
        return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:16]

    @property
    def loss_set(self) -> str:
        """Sorted names joined by `+`, `none` without auxiliary losses."""
        return "+".join(sorted(self.losses)) or "none"


def canonical_json(content: Any) -> str:
    """JSON with sorted keys and no blanks; floats as Python's shortest ``repr``."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)

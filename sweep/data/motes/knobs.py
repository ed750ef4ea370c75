"""What a set of embedded clips follows from. Imports no numpy."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sweep.settings.data import DataSettings

#: Raise it when any clip or annotation of `motes` changes: old sets are then made anew.
MOTES_VERSION = 1
#: Evaluation sets of `motes` besides the training set: one clean and three shifted ones.
MOTES_EVALUATION_SETS = 4
#: Classes of `motes`, the first one by default; those of `motes-vtt` are the pairs of motions.
MOTES_CLASSES = {"motes-ssv2": (8, 12), "motes-ucf": (8,), "motes-vtt": (4,)}
#: Most clips per class and set: the numbers that the file names hold.
MOTES_MOST = {"motes-ssv2": 1000, "motes-ucf": 200, "motes-vtt": 1000}


@dataclass(frozen=True)
class Knobs:
    """What a set of `motes` follows from.

    Attributes:
        train_per_class: Training clips per class.
        val_per_class: Clips per class of the validation set and of each shift.
        classes: 8, or 12 for `motes-ssv2` with turning and parting objects; 4 for `motes-vtt`.
        resolution: Height and width in pixels, even.
        frames: Frames per clip at 12 fps.
        rho: Probability that the background of a `motes-ucf` clip tells its class.
        noise: Largest absolute pixel noise, 0..127.
        seed: Of all clips and captions.
    """

    train_per_class: int = 48
    val_per_class: int = 15
    classes: int = 8
    resolution: int = 64
    frames: int = 24
    rho: float = 0.5
    noise: int = 6
    seed: int = 0

    @classmethod
    def of(cls, dataset: str, **knobs: int) -> Knobs:
        """Knobs of a set, with its own number of classes unless told otherwise."""
        return cls(**{"classes": MOTES_CLASSES.get(dataset, (8,))[0]} | knobs)  # type: ignore[arg-type]

    @property
    def clips(self) -> int:
        """Number of clips of the set."""
        return self.classes * (self.train_per_class + MOTES_EVALUATION_SETS * self.val_per_class)

    def check(self, dataset: str) -> None:
        """Refuse settings that no set can be made from."""
        most, allowed = MOTES_MOST[dataset], MOTES_CLASSES[dataset]
        limits: Mapping[str, tuple[float, float]] = {
            "train_per_class": (1, most),
            "val_per_class": (1, 250 if dataset == "motes-vtt" else most),
            "resolution": (16, 1024),
            "frames": (8, 1000),
            "rho": (0, 1),
            "noise": (0, 127),
            "seed": (0, 2**63),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{dataset}: {name}={value} is not within {low}..{high}")
        if self.classes not in allowed:
            raise ValueError(f"{dataset}: classes={self.classes}; allowed: {allowed}")
        if self.resolution % 2:
            raise ValueError(f"{dataset}: resolution={self.resolution} must be even (H.264)")

    def key(self, dataset: str) -> str:
        """Twelve hex digits over the version and all knobs."""
        text = json.dumps([MOTES_VERSION, dataset, asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def knobs_of(settings: DataSettings) -> Knobs:
    """The knobs of embedded data that a study asks for."""
    return Knobs.of(
        settings.dataset,
        train_per_class=settings.train_per_class,
        val_per_class=settings.val_per_class,
        seed=settings.seed,
    )

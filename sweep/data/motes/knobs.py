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
MOTES_CLASSES = {
    "motes-ssv2": (8, 12),
    "motes-ucf": (8,),
    "motes-vtt": (4,),
    "motes-howto": (1,),
    "motes-qa": (4,),
    "motes-qa-choice": (4,),
    "motes-mosi": (1,),
}
#: Sets that ask about clips of another one.
MOTES_CLIPS_OF = {"motes-qa": "motes-vtt", "motes-qa-choice": "motes-vtt"}
#: Most clips per class and set: the numbers that the file names hold; 1,000 unless said.
MOTES_MOST = {"motes-ucf": 200}
#: Most clips per class of a test set in which no two may be told alike.
MOTES_MOST_TESTED = {
    "motes-vtt": 250, "motes-qa": 250, "motes-qa-choice": 250, "motes-howto": 20,
}  # fmt: skip
#: Segments of a `motes-howto` video, each of which shows another motion.
SEGMENTS = 8
#: Questions on a `motes-qa` clip.
QUESTIONS = 4
#: Items of a training clip and of a clean test clip, where they are several.
MOTES_ITEMS = {"motes-howto": (1, SEGMENTS), "motes-qa": (QUESTIONS, QUESTIONS)}


@dataclass(frozen=True)
class Knobs:
    """What a set of `motes` follows from.

    Attributes:
        train_per_class: Training clips per class.
        val_per_class: Clips per class of the validation set and of each shift.
        classes: 8, or 12 for `motes-ssv2` with turning and parting objects; 4 for `motes-vtt` and
            the questions on its clips; 1 where clips have no kinds.
        resolution: Height and width in pixels, even.
        frames: Frames per clip at 12 fps; 128 in `motes-howto`.
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
        """Knobs of a set, with its own numbers of classes and frames unless told otherwise."""
        own = {"classes": MOTES_CLASSES.get(dataset, (8,))[0]}
        if dataset == "motes-howto":
            own["frames"] = 16 * SEGMENTS
        return cls(**own | knobs)  # type: ignore[arg-type]

    @property
    def clips(self) -> int:
        """Number of clips of the set."""
        return self.classes * (self.train_per_class + MOTES_EVALUATION_SETS * self.val_per_class)

    def items(self, dataset: str) -> tuple[int, int]:
        """Number of items of the training set and of the clean test set."""
        trained, tested = MOTES_ITEMS.get(dataset, (1, 1))
        return (
            trained * self.classes * self.train_per_class,
            tested * self.classes * self.val_per_class,
        )

    def check(self, dataset: str) -> None:
        """Refuse settings that no set can be made from."""
        most, allowed = MOTES_MOST.get(dataset, 1000), MOTES_CLASSES[dataset]
        segments = SEGMENTS if dataset == "motes-howto" else 1
        limits: Mapping[str, tuple[float, float]] = {
            "train_per_class": (1, most),
            "val_per_class": (1, MOTES_MOST_TESTED.get(dataset, most)),
            "resolution": (16, 1024),
            "frames": (8 * segments, 1000),
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
        if self.frames % segments:
            raise ValueError(f"{dataset}: frames={self.frames} must be a multiple of {segments}")
        if self.resolution % 2:
            raise ValueError(f"{dataset}: resolution={self.resolution} must be even (H.264)")

    def key(self, dataset: str) -> str:
        """Twelve hex digits over the version and all knobs."""
        text = json.dumps([MOTES_VERSION, dataset, asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def knobs_of(settings: DataSettings) -> Knobs:
    """The knobs of embedded data that a study asks for.

    Raises:
        ValueError: An option that is a knob is no whole number.
    """
    options = {}
    for name in ("classes", "resolution"):
        if name in settings.options:
            value = settings.options[name]
            if not isinstance(value, int) or isinstance(value, bool):
                raise ValueError(f"data.options.{name}: a whole number, given {value!r}")
            options[name] = value
    return Knobs.of(
        settings.dataset,
        train_per_class=settings.train_per_class,
        val_per_class=settings.val_per_class,
        seed=settings.seed,
        **options,
    )

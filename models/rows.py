"""What a row of the catalogue says of a model, its heads and sizes (imports no torch)."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.clip_format import ClipFormat
    from models.weights_spec import WeightsSpec

TEXT_FEATURES = frozenset({"text_embed", "text_tokens"})
"""Features of a text tower: they exist only in a model built with ``words``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadSpec:
    """One head: what it reads and gives.

    Attributes:
        name: Unique name.
        part: What the head is called in a model; its random stream and its weights bear this name.
        reads: A feature of the trunk.
        gives: The feature that it makes of it.
        outputs: How many numbers that are, or what of the data tells it: `classes`, `words` (the
            size of the vocabulary).
        target: ``module:attribute`` of a class with the arguments of ``nn.Linear``.
    """

    name: str
    part: str
    reads: str
    gives: str
    outputs: int | Literal["classes", "words"]
    target: str


HEADS: Mapping[str, HeadSpec] = MappingProxyType(
    {
        "classes": HeadSpec(
            name="classes",
            part="classifier",
            reads="video",
            gives="logits",
            outputs="classes",
            target="models.heads:Classes",
        ),
        "joint": HeadSpec(
            name="joint",
            part="projection",
            reads="video",
            gives="video_embed",
            outputs=64,
            target="models.heads:Joint",
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Which numbers a model takes: ``least`` to ``most``, multiples of ``multiple``."""

    least: int = 1
    multiple: int = 1
    most: int | None = None

    def takes(self, number: int) -> bool:
        """Whether ``number`` is one of them."""
        in_range = self.least <= number and (self.most is None or number <= self.most)
        return in_range and number % self.multiple == 0

    def nearest(self, number: int) -> int:
        """The one nearest to ``number``, the smaller of two."""
        high = number if self.most is None else min(number, self.most)
        below = max(self.least, high // self.multiple * self.multiple)
        above = below + self.multiple
        return above if self.takes(above) and above - number < abs(number - below) else below

    def __str__(self) -> str:
        if self.least == self.most:
            return str(self.least)
        limits = f"at least {self.least}"
        limits += f", at most {self.most}" if self.most is not None else ""
        return limits if self.multiple == 1 else f"a multiple of {self.multiple}, {limits}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One architecture: what it takes, which features it provides, which checkpoints it has.

    Attributes:
        name: Unique name, as written in a study.
        provides: Names of the features of trunk and text tower, without view suffix; what heads
            make of them comes with the heads.
        clip: Clips of a model with random weights; a checkpoint has its own.
        sizes_px: Heights and widths that its layers take.
        frames: Numbers of frames that its layers take.
        relaxed: Knob that can be true -> which of `frames` and `size_px` it then takes.
        tables: Which of `frames` and `size_px` its weights are made for (position tables): with a
            checkpoint these are the checkpoint's.
        parameters: How many parameters, in words.
        sizes: What else the class of the trunk is called with: this makes the row one architecture
            of several, and no study sets it. A checkpoint may have others.
        knobs: Settings of a study and their defaults; ``frames`` is that of the clip.
        choices: Every value of a knob that is a word.
        text: ``module:attribute`` of the text tower, called with ``words=``; empty = none.
        tokenizer: ``module:attribute`` of what makes the numbers that its tower was trained with,
            called without arguments; empty = the words of the training captions.
        weights: Published checkpoints; the first one is what a study without `weights` loads.
        package: What must be installed for it, beside what always is; empty = nothing.
        extra: The extra of this project that brings it.
        source: Where the architecture is published.
        target: ``module:attribute`` of the trunk, called with ``clip=``, sizes and other knobs.
        description: One line for people.
    """

    name: str
    provides: frozenset[str]
    clip: ClipFormat
    sizes_px: Sizes = field(default_factory=Sizes)
    frames: Sizes = field(default_factory=Sizes)
    relaxed: Mapping[str, Mapping[str, Sizes]] = field(default_factory=dict)
    tables: frozenset[str] = frozenset()
    parameters: str
    sizes: Mapping[str, Any] = field(default_factory=dict)
    knobs: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    text: str = ""
    tokenizer: str = ""
    weights: tuple[WeightsSpec, ...] = ()
    package: str = ""
    extra: str = ""
    source: str
    target: str
    description: str

    @property
    def features(self) -> frozenset[str]:
        """What the model can give: features of its parts, and of the heads that read them."""
        heads = (row.gives for row in HEADS.values() if row.reads in self.provides)
        return self.provides.union(heads)

    def load(self) -> Any:
        """The class of the trunk; this imports torch."""
        return load_target(self.target)


def load_target(target: str) -> Any:
    """What ``module:attribute`` names."""
    module, attribute = target.split(":")
    return getattr(importlib.import_module(module), attribute)

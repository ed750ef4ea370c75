"""What is known about every model before any tensor exists (imports no torch)."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from models.clip_format import ClipFormat
from models.names import nearest
from models.weights import RANDOM, WeightsSpec, published

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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
        parameters: How many parameters, in words.
        knobs: Settings of a study and their defaults; ``frames`` is that of the clip.
        choices: Every value of a knob that is a word.
        heads: Row of :data:`HEADS` -> ``module:attribute`` used in place of that row's.
        text: ``module:attribute`` of the text tower, called with ``words=``; empty = none.
        tokenizer: ``module:attribute`` of what makes the numbers that its tower was trained with,
            called without arguments; empty = the words of the training captions.
        weights: Published checkpoints.
        source: Where the architecture is published.
        target: ``module:attribute`` of the trunk, called with ``clip=`` and the other knobs.
        description: One line for people.
    """

    name: str
    provides: frozenset[str]
    clip: ClipFormat
    sizes_px: Sizes = field(default_factory=Sizes)
    frames: Sizes = field(default_factory=Sizes)
    parameters: str
    knobs: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    heads: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    tokenizer: str = ""
    weights: tuple[WeightsSpec, ...] = ()
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


# sizes of the tiny models: patches of 4 px, two halvings, then a grid of 2 x 2
_TINY = ClipFormat(frames=8, size_px=64, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
_KINETICS = ClipFormat(
    frames=16,
    size_px=112,
    mean=(0.43216, 0.394666, 0.37645),
    std=(0.22803, 0.22145, 0.216989),
    crop_share=0.875,
)
_ROWS = (
    ModelSpec(
        name="tiny",
        provides=frozenset({"frames", "video"}) | TEXT_FEATURES,
        clip=_TINY,
        sizes_px=Sizes(least=32, multiple=32),
        parameters="296,904 (video, 8 classes, 8 frames); with text 24,768 + 64 per word more",
        knobs={"frames": 8},
        heads={"classes": "models.heads:RectifiedClasses"},
        text="models.tiny:TextTower",
        source="this project, quickstart study",
        target="models.tiny:VideoTrunk",
        description="small space-time convolution network, trains in seconds on one CPU core",
    ),
    ModelSpec(
        name="tiny_frames",
        provides=frozenset({"frames", "video"}) | TEXT_FEATURES,
        clip=_TINY,
        sizes_px=Sizes(least=32, multiple=32),
        parameters="91,336 (video, 8 classes); with text 24,768 + 64 per word more",
        knobs={"frames": 8},
        heads={"classes": "models.heads:RectifiedClasses"},
        text="models.tiny:TextTower",
        source="this project",
        target="models.tiny_frames:FrameTrunk",
        description="tiny without time: frames are encoded alone and averaged; blind to order",
    ),
    ModelSpec(
        name="r3d_18",
        provides=frozenset({"frames", "video"}),
        clip=_KINETICS,
        sizes_px=Sizes(least=16),
        parameters="33,371,472 (400 classes)",
        knobs={"frames": 16},
        weights=(
            WeightsSpec(
                name="kinetics400",
                file="r3d_18-b3b3357e.pth",
                source="https://download.pytorch.org/models/r3d_18-b3b3357e.pth",
                sha256="b3b3357e",
                clip=_KINETICS,
                licence="BSD-3-Clause (torchvision)",
                rename="models.backbones.torchvision:rename_resnet",
            ),
        ),
        source="arXiv:1711.11248, as in torchvision",
        target="models.backbones.torchvision:ResNet3D",
        description="18-layer residual network of 3x3x3 convolutions; one vector per 8 frames",
    ),
)


def index_by_name(rows: Iterable[ModelSpec]) -> Mapping[str, ModelSpec]:
    """Rows by name, read-only.

    Raises:
        ValueError: Two rows share a name; both targets are named.
    """
    table: dict[str, ModelSpec] = {}
    for row in rows:
        if row.name in table:
            raise ValueError(f"model {row.name!r} twice: {table[row.name].target}, {row.target}")
        table[row.name] = row
    return MappingProxyType(table)


MODELS: Mapping[str, ModelSpec] = index_by_name(_ROWS)


def model(name: str) -> ModelSpec:
    """The row called ``name``.

    Raises:
        ValueError: No such model; the nearest name and all names are given.
    """
    if name in MODELS:
        return MODELS[name]
    raise ValueError(f"unknown model {name!r}{nearest(name, MODELS)} (models: {', '.join(MODELS)})")


def clip_of(
    name: str, *, weights: str = RANDOM, frames: int | None = None, size_px: int | None = None
) -> ClipFormat:
    """Clips that a model takes: its checkpoint's, unless a number says otherwise.

    Args:
        name: A row of the catalogue.
        weights: `random`, a checkpoint of the row, or a file.
        frames: Frames per clip; None = the checkpoint's.
        size_px: Height and width; None = the checkpoint's.
    """
    row = model(name)
    spec = published(row.weights, weights)
    clip = row.clip if spec is None else spec.clip
    return replace(
        clip,
        frames=clip.frames if frames is None else frames,
        size_px=clip.size_px if size_px is None else size_px,
    )


def refusals(name: str, clip: ClipFormat) -> dict[str, str]:
    """Why a model cannot take such clips: `frames` or `size_px` -> message; empty = it can."""
    row = model(name)
    sizes = {
        "frames": (row.frames, clip.frames, "frames per clip"),
        "size_px": (row.sizes_px, clip.size_px, "pixels high and wide"),
    }
    return {
        key: f"{given} given; model {name!r} takes {allowed} {what} "
        f"(nearest: {allowed.nearest(given)})"
        for key, (allowed, given, what) in sizes.items()
        if not allowed.takes(given)
    }


def markdown() -> str:
    """The catalogue as a Markdown table, for the README of this package."""
    lines = [
        "| model | clip | provides | parameters | checkpoints | what it is |",
        "|---|---|---|---|---|---|",
    ]
    for row in MODELS.values():
        provides = ", ".join(f"`{name}`" for name in sorted(row.features))
        clip = f"{row.clip.frames} x {row.clip.size_px} px"
        checkpoints = ", ".join(f"`{spec.name}`" for spec in row.weights) or "none"
        lines.append(
            f"| `{row.name}` | {clip} | {provides} | {row.parameters} | {checkpoints} "
            f"| {row.description} |"
        )
    return "\n".join(lines)

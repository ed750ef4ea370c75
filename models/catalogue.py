"""What is known about every model before any tensor exists (imports no torch)."""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TEXT_FEATURES = frozenset({"video_embed", "text_embed", "text_tokens"})
"""Features that exist only in a model built with ``text=True``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One model: what it takes, which features it provides, where it comes from.

    Attributes:
        name: Unique name, as written in a study.
        provides: Names of the features of one forward, without view suffix.
        frames: Frames per clip by default.
        size_px: Height and width of the clip by default, pixels.
        parameters: How many parameters, in words.
        settings: Keyword arguments of ``models.build`` and their defaults (``...`` = required).
        pretrained: Whether published weights are loaded.
        framewise: Whether frames are encoded alone: temporal perturbations then cost little.
        source: Where the architecture is published.
        target: ``module:attribute``, imported by :meth:`load`.
        description: One line for people.
    """

    name: str
    provides: frozenset[str]
    frames: int
    size_px: int
    parameters: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    pretrained: bool
    framewise: bool = False
    source: str
    target: str
    description: str

    def load(self) -> Any:
        """The class of the model; this imports torch."""
        module, attribute = self.target.split(":")
        return getattr(importlib.import_module(module), attribute)


_ROWS = (
    ModelSpec(
        name="tiny",
        provides=frozenset({"frames", "video", "logits"}) | TEXT_FEATURES,
        frames=8,
        size_px=64,
        parameters="296,904 (video, 8 classes, 8 frames); with text 24,768 + 64 per word more",
        settings={"classes": ..., "frames": 8, "size_px": 64, "vocabulary": 0, "text": False},
        pretrained=False,
        source="this project, quickstart study",
        target="models.tiny:TinyVideoText",
        description="small space-time convolution network, trains in seconds on one CPU core",
    ),
    ModelSpec(
        name="tiny_frames",
        provides=frozenset({"frames", "video", "logits"}) | TEXT_FEATURES,
        frames=8,
        size_px=64,
        parameters="91,336 (video, 8 classes); with text 24,768 + 64 per word more",
        settings={"classes": ..., "frames": 8, "size_px": 64, "vocabulary": 0, "text": False},
        pretrained=False,
        framewise=True,
        source="this project",
        target="models.tiny_frames:TinyFrames",
        description="tiny without time: frames are encoded alone and averaged; blind to order",
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


def nearest(given: str, allowed: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the nearest allowed name, or nothing."""
    near = difflib.get_close_matches(given, list(allowed), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def markdown() -> str:
    """The catalogue as a Markdown table, for the README of this package."""
    lines = [
        "| model | clip | provides | parameters | pretrained | what it is |",
        "|---|---|---|---|---|---|",
    ]
    for row in MODELS.values():
        provides = ", ".join(f"`{name}`" for name in sorted(row.provides))
        clip = f"{row.frames} x {row.size_px} px"
        pretrained = "yes" if row.pretrained else "no"
        lines.append(
            f"| `{row.name}` | {clip} | {provides} | {row.parameters} | {pretrained} "
            f"| {row.description} |"
        )
    return "\n".join(lines)

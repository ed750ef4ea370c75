"""What a row says of one published checkpoint (imports nothing of torch)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.clip_format import ClipFormat

#: Endings of files of weights; what has another one is a folder.
SUFFIXES = frozenset({".pt", ".pth", ".pyth", ".bin", ".ckpt", ".tar", ".safetensors"})


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsSpec:
    """One published checkpoint of an architecture.

    Attributes:
        name: As written in a study.
        file: Name of the file that is looked for, or of a folder that holds one and config.json.
        source: Where it is published.
        sha256: Digest of the file, or its first digits; empty = not published.
        clip: Clips that it was trained on; a folder's own files come first.
        licence: Of the weights.
        rename: ``module:function`` from the file's weights, by name, to ours; empty = as they are.
        sizes: Of the class of the trunk, where they are not those of the row.
        ignored: Regular expressions of names in the file that the model has no use for.
        fresh: Regular expressions of our names that the file lacks: these stay as drawn.
        reading: Tells a second way to read the same file apart; it enters the digest.
    """

    name: str
    file: str
    source: str
    sha256: str = ""
    clip: ClipFormat
    licence: str
    rename: str = ""
    sizes: Mapping[str, Any] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    reading: str = ""

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder, and not a file."""
        return Path(self.file).suffix not in SUFFIXES

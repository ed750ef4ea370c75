"""Checkpoints: which there are, where they are looked for (imports no torch)."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from models.names import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.clip_format import ClipFormat

#: Weights that no file holds: every part is drawn.
RANDOM = "random"
#: Digits of a digest that a trial's settings carry.
DIGITS = 16
SUFFIXES = frozenset({".pt", ".pth", ".pyth", ".bin", ".ckpt", ".tar", ".safetensors"})


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsSpec:
    """One published checkpoint of an architecture.

    Attributes:
        name: As written in a study.
        file: Name of the file that is looked for.
        source: Where it is published.
        sha256: Digest of the file, or its first digits.
        clip: Clips that it was trained on.
        licence: Of the weights.
        rename: ``module:function`` from the file's weights, by name, to ours; empty = as they are.
    """

    name: str
    file: str
    source: str
    sha256: str
    clip: ClipFormat
    licence: str
    rename: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A file that was found.

    Attributes:
        path: The file.
        digest: First digits of its sha256.
        rename: As in :class:`WeightsSpec`.
    """

    path: Path
    digest: str
    rename: str


def folder() -> Path:
    """Where published checkpoints are looked for: `$AUXSWEEP_WEIGHTS`, else in the cache."""
    named = os.environ.get("AUXSWEEP_WEIGHTS") or "~/.cache/auxsweep/weights"
    return Path(named).expanduser().absolute()


def published(rows: Sequence[WeightsSpec], weights: str) -> WeightsSpec | None:
    """The checkpoint that is meant: by its name, or by that of a file.

    A file that has the name of no published one is read like the first. None for random weights,
    or a file where nothing is published.

    Raises:
        ValueError: Neither; the nearest name and all names are given.
    """
    given, _ = split_digest(weights)
    if given == RANDOM:
        return None
    for row in rows:
        if given == row.name or Path(given).name == row.file:
            return row
    if _is_file(given):
        return rows[0] if rows else None
    names = [RANDOM, *(row.name for row in rows)]
    raise ValueError(
        f"unknown weights {given!r}{nearest(given, names)} (weights: {', '.join(names)}, or the "
        "path of a file)"
    )


def find(rows: Sequence[WeightsSpec], weights: str) -> Checkpoint | None:
    """The file behind ``weights``; None for random ones.

    Args:
        rows: Checkpoints of the model.
        weights: `random`, a name, or a path; after a `#` the digest that the file must have.

    Raises:
        ValueError: No such checkpoint, or another file than was asked for.
        FileNotFoundError: It is not there; says what was looked for, and where to put it.
    """
    row = published(rows, weights)
    given, wanted = split_digest(weights)
    if given == RANDOM:
        return None
    named = row is not None and given == row.name
    path = folder() / row.file if row is not None and named else Path(given).expanduser().absolute()
    if not path.is_file():
        if row is not None and named:
            raise FileNotFoundError(
                f"weights {given!r}: looked for {path}; put {row.file} there (from {row.source}), "
                f"set AUXSWEEP_WEIGHTS to its folder, give its path, or use weights: {RANDOM}"
            )
        raise FileNotFoundError(
            f"weights: looked for {path}; put the file there, or use weights: {RANDOM}"
        )
    status = path.stat()
    found = _sha256(path, status.st_mtime_ns, status.st_size)
    if row is not None and named and not found.startswith(row.sha256):
        raise ValueError(
            f"weights {given!r}: {path} has the digest {found[:DIGITS]}, and the published file "
            f"{row.sha256[:DIGITS]}; get it again from {row.source}"
        )
    if not found.startswith(wanted):
        raise ValueError(
            f"weights {given!r}: {path} has the digest {found[:DIGITS]}, and the trial was "
            f"planned with {wanted}: the file changed, or another one lies on this node"
        )
    return Checkpoint(path=path, digest=found[:DIGITS], rename="" if row is None else row.rename)


def pinned(rows: Sequence[WeightsSpec], weights: str) -> str:
    """Weights with the digest of their file, for other folders and machines.

    `name#digest` or `/absolute/path#digest`; random ones as they are.

    Raises:
        ValueError, FileNotFoundError: As :func:`find`.
    """
    found = find(rows, weights)
    if found is None:
        return weights
    given, _ = split_digest(weights)
    named = any(row.name == given for row in rows)
    return f"{given if named else found.path}#{found.digest}"


def split_digest(weights: str) -> tuple[str, str]:
    """Name or path, and the digest behind it or an empty string."""
    given, mark, digest = weights.rpartition("#")
    if mark and len(digest) == DIGITS and not set(digest) - set("0123456789abcdef"):
        return given, digest
    return weights, ""


def _is_file(given: str) -> bool:
    path = Path(given).expanduser()
    return path.suffix in SUFFIXES or path.is_file() or len(path.parts) > 1


@lru_cache(maxsize=32)
def _sha256(path: Path, _changed: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

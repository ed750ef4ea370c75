"""Checkpoints: which there are, where they are looked for (imports no torch)."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from models.folders import described
from models.names import nearest
from models.weights_spec import SUFFIXES, WeightsSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "DIGITS",
    "RANDOM",
    "Checkpoint",
    "WeightsSpec",
    "find",
    "folder",
    "here",
    "is_named",
    "pinned",
    "places",
    "published",
    "split_digest",
]

#: Weights that no file holds: every part is drawn.
RANDOM = "random"
#: Digits of a digest that a trial's settings carry.
DIGITS = 16
#: Files of a folder that its digest covers.
_COVERED = ("*.json", "*.safetensors", "*.bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A file or folder that was found.

    Attributes:
        path: Where it lies.
        digest: First digits of its sha256.
        spec: How it is read; None = as one that was saved from ours.
    """

    path: Path
    digest: str
    spec: WeightsSpec | None


def folder() -> Path:
    """Where published checkpoints are looked for.

    `$AUXSWEEP_WEIGHTS`, else `auxsweep/weights` in `$XDG_CACHE_HOME` or `~/.cache`.
    """
    if named := os.environ.get("AUXSWEEP_WEIGHTS"):
        return Path(named).expanduser().absolute()
    return _home("XDG_CACHE_HOME", "~/.cache") / "auxsweep" / "weights"


def places(row: WeightsSpec) -> list[Path]:
    """Where a checkpoint is looked for, in this order: our folder, then caches of others."""
    own = folder() / row.file
    caches = _home("XDG_CACHE_HOME", "~/.cache")
    if not row.is_folder:
        torch = _home("TORCH_HOME", str(caches / "torch"))
        # there files lie beside each other, whatever data they were trained on
        alone = Path(row.file).name == row.file
        return [own, torch / "hub" / "checkpoints" / row.file] if alone else [own]
    if Path(row.file).is_absolute():
        return [Path(row.file)]
    hub = _home("HF_HUB_CACHE", str(_home("HF_HOME", str(caches / "huggingface")) / "hub"))
    held = hub / f"models--{row.file.replace('/', '--')}"
    snapshots = held / "snapshots"
    main = held / "refs" / "main"
    if main.is_file():
        return [own, snapshots / main.read_text(encoding="utf-8").strip()]
    return [own, *(sorted(snapshots.iterdir()) if snapshots.is_dir() else [snapshots])]


def here(row: WeightsSpec) -> Path | None:
    """Where a checkpoint lies; None = nowhere."""
    return next((place for place in places(row) if _is_there(place, row.is_folder)), None)


def published(rows: Sequence[WeightsSpec], weights: str) -> WeightsSpec | None:
    """The checkpoint that is meant: by its name, or by that of a file or folder.

    One that has the name of no published one is read like the first of its kind. What a folder
    tells of itself comes before what its row does. None for random weights, or a file where none is
    published.

    Raises:
        ValueError: Neither; the nearest name and all names are given. Or a folder that cannot be
            read.
    """
    given, _ = split_digest(weights)
    if given == RANDOM:
        return None
    path = Path(given).expanduser()
    for row in rows:
        if given == row.name:
            return _told(row, here(row))
    for row in rows:
        if is_named(row, given):
            return _told(row, path)
    if _is_path(given):
        is_folder = path.is_dir()
        like = next((row for row in rows if row.is_folder == is_folder), None)
        return None if like is None else _told(like, path)
    names = [RANDOM, *(row.name for row in rows)]
    raise ValueError(
        f"unknown weights {given!r}{nearest(given, names)} (weights: {', '.join(names)}, or the "
        "path of a file)"
    )


def is_named(row: WeightsSpec, weights: str) -> bool:
    """Whether ``weights`` is the name of a checkpoint, or a path that ends in its file."""
    given, _ = split_digest(weights)
    return given == row.name or (_is_path(given) and Path(given).name == Path(row.file).name)


def find(rows: Sequence[WeightsSpec], weights: str) -> Checkpoint | None:
    """The file or folder behind ``weights``; None for random ones.

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
    if row is not None and named:
        found = here(row)
        if found is None:
            looked = [str(place) for place in places(row)]
            raise FileNotFoundError(
                f"weights {given!r}: looked for {', '.join(looked)}; put {row.file} at "
                f"{looked[0]} (from {row.source}), set AUXSWEEP_WEIGHTS to its folder, give its "
                f"path, or use weights: {RANDOM}"
            )
        path = found
    else:
        path = Path(given).expanduser().absolute()
        if not path.is_file() and not _is_there(path, is_folder=True):
            raise FileNotFoundError(
                f"weights: looked for {path}; put the file there, or use weights: {RANDOM}"
            )
    digest = _digest(path)
    if row is not None and named and not digest.startswith(row.sha256):
        raise ValueError(
            f"weights {given!r}: {path} has the digest {digest[:DIGITS]}, and the published file "
            f"{row.sha256[:DIGITS]}; get it again from {row.source}"
        )
    if row is not None and row.reading:
        digest = hashlib.sha256(f"{digest} {row.reading}".encode()).hexdigest()
    if not digest.startswith(wanted):
        raise ValueError(
            f"weights {given!r}: {path} has the digest {digest[:DIGITS]}, and the trial was "
            f"planned with {wanted}: the file changed, or another one lies on this node"
        )
    return Checkpoint(path=path, digest=digest[:DIGITS], spec=row)


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


def _told(row: WeightsSpec, path: Path | None) -> WeightsSpec:
    if path is None or not row.is_folder or not _is_there(path, is_folder=True):
        return row
    return described(row, path)


def _home(variable: str, otherwise: str) -> Path:
    named = Path(os.environ.get(variable, "")).expanduser()
    # a relative one is ignored, as the XDG base directory specification has it
    return named if named.is_absolute() else Path(otherwise).expanduser().absolute()


def _is_path(given: str) -> bool:
    path = Path(given).expanduser()
    return path.suffix in SUFFIXES or path.exists() or len(path.parts) > 1


def _is_there(path: Path, is_folder: bool) -> bool:
    return (path / "config.json").is_file() if is_folder else path.is_file()


def _digest(path: Path) -> str:
    """Sha256 of a file; of a folder that of the names and digests of what is read of it."""
    if path.is_file():
        return _of_file(path)
    files = sorted({file for pattern in _COVERED for file in path.glob(pattern)})
    told = "".join(f"{file.name} {_of_file(file)}\n" for file in files)
    return hashlib.sha256(told.encode()).hexdigest()


def _of_file(path: Path) -> str:
    status = path.stat()
    return _sha256(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=32)
def _sha256(path: Path, _changed: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

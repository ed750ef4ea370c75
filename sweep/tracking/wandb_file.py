"""Reads the `.wandb` file of a run: what W&B would upload, without W&B's server.

W&B offers no public reader. The file is a LevelDB log (blocks of 32 KiB, records cut into chunks,
each with its CRC-32) of protobuf messages, whose classes come with the `wandb` package. `sync`
uses this to know whether a run was closed; tests use it to see what was really written.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_FILE_HEADER = struct.Struct("<4sHB")
_FILE_START = (b":W&B", 0xBEE1, 0)
_CHUNK_HEADER = struct.Struct("<IHB")  # crc32, length, type
_BLOCK_BYTES = 32 * 1024
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class WandbRun:
    """One run as stored on disk.

    Attributes:
        id: Run id; it ends with the cell key.
        config: Flat keys as given to W&B (its own `_wandb` entry left out).
        summary: Final values with W&B's own (`_step`, ...); nested keys are joined by `/`.
        history: Logged rows in order, with W&B's own keys (`_step`, ...).
        metrics: Defined metric (name or glob) -> the metric on its x axis.
        files: Names of stored files, relative to the run's `files` folder.
        exit_code: None as long as the run was not finished.
    """

    id: str = ""
    project: str = ""
    entity: str = ""
    group: str = ""
    job_type: str = ""
    name: str = ""
    tags: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    exit_code: int | None = None


def payloads(content: bytes) -> Iterator[bytes]:
    """Raw records of a `.wandb` file, up to the first one that is cut short or damaged.

    Raises:
        ValueError: if the content does not start like a `.wandb` file.
    """
    if len(content) < _FILE_HEADER.size:
        return
    if _FILE_HEADER.unpack_from(content) != _FILE_START:
        raise ValueError("not a .wandb file: wrong signature")
    position = _FILE_HEADER.size
    parts: list[bytes] = []
    while True:
        left = _BLOCK_BYTES - position % _BLOCK_BYTES
        if left < _CHUNK_HEADER.size:  # a chunk header never crosses a block
            position += left
        if position + _CHUNK_HEADER.size > len(content):
            return
        crc, length, kind = _CHUNK_HEADER.unpack_from(content, position)
        start = position + _CHUNK_HEADER.size
        chunk = content[start : start + length]
        if kind not in (_FULL, _FIRST, _MIDDLE, _LAST) or len(chunk) < length:
            return
        if zlib.crc32(chunk, zlib.crc32(bytes([kind]))) != crc:
            return
        position = start + length
        if kind in (_FULL, _FIRST):
            parts = []
        parts.append(chunk)
        if kind in (_FULL, _LAST):
            yield b"".join(parts)


def read_run(path: Path) -> WandbRun:
    """The run in a `.wandb` file, or in a run folder that holds one.

    A killed writer leaves a truncated tail: everything before it is returned.

    Raises:
        FileNotFoundError: if a folder holds no `.wandb` file.
        ValueError: if the file is something else.
    """
    from google.protobuf.message import DecodeError
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    if path.is_dir():
        files = sorted(path.glob("run-*.wandb"))
        if not files:
            raise FileNotFoundError(f"{path}: no run-*.wandb in this folder")
        path = files[0]
    found: dict[str, Any] = {"config": {}, "summary": {}, "history": [], "metrics": {}, "files": ()}
    for payload in payloads(path.read_bytes()):
        try:
            record = Record.FromString(payload)
        except DecodeError:
            break
        _take(record, found)
    found["config"].pop("_wandb", None)
    return WandbRun(**found)


def run_folders(wandb: Path) -> dict[str, list[Path]]:
    """Run id -> its folders below a `wandb` folder (offline and online), oldest first."""
    folders: dict[str, list[Path]] = {}
    for path in sorted(wandb.glob("*run-*-*"), key=_started):
        if path.is_dir() and not path.is_symlink():
            folders.setdefault(
                path.name.split("-", 3 if path.name.startswith("offline") else 2)[-1], []
            ).append(path)
    return folders


def _started(path: Path) -> str:
    return path.name.removeprefix("offline-").removeprefix("run-")


def _take(record: Any, found: dict[str, Any]) -> None:
    """Add one protobuf record to what was found so far."""
    kind = record.WhichOneof("record_type")
    if kind == "run":
        run = record.run
        found.update(
            id=run.run_id,
            project=run.project,
            entity=run.entity,
            group=run.run_group,
            job_type=run.job_type,
            name=run.display_name,
            tags=tuple(run.tags),
        )
        _update(found["config"], run.config)
        _update(found["summary"], run.summary)
    elif kind in ("config", "summary"):
        _update(found[kind], getattr(record, kind))
    elif kind == "history":
        found["history"].append(dict(_items(record.history.item)))
    elif kind == "metric":
        metric = record.metric
        found["metrics"][metric.name or metric.glob_name] = metric.step_metric
    elif kind == "files":
        found["files"] += tuple(item.path for item in record.files.files)
    elif kind == "exit":
        found["exit_code"] = record.exit.exit_code


def _update(target: dict[str, Any], change: Any) -> None:
    target.update(_items(change.update))
    for item in change.remove:
        target.pop("/".join(item.nested_key) or item.key, None)


def _items(items: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    for item in items:
        yield "/".join(item.nested_key) or item.key, json.loads(item.value_json)

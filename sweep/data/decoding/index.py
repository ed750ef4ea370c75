"""The index step: every video is decoded once before any trial, and what it holds is noted.

The result fixes which items are used: all trials of a sweep see the same ones. Everything is found
out and decided per file. It is kept in the cache folder, with size and modification time; a second
run looks at changed files alone.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from sweep.data.decoding import pool
from sweep.data.decoding.file_info import FileInfo
from sweep.data.folders import cache_of
from sweep.runtime import heartbeat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from sweep.settings.data import DataSettings

log = logging.getLogger(__name__)

_VERSION = 3  # since 3 with the time lines of files of varying rate
#: Longest time without a frame, or a block of bytes read, before a file counts as hanging. Files on
#: busy network storage fall silent for some seconds.
SILENCE_S = 60.0
_SAVE_EVERY = 1000


@dataclass(frozen=True)
class Entry:
    """A file as it was when it was looked at.

    Attributes:
        size: Bytes. Of a folder of images its own, which changes with the names that it holds;
            an image written anew in its place is found by `verify` alone.
        mtime_ns: Modification time, likewise.
        digest: blake2b of the content, 32 hex digits; the same on every node.
        info: What decoding it showed.
        is_hang: It fell silent or ended its process, twice.
    """

    size: int
    mtime_ns: int
    digest: str
    info: FileInfo
    is_hang: bool = False


@dataclass
class Index:
    """All files of a data set that were looked at, by path below its root."""

    path: Path
    root: Path
    files: dict[str, Entry] = field(default_factory=dict)

    def name(self, path: Path) -> str:
        """Key of a file."""
        return os.path.relpath(path, self.root)

    def entry(self, path: Path) -> Entry | None:
        """What is known of a file, unless it changed since."""
        entry = self.files.get(self.name(path))
        if entry is None:
            return None
        try:
            stat = path.stat()
        except OSError:
            return None
        return entry if (stat.st_size, stat.st_mtime_ns) == (entry.size, entry.mtime_ns) else None

    def save(self) -> None:
        """Write the index, atomically."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "version": _VERSION,
            "root": str(self.root),
            "files": {name: asdict(entry) for name, entry in self.files.items()},
        }
        partial = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        partial.write_text(json.dumps(content), encoding="utf-8")
        partial.replace(self.path)


def load(options: DataSettings, root: Path) -> Index:
    """The stored index of a data set, or an empty one."""
    place = json.dumps([str(root.absolute()), options.backend])
    key = hashlib.sha256(place.encode()).hexdigest()[:12]
    path = cache_of(options) / "index" / f"{options.dataset}-{key}.json"
    index = Index(path, root)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return index
    if content.get("version") == _VERSION:
        index.files = {name: _entry(values) for name, values in content["files"].items()}
    return index


def update(
    options: DataSettings,
    root: Path,
    paths: Iterable[Path],
    *,
    retry: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Index:
    """The index with every one of ``paths`` looked at.

    Args:
        options: Backend, cache folder and workers.
        root: Root of the data set.
        paths: Videos, repeats allowed.
        retry: Look again at files that hung the last time.
        progress: Called with (files done, files to look at).
    """
    paths = _existing(paths)
    index = load(options, root)
    if not _stale(index, paths, retry=retry):
        return index
    index.path.parent.mkdir(parents=True, exist_ok=True)
    with heartbeat.locked(index.path.with_suffix(".lock"), "looking at the videos"):
        index = load(options, root)  # another process may have done it meanwhile
        _look(index, _stale(index, paths, retry=retry), options, progress)
        index.save()
    return index


def is_complete(index: Index, paths: Iterable[Path]) -> bool:
    """Whether :func:`update` would have nothing to do."""
    return not _stale(index, _existing(paths), retry=False)


def digest_of(path: Path) -> str:
    """blake2b of the content of a file or of a folder of images, 32 hex digits."""
    if path.is_dir():
        from sweep.data.decoding import by_images

        return by_images.digest_of(path)
    digest = hashlib.blake2b(digest_size=16)
    if path.is_file():
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
                pool.beat()
    return digest.hexdigest()


def silence() -> None:
    """In a worker, keep what native decoders print on bad files off the terminal."""
    if pool.is_worker():
        _to_nowhere()


def _entry(values: Mapping[str, Any]) -> Entry:
    about = values["info"]
    times = tuple((index, second) for index, second in about["times"])
    return Entry(**{**values, "info": FileInfo(**{**about, "times": times})})


def _existing(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in set(paths) if path.exists())  # a link may point nowhere


def _stale(index: Index, paths: list[Path], *, retry: bool) -> list[Path]:
    known = ((path, index.entry(path)) for path in paths)
    return [path for path, entry in known if entry is None or (retry and entry.is_hang)]


def _look(
    index: Index,
    paths: list[Path],
    options: DataSettings,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Decode files in worker processes and enter what they hold."""
    done = 0
    stats = [path.stat() for path in paths]  # before decoding: a later change shows

    def enter(place: int, result: Any) -> None:
        nonlocal done
        done += 1
        is_failure = isinstance(result, pool.Failure)
        info = _failed(result) if is_failure else result[1]
        index.files[index.name(paths[place])] = Entry(
            size=stats[place].st_size,
            mtime_ns=stats[place].st_mtime_ns,
            digest="" if is_failure else result[0],
            info=info,
            is_hang=is_failure,
        )
        if is_failure:
            log.warning("%s is set aside: %s", paths[place], result.message)
        if done % _SAVE_EVERY == 0:
            index.save()
        if progress is not None:
            progress(done, len(paths))

    pool.run(
        _look_at,
        [(path, options.backend) for path in paths],
        workers=options.workers,
        silence_s=SILENCE_S,
        on_result=enter,
    )


def _failed(failure: pool.Failure) -> FileInfo:
    if failure.kind == "timeout":
        return FileInfo(status="timeout", error=f"no frame for {SILENCE_S:g} s, twice")
    return FileInfo(status="corrupt", error=failure.message)


def _look_at(job: tuple[Path, Any]) -> tuple[str, FileInfo]:
    from sweep.data.decoding import probe

    path, backend = job
    silence()
    return digest_of(path), probe.probe_file(path, backend=backend)


@functools.cache
def _to_nowhere() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)

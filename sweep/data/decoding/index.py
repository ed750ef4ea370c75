"""The index step: every video is decoded once before any trial, and what it holds is noted.

The result fixes which items are used: all trials of a sweep see the same ones. It is kept in the
cache folder, per file with size and modification time; a second run looks at changed files alone.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
from dataclasses import asdict, dataclass, field, replace
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

_VERSION = 1
#: Time that a file may take: a start and a rate that the slowest decoding stays well within.
_LIMIT_S, _LIMIT_S_PER_MIB = 10.0, 2.0
_SAVE_EVERY = 1000
#: Files per group (extension) on which random access is compared with the sequential pass.
_PROBE_FILES = 4
#: Containers in which B-frames make random access wrong so often that we do not try.
_SEQUENTIAL_SUFFIXES = (".avi", ".mov")


@dataclass(frozen=True)
class Entry:
    """A file as it was when it was looked at.

    Attributes:
        size: Bytes.
        mtime_ns: Modification time.
        digest: blake2b of the content, 32 hex digits; the same on every node.
        info: What decoding it showed.
        is_hang: It gave no answer in time or ended its process.
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
    groups: dict[str, dict[str, str]] = field(default_factory=dict)

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
            "groups": self.groups,
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
        index.groups = content["groups"]
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
        options: Backend, access, cache folder and workers.
        root: Root of the data set.
        paths: Videos, repeats allowed.
        retry: Look again at files that hung the last time.
        progress: Called with (files done, files to look at).
    """
    paths = _existing(paths)
    index = load(options, root)
    if not _stale(index, paths, retry=retry) and _are_groups_known(index, paths, options):
        return index
    index.path.parent.mkdir(parents=True, exist_ok=True)
    with heartbeat.locked(index.path.with_suffix(".lock"), "looking at the videos"):
        index = load(options, root)  # another process may have done it meanwhile
        _look(index, _stale(index, paths, retry=retry), options, progress)
        _probe_groups(index, paths, options)
        index.save()
    return index


def is_complete(index: Index, paths: Iterable[Path], options: DataSettings) -> bool:
    """Whether :func:`update` would have nothing to do."""
    paths = _existing(paths)
    return not _stale(index, paths, retry=False) and _are_groups_known(index, paths, options)


def access_of(index: Index, path: Path, options: DataSettings) -> str:
    """How frames of a file are reached: `seek` or `sequential`."""
    if options.access != "auto":
        return options.access
    return index.groups.get(path.suffix.lower(), {}).get("access", "sequential")


def limit_s(path: Path) -> float:
    """Seconds that decoding a whole file may take before it counts as hanging."""
    return _LIMIT_S + _LIMIT_S_PER_MIB * path.stat().st_size / 2**20


def _entry(values: Mapping[str, Any]) -> Entry:
    return Entry(**{**values, "info": FileInfo(**values["info"])})


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
        info = FileInfo(status="corrupt", error=result.message) if is_failure else result[1]
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
        [(path, options.backend, options.workers == 0) for path in paths],
        workers=options.workers,
        limits_s=[limit_s(path) for path in paths],
        on_result=enter,
    )


def _look_at(job: tuple[Path, Any, bool]) -> tuple[str, FileInfo]:
    from sweep.data.decoding import decode

    path, backend, is_here = job
    if not is_here:
        _silence()
    digest = hashlib.blake2b(digest_size=16)
    if path.is_file():
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    info = decode.probe_file(path, backend=backend, torch_first=is_here)
    return digest.hexdigest(), info


@functools.cache
def _silence() -> None:
    """Keep what the native decoders print on bad files off the terminal; the index says it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _group_members(index: Index, paths: list[Path]) -> dict[str, list[Path]]:
    """Readable files of decord by extension, thinned to those that are probed."""
    groups: dict[str, list[Path]] = {}
    for path in paths:
        entry = index.files.get(index.name(path))
        if entry is not None and entry.info.backend == "decord" and entry.info.is_readable:
            groups.setdefault(path.suffix.lower(), []).append(path)
    thin = {}
    for suffix, members in groups.items():
        count = min(_PROBE_FILES, len(members))
        thin[suffix] = [members[(2 * i + 1) * len(members) // (2 * count)] for i in range(count)]
    return thin


def _group_key(index: Index, members: list[Path]) -> str:
    return "-".join(index.files[index.name(path)].digest[:12] for path in members)


def _are_groups_known(index: Index, paths: list[Path], options: DataSettings) -> bool:
    if options.access != "auto":
        return True
    return all(
        index.groups.get(suffix, {}).get("key") == _group_key(index, members)
        for suffix, members in _group_members(index, paths).items()
    )


def _probe_groups(index: Index, paths: list[Path], options: DataSettings) -> None:
    """Find out for every extension whether random access can be trusted."""
    if options.access != "auto":
        return
    for suffix, members in _group_members(index, paths).items():
        key = _group_key(index, members)
        if index.groups.get(suffix, {}).get("key") == key:
            continue
        is_exact = suffix not in _SEQUENTIAL_SUFFIXES and all(
            result is True
            for result in pool.run(
                _is_exact,
                [(path, options.workers == 0) for path in members],
                workers=options.workers,
                limits_s=[2 * limit_s(path) for path in members],
            )
        )
        index.groups[suffix] = {"key": key, "access": "seek" if is_exact else "sequential"}


def _is_exact(job: tuple[Path, bool]) -> bool:
    from sweep.data.decoding import decode

    return decode.is_seek_exact(job[0], torch_first=job[1])


def with_access(entry: Entry, access: str) -> FileInfo:
    """What is known of a file, with the access of its group."""
    return replace(entry.info, access=access if entry.info.backend == "decord" else "sequential")

"""Decoded clips on disk: one memory-mapped array of uint8 frames per set, shared by all trials.

A sweep reads the same clips in every trial; decoding them once per node and reading them through
the page cache is several hundred times faster. A store is built under a lock beside its final name
and renamed when it is whole. A build that was killed goes on where it stopped.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sweep.data.decoding import pool
from sweep.data.decoding.errors import DecodeError
from sweep.data.decoding.index import SILENCE_S, silence
from sweep.data.folders import cache_of
from sweep.data.sampling import uniform_center
from sweep.runtime import heartbeat

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sweep.data.decoding.file_info import FileInfo
    from sweep.data.survey import StoredSet
    from sweep.settings.data import DataSettings

_SAVE_EVERY = 512
FRAMES, _ABOUT, _DONE = "frames.npy", "store.json", "done.npy"


@dataclass(frozen=True)
class ClipStore:
    """The stored frames of one set.

    Attributes:
        folder: Holds `frames.npy` and `store.json`.
        frames: uint8 (N, T, C, H, W), read-only and memory-mapped.
    """

    folder: Path
    frames: np.ndarray

    @classmethod
    def open(cls, stored: StoredSet) -> ClipStore:
        """The store of a set.

        Raises:
            ValueError: The array does not fit the records (a damaged cache).
        """
        path = stored.folder / FRAMES
        try:
            frames = np.load(path, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} is damaged ({error}); delete {stored.folder}") from error
        if len(frames) != len(stored.records) or frames.dtype != np.uint8 or frames.ndim != 5:
            raise ValueError(f"{path} is damaged: {frames.shape}; delete {stored.folder}")
        return cls(stored.folder, frames)


def build(
    options: DataSettings,
    stored: Sequence[StoredSet],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Decode what is missing of the sets, in worker processes.

    Args:
        options: Frames per video, size, workers and cache folder.
        stored: The sets and where their frames belong.
        progress: Called with (videos done, videos in all), of the sets that were missing.

    Raises:
        ValueError: Not enough space on the disk.
        DecodeError: A video that the index found readable cannot be decoded.
    """
    if all(one.is_stored for one in stored):
        return
    folder = cache_of(options) / "clips"
    folder.mkdir(parents=True, exist_ok=True)
    with heartbeat.locked(folder / f".{options.dataset}.lock", "decoding"):
        builds = [_Build(one, options) for one in stored if not one.is_stored]
        _check_space(folder, builds)
        for one in builds:
            one.start()
        files: dict[Path, list[tuple[_Build, int]]] = {}  # clips of one file are decoded at once
        total = finished = 0
        for one in builds:
            total, finished = total + len(one.done), finished + int(one.done.sum())
            for row in one.missing_rows():
                files.setdefault(one.path_of(row), []).append((one, row))
        jobs = list(files.items())

        def enter(place: int, result: Any) -> None:
            nonlocal finished
            path, clips = jobs[place]
            if isinstance(result, pool.Failure):
                raise DecodeError(
                    f"{path} could be decoded when it was looked at and cannot be "
                    f"stored: {result.message}; it may have changed since"
                )
            for build, row in clips:
                build.mark(row)
            finished += len(clips)
            if progress is not None:
                progress(finished, total)

        pool.run(
            _decode_into,
            [_job(path, clips, options) for path, clips in jobs],
            workers=options.workers,
            silence_s=SILENCE_S,
            on_result=enter,
        )
        for one in builds:
            one.finish()


def decode_clip(
    path: Path,
    info: FileInfo,
    *,
    frames: int,
    size_px: int,
    span: range | None = None,
    at: np.ndarray | None = None,
) -> np.ndarray:
    """What the cache holds of a clip: uint8 (T, C, H, W) of uniformly chosen frames.

    Args:
        path: The video.
        info: What the index found.
        frames: How many.
        size_px: Height and width.
        span: Frames of the file among which they are; None = all.
        at: Which of them, in any order; None = all.
    """
    from sweep.data.decoding import decode

    indices = chosen(range(info.num_frames) if span is None else span, frames)
    indices = indices if at is None else indices[at]
    wanted, places = np.unique(indices, return_inverse=True)
    clip = np.empty((len(wanted), 3, size_px, size_px), np.uint8)
    found = decode.each_frame(path, wanted.tolist(), info=info, size_px=size_px)
    for picture, frame in zip(clip, found, strict=True):
        picture[:] = frame.transpose(2, 0, 1)
    return clip if np.array_equal(places, np.arange(len(clip))) else clip[places]


def chosen(span: range, count: int) -> np.ndarray:
    """The frames of a file that are stored of a clip, uniform among those of ``span``."""
    return span.start + uniform_center(len(span), count)


class _Build:
    """A store under construction, in a folder whose name the next attempt finds again."""

    def __init__(self, stored: StoredSet, options: DataSettings) -> None:
        self.set = stored
        self.options = options
        side = options.size_px
        self.shape = (len(stored.records), options.cache_frames, 3, side, side)
        self.partial = stored.folder.with_name(f".{stored.folder.name}.part")
        self.done = np.zeros(len(stored.records), bool)
        self.marks = 0

    def start(self) -> None:
        """Make the array, or take up the one of a build that was killed."""
        frames, done = self.partial / FRAMES, self.partial / _DONE
        try:
            array, flags = np.load(frames, mmap_mode="r"), np.load(done)
            if array.shape == self.shape and flags.shape == self.done.shape:
                self.done = flags
                return
        except (OSError, ValueError):
            pass
        shutil.rmtree(self.partial, ignore_errors=True)
        self.partial.mkdir(parents=True)
        np.lib.format.open_memmap(frames, mode="w+", dtype=np.uint8, shape=self.shape)
        np.save(done, self.done)

    def missing_rows(self) -> list[int]:
        return np.flatnonzero(~self.done).tolist()

    def path_of(self, row: int) -> Path:
        path = self.set.records[row].path
        assert path is not None
        return path

    def target_of(self, row: int) -> _Target:
        return self.partial / FRAMES, row, self.set.spans[row]

    def mark(self, row: int) -> None:
        """Note that a row is written; now and then on disk, after the frames themselves."""
        self.done[row] = True
        self.marks += 1
        if self.marks % _SAVE_EVERY == 0:
            self._sync()
            fresh = self.partial / f"new-{_DONE}"
            np.save(fresh, self.done)
            fresh.replace(self.partial / _DONE)

    def _sync(self) -> None:
        with (self.partial / FRAMES).open("rb") as file:
            os.fsync(file.fileno())

    def finish(self) -> None:
        assert self.done.all()
        self._sync()
        about = {
            "set": self.set.name,
            "shape": self.shape,
            "ids": [record.id for record in self.set.records],
            "num_frames": [len(span) for span in self.set.spans],
            "status": [info.status for info in self.set.files],
        }
        (self.partial / _DONE).unlink()
        (self.partial / _ABOUT).write_text(json.dumps(about), encoding="utf-8")
        shutil.rmtree(self.set.folder, ignore_errors=True)  # rests without store.json
        self.partial.rename(self.set.folder)


def _check_space(folder: Path, builds: Sequence[_Build]) -> None:
    needed = sum(
        int(np.prod(build.shape)) for build in builds if not (build.partial / FRAMES).exists()
    )
    free = shutil.disk_usage(folder).free
    if needed * 1.02 > free:
        raise ValueError(
            f"the cache of clips needs {needed / 1e9:.1f} GB, {folder} has {free / 1e9:.1f} GB "
            "free; set data.cache_dir, or a smaller data.size_px or data.cache_frames"
        )


@functools.lru_cache(maxsize=16)
def _writable(path: Path, inode: int) -> np.ndarray:
    del inode  # a new array under an old name is another one
    return np.lib.format.open_memmap(path, mode="r+")


#: An array of frames, the row of a clip in it, and the frames of its file that are the clip.
_Target = tuple["Path", int, range]
_Job = tuple["Path", "FileInfo", "list[_Target]", int, int]


def _job(path: Path, clips: Sequence[tuple[_Build, int]], options: DataSettings) -> _Job:
    build, row = clips[0]
    targets = [build.target_of(row) for build, row in clips]
    return path, build.set.files[row], targets, options.cache_frames, options.size_px


def _decode_into(job: _Job) -> None:
    """Write the frames of all clips of a file as they come, in one pass."""
    from sweep.data.decoding import decode

    path, info, targets, frames, size_px = job
    silence()
    places: dict[int, list[tuple[np.ndarray, int, int]]] = {}
    for target, row, span in targets:
        array = _writable(target, target.stat().st_ino)
        for time, index in enumerate(chosen(span, frames).tolist()):
            places.setdefault(index, []).append((array, row, time))
    wanted = sorted(places)
    found = decode.each_frame(path, wanted, info=info, size_px=size_px)
    for index, frame in zip(wanted, found, strict=True):
        for array, row, time in places[index]:
            array[row, time] = frame.transpose(2, 0, 1)

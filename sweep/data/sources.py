"""Clips that are read when they are asked for: from a store, or from the videos themselves.

Both forms give the same bytes: the frames that a store would keep, ``data.cache_frames`` of them,
uniform in time, as squares of ``data.size_px``. What is asked for alone is decoded or read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sweep.data.decoding import cache
from sweep.data.decoding.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sweep.data.survey import StoredSet


class ClipSource(Protocol):
    """Frames of numbered clips, each with the same number of frames on its time line."""

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """Clips, frames per clip, channels, height and width."""
        ...

    @property
    def is_stream(self) -> bool:
        """Whether every reading decodes, so that it pays to read ahead and only once."""
        ...

    def frames(self, rows: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Some frames of some clips, in memory of their own.

        Args:
            rows: int64 (n,), which clips.
            at: int64 (T,), which frames of each, or (n, T) where clips differ.

        Returns:
            uint8 RGB (n, T, C, H, W).
        """
        ...

    def part(self, rows: np.ndarray) -> ClipSource:
        """Some of the clips, by their place among these."""
        ...


@dataclass(frozen=True)
class StoredClips:
    """Clips of one array, memory-mapped as a rule: only what is asked for is read.

    Attributes:
        array: uint8 (N, S, C, H, W).
    """

    array: np.ndarray
    is_stream = False

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """See :class:`ClipSource`."""
        clips, frames, channels, height, width = self.array.shape
        return clips, frames, channels, height, width

    def frames(self, rows: np.ndarray, at: np.ndarray) -> np.ndarray:
        """See :class:`ClipSource`."""
        return np.asarray(self.array[rows[:, None], at])

    def part(self, rows: np.ndarray) -> StoredClips:
        """See :class:`ClipSource`."""
        return StoredClips(self.array[rows])


@dataclass
class StreamedClips:
    """Clips of videos that are decoded whenever they are asked for.

    Attributes:
        set: The usable records of a set with what the index knows of their files.
        stored: Frames on the time line of a clip.
        size_px: Side of the frames.
        lost: Clip that cannot be read any more -> the one that stands for it in training.
        on_file: Called with a clip before its file is opened.
    """

    set: StoredSet
    stored: int
    size_px: int
    lost: dict[int, int] = field(default_factory=dict)
    on_file: Callable[[int], None] | None = None
    is_stream = True

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """See :class:`ClipSource`."""
        return len(self.set.records), self.stored, 3, self.size_px, self.size_px

    def frames(self, rows: np.ndarray, at: np.ndarray) -> np.ndarray:
        """See :class:`ClipSource`.

        Raises:
            DecodeError: A file does not give what the index found in it.
        """
        at = np.broadcast_to(at, (len(rows), at.shape[-1]))
        return np.stack([self._clip(int(r), own) for r, own in zip(rows, at, strict=True)])

    def part(self, rows: np.ndarray) -> StreamedClips:
        """See :class:`ClipSource`."""
        return StreamedClips(self.set.part(rows), self.stored, self.size_px)

    def lose(self, row: int) -> int:
        """Let the next clip of the same class stand for one that hangs; returns that clip.

        Raises:
            DecodeError: No other clip of the class can be read.
        """
        records = self.set.records
        for step in range(1, len(records)):
            other = (row + step) % len(records)
            if other not in self.lost and records[other].label == records[row].label:
                self.lost[row] = other
                return other
        raise DecodeError(f"{records[row].path}: hangs, and no other clip of its class is left")

    def _clip(self, row: int, at: np.ndarray) -> np.ndarray:
        while row in self.lost:
            row = self.lost[row]
        if self.on_file is not None:
            self.on_file(row)
        path, info, span = self.set.records[row].path, self.set.files[row], self.set.spans[row]
        assert path is not None, "the survey keeps records with a video"
        size = self.size_px
        return cache.decode_clip(path, info, frames=self.stored, size_px=size, span=span, at=at)

"""Clips that are read when they are asked for: what training takes its batches from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


class ClipSource(Protocol):
    """Frames of numbered clips, each with the same number of frames on its time line."""

    @property
    def stored(self) -> int:
        """Frames per clip."""
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


@dataclass(frozen=True)
class StoredClips:
    """Clips of one array, memory-mapped as a rule: only what is asked for is read.

    Attributes:
        array: uint8 (N, S, C, H, W).
    """

    array: np.ndarray

    @property
    def stored(self) -> int:
        """Frames per clip."""
        return int(self.array.shape[1])

    def frames(self, rows: np.ndarray, at: np.ndarray) -> np.ndarray:
        """See :class:`ClipSource`."""
        return np.asarray(self.array[rows[:, None], at])

"""Which frames of a video are taken. All functions return int64 indices into the decoded file."""

from __future__ import annotations

import numpy as np

from models.clip_format import centres


def uniform_center(num_frames: int, count: int) -> np.ndarray:
    """Centres of ``count`` equal parts, floor((i + 0.5) n / count); repeats where n < count."""
    _check(num_frames, count)
    return np.array(centres(num_frames, count), dtype=np.int64)


def segment_mid(num_frames: int, count: int) -> np.ndarray:
    """Middle frame of each of min(count, n) segments (robustness study, `sample_frames`).

    Quirk: fixed. The reference reaches this branch only under a name that it never passes. Videos
    shorter than ``count`` give n indices; the caller pads.
    """
    edges = _edges(num_frames, count)
    return (edges[:-1] + edges[1:] - 1) // 2


def segment_rand(num_frames: int, count: int, generator: np.random.Generator) -> np.ndarray:
    """One random frame of each segment, its ends included; for training.

    Quirk: fixed. The reference draws from a half-open range, which fails on segments of one frame.
    """
    edges = _edges(num_frames, count)
    return generator.integers(edges[:-1], edges[1:] - 1, endpoint=True)


def _edges(num_frames: int, count: int) -> np.ndarray:
    _check(num_frames, count)
    return np.linspace(0, num_frames, min(count, num_frames) + 1).astype(np.int64)


def _check(num_frames: int, count: int) -> None:
    if num_frames < 1 or count < 1:
        raise ValueError(f"cannot take {count} frames of {num_frames}; both must be at least 1")

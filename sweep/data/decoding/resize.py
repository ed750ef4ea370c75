"""Antialiased bilinear resizing of frames, as `torchvision` does it.

Written as two matrix products so that decoding processes need not import torch (1.5 s each).
"""

from __future__ import annotations

import functools

import numpy as np


def fit(frames: np.ndarray, size_px: int) -> np.ndarray:
    """Short side to ``size_px``, then the centre square.

    Args:
        frames: uint8 (n, H, W, C).
        size_px: Side of the result.

    Returns:
        uint8 (n, size_px, size_px, C); ``frames`` itself where nothing is to do.
    """
    height, width = frames.shape[1:3]
    if height == width == size_px:
        return frames
    short = min(height, width)
    full = [size_px if side == short else int(size_px * side / short) for side in (height, width)]
    rows, columns = (
        _weights(side, target)[(first := round((target - size_px) / 2)) : first + size_px]
        for side, target in zip((height, width), full, strict=True)
    )
    squares = np.empty((len(frames), size_px, size_px, frames.shape[3]), np.uint8)
    for frame, square in zip(frames, squares, strict=True):
        narrow = rows @ frame.reshape(height, -1).astype(np.float32)
        pixels = np.matmul(columns, narrow.reshape(size_px, width, -1))
        square[:] = np.clip(np.rint(pixels), 0, 255)
    return squares


@functools.lru_cache(maxsize=32)
def _weights(side: int, target: int) -> np.ndarray:
    """Weights of the input pixels (columns) for each output pixel (rows); rows sum to 1."""
    scale = side / target
    centres = (np.arange(target) + 0.5) * scale
    distance = np.abs(np.arange(side) + 0.5 - centres[:, None]) / max(scale, 1.0)
    weights = np.maximum(0.0, 1.0 - distance)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)

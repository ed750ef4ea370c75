"""Antialiased bilinear resizing of frames by Pillow, the reference of the field's transforms."""

from __future__ import annotations

import numpy as np
from PIL import Image


def fit(frames: np.ndarray, size_px: int) -> np.ndarray:
    """Short side to ``size_px``, then the centre square.

    Of Pillow's result only the square is computed. Against exact arithmetic its bytes are off by
    less than a grey level, as those of torchvision's ``Resize`` are, which rounds twice, too.

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
    top, left = (round((side - size_px) / 2) for side in full)
    tall, wide = height / full[0], width / full[1]  # input pixels per output pixel
    box = left * wide, top * tall, (left + size_px) * wide, (top + size_px) * tall
    size, how = (size_px, size_px), Image.Resampling.BILINEAR
    squares = np.empty((len(frames), size_px, size_px, frames.shape[3]), np.uint8)
    for frame, square in zip(frames, squares, strict=True):
        square[:] = np.asarray(Image.fromarray(frame).resize(size, how, box=box))
    return squares

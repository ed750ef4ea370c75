"""How the colours of a frame lie in memory: in three planes, or pixel by pixel for codecs.

A clip is planar (3, H, W). Codecs want the three values of a pixel side by side; OpenCV makes that
several times as fast as numpy, which takes its place where it is not installed; the bytes are the
same.
"""

from __future__ import annotations

import numpy as np

from perturb.opencv import cv2


def interleaved(frame: np.ndarray) -> np.ndarray:
    """Copy the planes (3, H, W) uint8 into pixels (H, W, 3)."""
    if cv2 is not None:
        return cv2.merge(list(frame))
    pixels = np.empty((*frame.shape[1:], 3), np.uint8)
    for channel, plane in enumerate(frame):
        pixels[..., channel] = plane
    return pixels


def separate(pixels: np.ndarray, out: np.ndarray) -> None:
    """Copy pixels (H, W, 3) uint8 into the planes `out` (3, H, W), each contiguous."""
    if cv2 is not None:
        cv2.split(pixels, list(out))
        return
    for channel, plane in enumerate(out):
        plane[...] = pixels[..., channel]

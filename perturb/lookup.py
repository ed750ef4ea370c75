"""Pixels that come from elsewhere in their frame: rotation, frosted glass."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from perturb.levels import fresh
from perturb.opencv import cv2

if TYPE_CHECKING:
    from collections.abc import Sequence

_IS_QUICK = cv2 is not None and sys.byteorder == "little"


def looked_up(frames: Tensor, maps: Sequence[Tensor]) -> Tensor:
    """Take every pixel from where its map says.

    On a CPU a pixel is packed into one number, so that there is one look-up instead of three.

    Args:
        frames: (N, 3, H, W) uint8.
        maps: One per frame, or one for all: flat index of the source (H * W,) int32, on the device
            of the frames; H * W stands for black.
    """
    if frames.device.type != "cpu":
        index = torch.stack(list(maps))[:, None].expand(*frames.shape[:2], -1).long()
        return F.pad(frames.flatten(-2), (0, 1)).gather(-1, index).view(frames.shape)
    height, width = frames.shape[-2:]
    out = fresh(frames)
    source = torch.zeros(height * width + 1, dtype=torch.int32)  # the last pixel stays black
    found = torch.empty(height * width, dtype=torch.int32)
    pixels, moved = (x.numpy().view(np.uint32) for x in (source, found))
    each = list(maps) * len(frames) if len(maps) == 1 else maps
    for frame, made, index in zip(frames.numpy(), out.numpy(), each, strict=True):
        _pack(frame, pixels[:-1].reshape(height, width))
        torch.index_select(source, 0, index, out=found)
        _unpack(moved.reshape(height, width), made)
    return out


def _pack(frame: np.ndarray, out: np.ndarray) -> None:
    """Copy the planes (3, H, W) uint8 into pixels `out` (H, W) uint32, the first plane lowest.

    The highest byte of a pixel is not defined.
    """
    if _IS_QUICK:
        # to an even address OpenCV writes past the cache, and the look-up would wait for memory
        odd = np.empty(out.nbytes + 1, np.uint8)[1:].reshape(*out.shape, 4)
        cv2.merge([*frame, frame[0]], odd)
        out.view(np.uint8).reshape(odd.shape)[...] = odd
        return
    wide = np.empty_like(out)
    np.copyto(out, frame[2])
    for plane in (frame[1], frame[0]):
        np.left_shift(out, 8, out=out)
        np.copyto(wide, plane)  # numpy is slow where types mix
        np.bitwise_or(out, wide, out=out)


def _unpack(pixels: np.ndarray, out: np.ndarray) -> None:
    """Copy pixels (H, W) uint32 into the planes `out` (3, H, W) uint8; the pixels are lost."""
    if _IS_QUICK:
        cv2.split(pixels.view(np.uint8).reshape(*pixels.shape, 4), [*out, np.empty_like(out[0])])
        return
    for plane in out:
        np.copyto(plane, pixels, casting="unsafe")
        np.right_shift(pixels, 8, out=pixels)

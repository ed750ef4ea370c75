"""Frames of a video file, or of image files, as arrays.

Videos are read by PyAV from the start, in the order in which frames come out: nothing else is right
for every file. Containers count packets, and packets are no pictures (edit lists hide some, packed
B-frames make one of two); random access numbers key frames in decoding order. Measured: decord,
read in order, stored 24 wrong frames of 24 of MPEG transport streams named .mp4.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sweep.data.decoding import by_decord, by_images, by_pyav
from sweep.data.decoding.errors import DecodeError, first_line
from sweep.data.decoding.probe import probe_file
from sweep.data.decoding.resize import fit
from sweep.data.sampling import uniform_center

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sweep.data.decoding.file_info import FileInfo

_READERS: dict[str, Any] = {"decord": by_decord, by_images.NAME: by_images}


def read_frames(
    path: Path | str,
    indices: Sequence[int] | np.ndarray,
    *,
    info: FileInfo | None = None,
    size_px: int | None = None,
) -> np.ndarray:
    """Frames of a file as uint8 RGB (n, H, W, 3), turned as its display matrix says.

    Args:
        path: The video, an image or a folder of numbered images.
        indices: 0-based, any order, repeats allowed, each below the number of decodable frames.
        info: What the index step found (count and backend); None = look now.
        size_px: Resize the short side to this and crop the centre square; None = native size,
            that of the first frame.

    Raises:
        DecodeError: The file gives no such frames.
    """
    path = Path(path)
    info = probe_file(path) if info is None else info
    if not info.is_readable:
        raise DecodeError(f"{path}: {info.status}: {info.error}")
    wanted = [int(index) for index in indices]
    distinct = sorted(set(wanted))
    kept = list(each_frame(path, distinct, info=info, size_px=size_px))
    return np.stack(kept)[np.searchsorted(distinct, wanted)]


def each_frame(
    path: Path, wanted: Sequence[int], *, info: FileInfo, size_px: int | None
) -> Iterator[np.ndarray]:
    """Frames of sorted distinct indices, one by one; see :func:`read_frames`."""
    for index in (wanted[0], wanted[-1]):
        if not 0 <= index < info.num_frames:
            raise DecodeError(f"{path}: no frame {index}; there are {info.num_frames}")
    reader = _READERS.get(info.backend, by_pyav)
    count = 0
    try:
        for frame in reader.frames(path, wanted):
            yield frame if size_px is None else fit(frame[None], size_px)[0]
            count += 1
    except Exception as error:
        raise DecodeError(f"{path}: {first_line(error)}") from error
    if count < len(wanted):
        raise DecodeError(f"{path}: ended before frame {wanted[count]}")


def read_clip(path: Path | str, *, frames: int, size_px: int) -> tuple[np.ndarray, dict[str, Any]]:
    """A clip of ``frames`` uniformly chosen frames, and how it was read.

    Returns:
        uint8 RGB (frames, size_px, size_px, 3) and a dict with `num_frames`, `fps`, `backend`,
        `status` (`ok` or `partial`) and `note` (a sentence, empty when all is well).

    Raises:
        DecodeError: The file is missing, empty or cannot be decoded.
    """
    info = probe_file(path)
    if not info.is_readable:
        raise DecodeError(f"{path}: {info.status}: {info.error}")
    clip = read_frames(path, uniform_center(info.num_frames, frames), info=info, size_px=size_px)
    notes = [f"damaged file: {info.error}"] if info.status == "partial" else []
    return clip, {
        "num_frames": info.num_frames,
        "fps": info.fps,
        "backend": info.backend,
        "status": info.status,
        "note": "; ".join([*notes, *([info.note] if info.note else [])]),
    }

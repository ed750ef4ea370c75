"""Frames of image files: a still image is a clip of one frame, a folder of numbered ones a video.

Pillow reads them: it says when a file is damaged, and its JPEG is that of libjpeg, as in the
published protocols on images. What a camera notes about turning (EXIF) is applied, as a display
matrix is. Every image of a folder gets the size of the first one.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from sweep.data.decoding import pool
from sweep.data.decoding.errors import first_line
from sweep.data.decoding.file_info import WHOLE_SHARE, FileInfo
from sweep.data.image_files import Series, is_image, series_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

#: Name in `FileInfo.backend`.
NAME = "images"
#: Rows and columns between the samples that `FileInfo.pictures` is taken of.
_STEP = 16


def is_for(path: Path) -> bool:
    """Whether a path is an image or a folder, which are read here."""
    return path.is_dir() or is_image(path)


def probe(path: Path) -> FileInfo:
    """What images hold, found by reading all of them; never raises for a bad one.

    A folder of which numbers are missing is `partial` where more than 5 % are, as a video is. One
    image that cannot be read makes it `corrupt`.
    """
    series = _series(path)
    if series.error:
        return FileInfo(backend=NAME, status="corrupt", error=series.error)
    digest = hashlib.blake2b(digest_size=8)
    size: tuple[int, int] | None = None
    resized = 0
    for image in series.images:
        try:
            picture = _read(image)
        except Exception as error:  # noqa: BLE001  Pillow raises anything on odd bytes
            why = f"{image.name}: {first_line(error)}"
            return FileInfo(backend=NAME, status="corrupt", error=why)
        pool.beat()
        size = size or picture.shape[:2]
        resized += picture.shape[:2] != size
        digest.update(picture[::_STEP, ::_STEP].tobytes())
    assert size is not None
    count, whole = len(series.images), len(series.images) + len(series.lacking)
    height, width = size
    notes = [series.note] if series.note else []
    if resized:
        notes.append(f"{resized} of {count} frames have another size than {width} x {height}")
    is_torn = count < WHOLE_SHARE * whole
    return FileInfo(
        num_frames=count,
        height=height,
        width=width,
        backend=NAME,
        status="partial" if is_torn else "ok",
        error=f"{count} of {whole} images are there; {series.note}" if is_torn else "",
        announced=whole,
        note="; ".join(notes),
        pictures=digest.hexdigest(),
    )


def frames(path: Path, wanted: Sequence[int]) -> Iterator[np.ndarray]:
    """Frames of sorted distinct indices: uint8 RGB (H, W, 3) of the size of the first image."""
    images = _series(path).images
    size: tuple[int, int] | None = None
    if wanted[0] > 0:
        size = _read(images[0]).shape[:2]
    for index in wanted:
        if index >= len(images):
            return
        picture = _read(images[index], size)
        size = size or picture.shape[:2]
        pool.beat()
        yield picture


def digest_of(folder: Path) -> str:
    """blake2b of the names and contents of the images of a folder, 32 hex digits."""
    digest = hashlib.blake2b(digest_size=16)
    for image in _series(folder).images:
        content = image.read_bytes()
        digest.update(f"{image.name}\0{len(content)}\0".encode("utf-8", "surrogateescape"))
        digest.update(content)
        pool.beat()
    return digest.hexdigest()


def _series(path: Path) -> Series:
    return series_of(path) if path.is_dir() else Series((path,))


def _read(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """An image as it is shown, uint8 RGB (H, W, 3); resized to ``size`` (H, W) where it differs.

    Raises:
        ValueError: It has more than 8 bits per colour.
    """
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        if image.mode[0] in "IF":
            raise ValueError(f"{image.mode} has more than 8 bits per colour; convert it to 8")
        shown = ImageOps.exif_transpose(image).convert("RGB")
    if size is not None and (shown.height, shown.width) != size:
        shown = shown.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(shown)

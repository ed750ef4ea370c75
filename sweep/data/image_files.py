"""Image files as clips: a still image, or a folder of numbered ones. Imports no numpy.

Reads names only. The pictures are read by `decoding/by_images.py`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")

#: `img_00001.jpg`, `000001.png`, `frame-12.jpeg`: what stands before the number, and the number.
_NUMBERED = re.compile(r"(.*?)(\d+)\.\w+", re.ASCII)
#: Optical flow stands beside the pictures in folders of the TSN family; it is no picture.
_FLOW = "flow"


@dataclass(frozen=True, slots=True)
class Series:
    """The images of a folder that stands for a video, in the order of their numbers.

    Attributes:
        images: Their paths; empty where there is no such series.
        lacking: Numbers between the first and the last one of which there is no image.
        error: Why there is no series; empty = there is one.
        note: What is odd; empty = nothing.
    """

    images: tuple[Path, ...] = ()
    lacking: tuple[int, ...] = ()
    error: str = ""
    note: str = ""


def is_image(path: Path) -> bool:
    """Whether a name is that of an image; animations (GIF) are videos."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def holds_numbered(folder: Path) -> bool:
    """Whether a folder holds a numbered image: it is then the frames of one clip."""
    try:
        with os.scandir(folder) as entries:
            return any(_numbered(entry.name) is not None for entry in entries)
    except OSError:
        return False


def series_of(folder: Path) -> Series:
    """The frames that a folder holds.

    Images whose names differ in more than the number are of several series, of which one may be
    meant: those of optical flow (`flow_x_00001.jpg`) are passed over, more than one other is an
    error. Numbers may begin anywhere, with or without leading zeros.
    """
    series: dict[str, dict[int, str]] = {}
    others = []
    for name in sorted(path.name for path in folder.iterdir()):
        found = _numbered(name)
        if found is None:
            if is_image(Path(name)):
                others.append(name)
            continue
        before, number = found
        own = series.setdefault(before, {})
        if number in own:
            return Series(error=f"number {number} stands twice: {own[number]} and {name}")
        own[number] = name
    pictures = {b: own for b, own in series.items() if not b.lower().startswith(_FLOW)}
    if len(pictures) != 1:
        shown = ", ".join(f"{before}*" for before in list(pictures)[:4])
        what = f"several series of numbered images: {shown}" if pictures else "no numbered image"
        return Series(error=what)
    ((_, own),) = pictures.items()
    numbers = sorted(own)
    lacking = tuple(sorted(set(range(numbers[0], numbers[-1] + 1)) - own.keys()))
    notes = []
    if lacking:
        notes.append(f"{len(lacking)} numbers have no image, the first is {lacking[0]}")
    if numbers[0] > 1:
        notes.append(f"its numbers begin at {numbers[0]}")
    if others:
        notes.append(f"{len(others)} images without a number are passed over, such as {others[0]}")
    images = tuple(folder / own[number] for number in numbers)
    return Series(images, lacking, note="; ".join(notes))


def _numbered(name: str) -> tuple[str, int] | None:
    """What stands before the number of an image, and the number; None = no numbered image."""
    found = _NUMBERED.fullmatch(name) if is_image(Path(name)) else None
    if found is None or len(found[2]) > 18:
        return None
    return found[1], int(found[2])

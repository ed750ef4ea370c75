"""What is known of a video file without opening it again. Imports no numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "partial", "missing", "empty", "corrupt", "timeout", "refused"]

#: A file of which less than this share of its announced length can be decoded is `partial`.
WHOLE_SHARE = 0.95


@dataclass(frozen=True)
class FileInfo:
    """What a look at a file showed.

    Attributes:
        num_frames: Frames that can be decoded, which is what a player shows: packets that an edit
            list hides are none.
        fps: Mean rate, frames per second.
        height: In pixels, after the display matrix.
        width: In pixels, after the display matrix.
        rotation: Of the display matrix in degrees, as PyAV gives it; already applied to frames.
        backend: `decord` or `pyav`, the one that reads this file; `images`: image files.
        status: `ok`; `partial`: less than :data:`WHOLE_SHARE` of the announced length can be
            decoded; `refused`: decord was asked for and does not give the frames of the file;
            `timeout`: no frame for too long, twice; `missing`, `empty`, `corrupt`: no frames.
        error: Why the status is not `ok`.
        announced: Frames that the header promises; 0 = it does not say.
        is_mirrored: The display matrix mirrors the picture.
        is_deep: More than 8 bits per colour, of which libraries convert to 8 in other ways.
        note: What is odd about a file that can be used all the same; empty = nothing.
        is_plain: H.264 of which both libraries give the same bytes, whichever way they reach a
            frame (see `decode`): which of them read it is then no part of the data's fingerprint.
        pictures: Hash of samples of every decoded picture, 16 hex digits; libraries of other
            versions may differ by rounding.
        times: Frames and their seconds from the first one, between which time runs evenly; empty =
            the rate says all (see `windows.time_line`).
    """

    num_frames: int = 0
    fps: float = 0.0
    height: int = 0
    width: int = 0
    rotation: int = 0
    backend: str = ""
    status: Status = "ok"
    error: str = ""
    announced: int = 0
    is_mirrored: bool = False
    is_deep: bool = False
    note: str = ""
    is_plain: bool = False
    pictures: str = ""
    times: tuple[tuple[int, float], ...] = ()

    @property
    def is_readable(self) -> bool:
        """Whether there is any frame to decode."""
        return self.num_frames > 0 and self.status in ("ok", "partial")

    @property
    def is_whole(self) -> bool:
        """Whether nearly all announced frames are there: such a file may stand for its label."""
        return self.num_frames > 0 and self.status == "ok"

"""What is known of a video file without opening it again. Imports no numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "partial", "fallback", "missing", "empty", "corrupt"]

#: A file whose header promises more frames than this share delivers is damaged.
WHOLE_SHARE = 0.9


@dataclass(frozen=True)
class FileInfo:
    """What a look at a file showed.

    Attributes:
        num_frames: Frames that can be decoded.
        fps: Mean rate, frames per second.
        height: In pixels, after rotation.
        width: In pixels, after rotation.
        rotation: Of the display matrix in degrees, as PyAV gives it; already applied to frames.
        backend: `decord` or `pyav`; the one that reads this file.
        access: `seek` or `sequential`.
        status: `ok`; `fallback`: read by PyAV since decord cannot; `partial`: the stream breaks
            off before its announced end; `missing`, `empty`, `corrupt`: no frames.
        error: Why the status is not `ok`.
        announced: Frames that the header promises; 0 = it does not say.
    """

    num_frames: int = 0
    fps: float = 0.0
    height: int = 0
    width: int = 0
    rotation: int = 0
    backend: str = ""
    access: str = "sequential"
    status: Status = "ok"
    error: str = ""
    announced: int = 0

    @property
    def is_readable(self) -> bool:
        """Whether there is any frame to decode."""
        return self.num_frames > 0

    @property
    def is_whole(self) -> bool:
        """Whether nearly all announced frames are there: such a file may stand for its label."""
        return self.is_readable and self.num_frames >= WHOLE_SHARE * self.announced

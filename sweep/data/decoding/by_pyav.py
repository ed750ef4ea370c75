"""Frames by PyAV, in the order in which they come out: every file is read like this."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sweep.data.decoding import pool

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


@contextmanager
def open_video(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and its best video stream (decord takes the same), one decoding thread.

    The absolute path: `2024-01-01T10:30:00.mp4` alone is a protocol to FFmpeg. Metadata are not
    read, and those of old cameras are not UTF-8.

    Raises:
        ValueError: There is no video stream.
    """
    import av

    with av.open(str(Path(path).absolute()), metadata_errors="ignore") as container:
        streams = [s for s in container.streams.video if not _is_cover(s)]
        best = container.streams.best("video")
        if not streams:
            what = "only a cover picture" if container.streams.video else "no video stream"
            raise ValueError(what)
        stream = best if best in streams else streams[0]
        stream.codec_context.thread_count = 1
        yield container, stream


def _is_cover(stream: VideoStream) -> bool:
    """Whether a stream is the picture of an album, as audio files have one."""
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)


def decoded(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Frames in the order of output, up to the first error.

    Errors before the first frame are passed over: a recording that was joined on its way begins
    with packets that refer to nothing.
    """
    import av

    is_begun = False
    for packet in container.demux(stream):
        try:
            pictures = packet.decode()
        except av.error.InvalidDataError:
            if is_begun:
                raise
            continue
        for frame in pictures:
            is_begun = True
            pool.beat()
            yield frame


@dataclass(frozen=True)
class Shape:
    """Size and display matrix of the first frame, which all frames of a file get."""

    width: int
    height: int
    swaps: bool = False
    flips_x: bool = False
    flips_y: bool = False

    @classmethod
    def of(cls, frame: VideoFrame) -> Shape:
        """The shape that the first frame of a file says."""
        matrix: Any = frame.side_data.get("DISPLAYMATRIX")
        if matrix is None:
            return cls(frame.width, frame.height)
        # x' = a x + c y, y' = b x + d y, in 1/65536; x to the right, y down.
        a, b, _, c, d = (int(v) for v in np.frombuffer(bytes(matrix), np.int32)[:5])
        if abs(b) + abs(c) > abs(a) + abs(d):
            return cls(frame.width, frame.height, True, c < 0, b < 0)
        return cls(frame.width, frame.height, False, a < 0, d < 0)

    @property
    def is_mirrored(self) -> bool:
        """Whether the matrix does what no turn can do."""
        return (self.swaps + self.flips_x + self.flips_y) % 2 == 1

    def fits(self, frame: VideoFrame) -> bool:
        """Whether a frame has the size of the first one."""
        return (frame.width, frame.height) == (self.width, self.height)

    def pixels(self, frame: VideoFrame) -> np.ndarray:
        """A frame as it is shown: uint8 RGB (H, W, 3)."""
        shown = frame.to_ndarray(format="rgb24", width=self.width, height=self.height)
        if self.swaps:
            shown = shown.transpose(1, 0, 2)
        return shown[:: -1 if self.flips_y else 1, :: -1 if self.flips_x else 1]


def frames(path: Path, wanted: Sequence[int]) -> Iterator[np.ndarray]:
    """Frames of sorted distinct indices."""
    places = set(wanted)
    with open_video(path) as (container, stream):
        shape = None
        for index, frame in enumerate(decoded(container, stream)):
            shape = shape or Shape.of(frame)
            if index in places:
                yield shape.pixels(frame)
            if index == wanted[-1]:
                return

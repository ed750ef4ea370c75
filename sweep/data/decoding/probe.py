"""What a file holds, found by decoding all of it once."""

from __future__ import annotations

import hashlib
import math
from array import array
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sweep.data.decoding import by_decord, by_images
from sweep.data.decoding.by_pyav import Shape, decoded, open_video
from sweep.data.decoding.errors import first_line
from sweep.data.decoding.file_info import WHOLE_SHARE, FileInfo
from sweep.data.decoding.windows import time_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

Backend = Literal["auto", "decord", "pyav"]

#: Rows and columns between the samples that `FileInfo.pictures` is taken of.
_STEP = 16


def probe_file(path: Path | str | None, *, backend: Backend = "auto") -> FileInfo:
    """What a file holds, found by decoding all of it once; never raises for a bad file.

    Args:
        path: The video, an image or a folder of numbered images; None or no file = `missing`.
        backend: Of videos. `auto` and `pyav`: PyAV; `decord`: decord, which must find the frames
            of PyAV.
    """
    if path is None or not Path(path).exists():
        return FileInfo(status="missing", error="no such file")
    path = Path(path)
    if path.is_dir():
        return by_images.probe(path)
    if not path.is_file() or path.stat().st_size == 0:
        what = "the file has no bytes" if path.is_file() else "not a regular file"
        return FileInfo(status="empty", error=what)
    if by_images.is_for(path):
        return by_images.probe(path)
    info = _probe(path)
    return _by_decord(path, info) if backend == "decord" and info.is_readable else info


def _by_decord(path: Path, info: FileInfo) -> FileInfo:
    """What PyAV found, for reading by decord: refused unless it gives as many frames."""
    found = replace(info, backend="decord")
    if info.status != "ok":
        return found
    why = by_decord.why_not(path, info)
    return replace(found, status="refused", error=why) if why else found


def _probe(path: Path) -> FileInfo:
    info = FileInfo(backend="pyav")
    seen = _Seen()
    with _native_errors() as errors:
        try:
            with open_video(path) as (container, stream):
                info = replace(info, fps=float(stream.average_rate or 0.0))
                seen.announced_s = _announced_s(container, stream)
                seen.is_from_zero = container.format.name.startswith(("matroska", "flv"))
                is_mp4 = "mp4" in container.format.name and stream.codec_context.name == "h264"
                for frame in decoded(container, stream):
                    seen.add(frame)
                seen.is_plain &= is_mp4 and stream.frames == seen.count
        except Exception as error:  # noqa: BLE001  libraries raise anything on odd bytes
            seen.failure = first_line(error)
    seen.is_damaged = bool(errors)
    shape = seen.shape
    if shape is None:
        return replace(info, status="corrupt", error=seen.failure or "no frame can be decoded")
    info = replace(
        info,
        num_frames=seen.count,
        height=shape.width if shape.swaps else shape.height,
        width=shape.height if shape.swaps else shape.width,
        rotation=seen.rotation,
        is_plain=seen.is_plain and not seen.failure and not errors,
        is_mirrored=shape.is_mirrored,
        is_deep=seen.is_deep,
        note=seen.note(),
        pictures=seen.hash.hexdigest(),
        times=time_line(seen.times, info.fps) if len(seen.times) == seen.count else (),
    )
    return _judged(info, seen)


def _judged(info: FileInfo, seen: _Seen) -> FileInfo:
    """Hold what was decoded against what was announced.

    Time is counted, not frames, since rates vary and edit lists hide packets. A hole shows in the
    count alone; pauses of a variable rate look like one, so that it counts only where the
    container or the decoder complained.
    """
    step_s = seen.step_s or (1 / info.fps if info.fps else 0.0)
    covered_s = seen.covered_s(step_s)
    promised = round(max(seen.announced_s, covered_s) * info.fps)
    lost_s = seen.announced_s - covered_s
    is_short = lost_s > max((1 - WHOLE_SHARE) * seen.announced_s, 1.5 * step_s)
    has_hole = seen.is_damaged and info.num_frames < min(WHOLE_SHARE * promised, promised - 1)
    if is_short or has_hole:
        if promised <= info.num_frames and covered_s > 0:
            promised = round(info.num_frames * seen.announced_s / covered_s)
        error = f"{info.num_frames} of {promised} frames can be decoded"
        return replace(info, status="partial", announced=promised, error=error)
    if seen.failure and not seen.announced_s:
        return replace(info, status="partial", error=f"breaks off: {seen.failure}")
    note = info.note
    if seen.failure:
        note = "; ".join(filter(None, (note, f"breaks off near its end: {seen.failure}")))
    return replace(info, announced=info.num_frames if seen.announced_s else 0, note=note)


@dataclass
class _Seen:
    """What a file and its frames had to say.

    Attributes:
        announced_s: Length that the file promises; 0 = it does not say.
        is_from_zero: That length begins at time 0, not at the first frame.
        failure: Why reading ended before the end of the file.
        is_damaged: FFmpeg complained about something.
    """

    announced_s: float = 0.0
    is_from_zero: bool = False
    failure: str = ""
    is_damaged: bool = False
    count: int = 0
    shape: Shape | None = None
    rotation: int = 0
    resized: int = 0
    first_s: float = math.inf
    last_s: float = -math.inf
    last_step_s: float = 0.0
    times: array[float] = field(default_factory=lambda: array("d"))
    is_plain: bool = True
    is_deep: bool = False
    kinds: set[tuple[int, int, str]] = field(default_factory=set)
    hash: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=8))

    def add(self, frame: VideoFrame) -> None:
        """Take note of a frame."""
        if self.shape is None:
            self.shape, self.rotation = Shape.of(frame), frame.rotation
            self.is_plain = self.shape == Shape(frame.width, frame.height)
        self.count += 1
        kind = (frame.width, frame.height, frame.format.name)
        if kind not in self.kinds:  # what the index calls readable can be turned into pixels
            self.kinds.add(kind)
            self.is_deep |= max(part.bits for part in frame.format.components) > 8
            self.shape.pixels(frame)
        self.resized += not self.shape.fits(frame)
        self.is_plain = self.is_plain and _is_plain(frame)
        self.hash.update(_samples(frame))
        if frame.time is not None:
            self.times.append(frame.time)
            self.first_s = min(self.first_s, frame.time)
            if frame.time >= self.last_s:
                self.last_s = frame.time
                base = frame.time_base
                self.last_step_s = float((frame.duration or 0) * base) if base else 0.0

    @property
    def step_s(self) -> float:
        """Mean time between frames, 0 when it is not known."""
        timed = len(self.times)
        return (self.last_s - self.first_s) / (timed - 1) if timed > 1 else 0.0

    def covered_s(self, step_s: float) -> float:
        """Length from the beginning of the first to the end of the last frame."""
        if not self.times:
            return self.count * step_s
        first_s = min(self.first_s, 0.0) if self.is_from_zero else self.first_s
        return self.last_s + (self.last_step_s or step_s) - first_s

    def note(self) -> str:
        """What is odd, in words."""
        notes = []
        if self.resized and self.shape is not None:
            size = f"{self.shape.width} x {self.shape.height}"
            notes.append(f"{self.resized} of {self.count} frames have another size than {size}")
        if self.shape is not None and self.shape.is_mirrored:
            notes.append("its display matrix mirrors")
        return "; ".join(notes)


def _is_plain(frame: VideoFrame) -> bool:
    """Whether decoders and conversions to RGB cannot disagree about a frame."""
    from av.video.frame import PictureType

    return (
        frame.format.name == "yuv420p"
        and frame.pict_type in (PictureType.I, PictureType.P)
        and frame.width % 2 == 0
        and frame.height % 2 == 0
        and int(frame.color_range) in (0, 1)
        and int(frame.colorspace) == 2
        # not `side_data`: a frame that was asked for it is held by it until the next collection of
        # garbage, hundreds of frames later
        and frame.rotation == 0
    )


def _samples(frame: VideoFrame) -> bytes:
    """Some bytes of the first plane (the brightness, mostly), without converting the picture."""
    plane: Any = frame.planes[0]
    if plane.line_size <= 0:
        return frame.to_ndarray(format="gray")[::_STEP, ::_STEP].tobytes()
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return rows[: frame.height : _STEP, : frame.width : _STEP].tobytes()


def _announced_s(container: InputContainer, stream: VideoStream) -> float:
    """Length that the file promises for its pictures, in seconds; 0 = it does not say.

    The longest of the stream's duration, its DURATION tag (Matroska) and the container's; the
    latter only where no sound explains that it is longer.
    """
    import av

    said = [
        _seconds(value) for name, value in stream.metadata.items() if name.startswith("DURATION")
    ]
    if stream.duration and stream.time_base:
        said.append(float(stream.duration * stream.time_base))
    others = [s for s in container.streams if s.index != stream.index]
    if container.duration and (not others or not any(said)):
        said.append(container.duration / av.time_base)
    return max(said, default=0.0)


def _seconds(clock: str) -> float:
    """Seconds of a DURATION tag, `00:00:02.400000000`; 0 for anything else."""
    try:
        hours, minutes, seconds = (float(part) for part in clock.split(":"))
    except ValueError:
        return 0.0
    return 3600 * hours + 60 * minutes + seconds


@contextmanager
def _native_errors() -> Iterator[list[tuple[int, str, str]]]:
    """What FFmpeg complains about inside, as (level, component, words)."""
    from av import logging

    level, skips = logging.get_level(), logging.get_skip_repeated()
    logging.set_level(logging.ERROR)
    logging.set_skip_repeated(False)  # a repeated line would be told with the next file
    try:
        with logging.Capture() as lines:
            yield lines
    finally:
        logging.set_skip_repeated(skips)
        logging.set_level(level)

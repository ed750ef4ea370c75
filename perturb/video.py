"""Coding frames as video in memory, with PyAV: encode, damage, decode. No torch.

Run as a program it codes frames from the standard input: see `recode_apart`.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MAX_QUANTISER = 31
_RATE_FPS = 25
_KEY_FRAME_EVERY = 12
#: Frames smaller than this are coded inside a replicated border where the format asks for it.
_SAFE_SIDE_PX = 128
_SECONDS_PER_CLIP = 120
#: Without it, equal frames gave other bytes in up to a tenth of the runs.
REPEATABLE_X264 = {"x264-params": "cpu-independent=1"}
REPEATABLE_X265 = {"x265-params": "log-level=none:pools=none:frame-threads=1"}


@dataclass(frozen=True)
class Format:
    """A way to code a clip.

    Attributes:
        encoder: Name of the encoder.
        container: Name of the container that is written.
        reader: Name of the container for reading, where it differs.
        is_apart: Whether it runs in a process of its own, on frames of at least 128 px, because
            the encoder writes outside its memory when a frame is a single coding unit. libx265 as
            PyAV 18 ships it aborted on frames of 16 to 62 px and varied at 64 px; from 66 px on
            nothing was seen in some 700 runs.
    """

    encoder: str
    container: str
    reader: str
    is_apart: bool = False


_H264 = Format("libx264", "mp4", "mp4")
_H265 = Format("libx265", "matroska", "matroska", is_apart=True)
#: Perturbation -> format. The paper calls MPEG-2 video MPEG1, and MPEG-4 part 2 MPEG2.
FORMATS = {
    "mpeg1": Format("mpeg2video", "vob", "mpeg"),
    "mpeg2": Format("mpeg4", "avi", "avi"),
    "h264_crf": _H264,
    "h264_abr": _H264,
    "h265_crf": _H265,
    "h265_abr": _H265,
    "bit_error": _H264,
}


def missing_codec(name: str) -> str | None:
    """Say why a perturbation of `FORMATS` cannot run here; None if it can."""
    try:
        from av.codec import Codec
    except ImportError as error:
        return f"{name} needs PyAV, which cannot be imported: {error}"
    encoder = FORMATS[name].encoder
    try:
        Codec(encoder, "w")
    except Exception as error:  # noqa: BLE001 - the class of the error moved between versions
        return f"{name} needs the encoder {encoder}, which this PyAV lacks: {error}"
    return None


def quantiser_options(quantiser: float) -> dict[str, str]:
    """Return the encoder options of a constant quantiser, at most 31."""
    level = str(min(int(quantiser), _MAX_QUANTISER))
    # a quality flag would be ignored here; pinning both ends of the quantiser is not
    return {"qmin": level, "qmax": level}


def recode(
    frames: np.ndarray,
    name: str,
    options: Mapping[str, str],
    damage: Callable[[list[bytearray]], None] | None = None,
) -> tuple[np.ndarray, int]:
    """Like `recode_frames`, with the frames in one array (T, H, W, 3)."""
    shown, size = recode_frames(frames, name, options, damage)
    return np.stack(shown), size


def recode_frames(
    frames: np.ndarray,
    name: str,
    options: Mapping[str, str],
    damage: Callable[[list[bytearray]], None] | None = None,
) -> tuple[list[np.ndarray], int]:
    """Encode frames as a video in memory and decode it.

    Encoders want even sizes: an odd last row or column is left out and the one before it repeated.

    Args:
        frames: (T, H, W, 3) uint8 RGB.
        name: Key of `FORMATS`.
        options: Options of the encoder.
        damage: Changes the packets of the stream in place, before they are decoded.

    Returns:
        The decoded frames, shaped as given, and the size of the file in bytes (of the stream, if
        it is damaged).

    Raises:
        ValueError: If the frames are too small for the encoder.
        RuntimeError: If the decoder returns another number of frames.
    """
    length, height, width, _ = frames.shape
    _check_size(name, height, width)
    form = FORMATS[name]
    rows, columns = height // 2 * 2, width // 2 * 2
    even = frames[:, :rows, :columns]
    if damage is None:
        shown, size = _through_file(even, form, options)
    else:
        shown, size = _through_packets(even, form, options, damage)
    if len(shown) != length:
        raise RuntimeError(f"{name}: the decoder returned {len(shown)} of {length} frames")
    if (rows, columns) != (height, width):
        border = ((0, height % 2), (0, width % 2), (0, 0))
        shown = [np.pad(frame, border, mode="edge") for frame in shown]
    return shown, size


def _check_size(name: str, height: int, width: int) -> None:
    if min(height, width) < 2:
        raise ValueError(f"{name} needs frames of at least 2 x 2 px; got {width} x {height}")


def _configure(context: Any, frames: np.ndarray) -> None:
    """Set what all encoders share, on a stream's or a free codec context."""
    context.height, context.width = frames.shape[1:3]
    context.pix_fmt = "yuv420p"
    context.gop_size = _KEY_FRAME_EVERY
    context.max_b_frames = 0
    context.thread_count = 1


def _picture(frame: np.ndarray) -> Any:
    import av

    return av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")


def _through_file(
    frames: np.ndarray, form: Format, options: Mapping[str, str]
) -> tuple[list[np.ndarray], int]:
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format=form.container) as video:
        stream: Any = video.add_stream(form.encoder, _RATE_FPS, dict(options))
        _configure(stream.codec_context, frames)
        for frame in frames:
            video.mux(stream.encode(_picture(frame)))
        video.mux(stream.encode(None))
    size = buffer.getbuffer().nbytes
    buffer.seek(0)
    with av.open(buffer, "r", format=form.reader) as video:
        return [picture.to_ndarray(format="rgb24") for picture in video.decode(video=0)], size


def _through_packets(
    frames: np.ndarray,
    form: Format,
    options: Mapping[str, str],
    damage: Callable[[list[bytearray]], None],
) -> tuple[list[np.ndarray], int]:
    """Code frame by frame, one packet each; what the damage destroys shows the previous frame."""
    import av

    encoder: Any = av.CodecContext.create(form.encoder, "w")
    _configure(encoder, frames)
    encoder.time_base, encoder.options = Fraction(1, _RATE_FPS), dict(options)
    coded = [packet for frame in frames for packet in encoder.encode(_picture(frame))]
    packets = [bytearray(bytes(packet)) for packet in [*coded, *encoder.encode(None)]]
    damage(packets)
    decoder: Any = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    shown: list[np.ndarray] = []
    last = np.zeros_like(frames[0])
    for packet in packets:
        try:
            pictures = [
                one.to_ndarray(format="rgb24") for one in decoder.decode(av.Packet(bytes(packet)))
            ]
        except av.FFmpegError:
            pictures = []
        whole = [one for one in pictures if one.shape == last.shape]
        last = whole[-1] if whole else last
        shown.append(last)
    return shown, sum(map(len, packets))


def stream_rate(frames: np.ndarray) -> float:
    """Return the bits per second of frames coded as H.264 at the usual quality (crf 23).

    A clip has no bit rate; this stands for that of the file that it came from.

    Args:
        frames: (T, H, W, 3) uint8 RGB, at least 2 x 2 px.
    """
    import av

    rows, columns = (side // 2 * 2 for side in frames.shape[1:3])
    encoder: Any = av.CodecContext.create("libx264", "w")
    _configure(encoder, frames[:, :rows, :columns])
    encoder.time_base = Fraction(1, _RATE_FPS)
    encoder.options = {"crf": "23", **REPEATABLE_X264}
    packets = [p for frame in frames for p in encoder.encode(_picture(frame[:rows, :columns]))]
    size = sum(packet.size for packet in [*packets, *encoder.encode(None)])
    return 8 * size * _RATE_FPS / len(frames)


# --------------------------------------------------------------------------- a process of its own
def recode_apart(clips: np.ndarray, name: str, options: list[dict[str, str]]) -> np.ndarray:
    """Like `recode` for a batch of clips, in a process that may die without harm.

    Args:
        clips: (B, T, H, W, 3) uint8 RGB.
        name: Key of `FORMATS`.
        options: Options of the encoder, one per clip.

    Returns:
        The decoded frames, shaped as given.

    Raises:
        ValueError: If the frames are too small for the encoder.
        RuntimeError: If the process crashes, says no or takes too long.
    """
    _check_size(name, *clips.shape[2:4])
    _, _, height, width, _ = clips.shape
    below, beside = (max(side + side % 2, _SAFE_SIDE_PX) - side for side in (height, width))
    large = np.pad(clips, ((0, 0), (0, 0), (0, below), (0, beside), (0, 0)), mode="edge")
    task = {"name": name, "options": options, "shape": large.shape}
    package = str(Path(__file__).resolve().parents[1])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "perturb.video"],
            input=json.dumps(task).encode() + b"\n" + large.tobytes(),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True,
            timeout=_SECONDS_PER_CLIP * len(clips),
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{name}: the encoder took more than {error.timeout:g} s") from error
    if done.returncode != 0 or len(done.stdout) != large.size:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise RuntimeError(
            f"{name}: the encoder's process ended with {done.returncode}: "
            f"{said[-1] if said else 'no message'}"
        )
    made = np.frombuffer(done.stdout, np.uint8).reshape(large.shape)
    return made[:, :, :height, :width].copy()


def _serve() -> None:
    task = json.loads(sys.stdin.buffer.readline())
    clips = np.frombuffer(sys.stdin.buffer.read(), np.uint8).reshape(task["shape"])
    for frames, options in zip(clips, task["options"], strict=True):
        made, _ = recode(frames, task["name"], options)
        sys.stdout.buffer.write(made.tobytes())


if __name__ == "__main__":
    _serve()

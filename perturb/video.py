"""Coding frames as video in memory, with PyAV: encode, damage, decode. No torch.

The packets of the encoder go straight to the decoder: a container would change no pixel.

Run as a program it codes frames from the standard input: see `recode_apart`.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from time import monotonic
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np

from perturb.planes import interleaved, separate

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
        decoder: Name of the decoder.
        has_header: Whether the parameters of the stream stand apart from it, as in a file. The
            control of a mean rate counts them otherwise.
        is_apart: Whether it runs in a process of its own, on frames of at least 128 px, because
            the encoder writes outside its memory when a frame is a single coding unit. libx265 as
            PyAV 18 ships it aborted on frames of 16 to 62 px and varied at 64 px; from 66 px on
            nothing was seen in some 700 runs.
    """

    encoder: str
    decoder: str
    has_header: bool = False
    is_apart: bool = False


_H264 = Format("libx264", "h264", has_header=True)
_H265 = Format("libx265", "hevc", has_header=True, is_apart=True)
#: Perturbation -> format. The paper calls MPEG-2 video MPEG1, and MPEG-4 part 2 MPEG2.
FORMATS = {
    "mpeg1": Format("mpeg2video", "mpeg2video"),
    "mpeg2": Format("mpeg4", "mpeg4"),
    "h264_crf": _H264,
    "h264_abr": _H264,
    "h265_crf": _H265,
    "h265_abr": _H265,
    "bit_error": Format("libx264", "h264"),
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
    """Encode frames as a video in memory and decode it.

    Encoders want even sizes: an odd last row or column is left out and the one before it repeated.

    Args:
        frames: (T, 3, H, W) uint8 RGB.
        name: Key of `FORMATS`.
        options: Options of the encoder.
        damage: Changes the packets of the stream in place, before they are decoded.

    Returns:
        The decoded frames, shaped as given, and the size of the stream in bytes.

    Raises:
        ValueError: If the frames are too small for the encoder.
        RuntimeError: If the decoder returns another number of frames.
    """
    length, _, height, width = frames.shape
    _check_size(name, height, width)
    form = FORMATS[name]
    rows, columns = height // 2 * 2, width // 2 * 2
    packets, header = _encoded(frames[..., :rows, :columns], form, options)
    out = np.empty_like(frames)
    even = out[..., :rows, :columns]
    if damage is None:
        count = _decode(packets, form.decoder, header, even)
    else:
        stream = [bytearray(bytes(packet)) for packet in packets]
        damage(stream)
        count = _decode_damaged(stream, form.decoder, even)
    if count != length:
        raise RuntimeError(f"{name}: the decoder returned {count} of {length} frames")
    out[..., rows:, :] = out[..., rows - 1 : rows, :]
    out[..., columns:] = out[..., columns - 1 : columns]
    return out, sum(packet.size for packet in packets)


def _check_size(name: str, height: int, width: int) -> None:
    if min(height, width) < 2:
        raise ValueError(f"{name} needs frames of at least 2 x 2 px; got {width} x {height}")


def _encoded(
    frames: np.ndarray, form: Format, options: Mapping[str, str]
) -> tuple[list[Any], bytes | None]:
    """The packets of (T, 3, H, W), one per frame, and what belongs into the header of a file."""
    import av
    from av.codec.context import Flags

    context: Any = av.CodecContext.create(form.encoder, "w")
    context.height, context.width = frames.shape[-2:]
    context.pix_fmt = "yuv420p"
    context.gop_size = _KEY_FRAME_EVERY
    context.max_b_frames = 0
    context.thread_count = 1
    context.bit_rate = 0  # PyAV sets one that encoders obey
    context.time_base, context.framerate = Fraction(1, _RATE_FPS), Fraction(_RATE_FPS)
    context.options = dict(options)
    if form.has_header:
        context.flags |= Flags.global_header
    packets: list[Any] = []
    for frame in frames:
        picture = av.VideoFrame.from_ndarray(interleaved(frame), format="rgb24")
        packets += context.encode(picture)
    packets += context.encode(None)
    return packets, context.extradata if form.has_header else None


def _decoder(name: str) -> Any:
    import av

    context: Any = av.CodecContext.create(name, "r")
    context.thread_count = 1
    return context


def _decode(packets: list[Any], decoder: str, header: bytes | None, out: np.ndarray) -> int:
    """Decode into (T, 3, H, W) and return how many frames there were."""
    context = _decoder(decoder)
    if header is not None:
        context.extradata = header
    count = 0
    # the packets as they are: the decoder of MPEG-4 part 2 shows other pixels for copies of them
    for packet in [*packets, None]:
        for picture in context.decode(packet):
            if count < len(out):
                separate(picture.to_ndarray(format="rgb24"), out[count])
            count += 1
    return count


def _decode_damaged(packets: list[bytearray], decoder: str, out: np.ndarray) -> int:
    """Decode frame by frame; what the damage destroys shows the previous frame."""
    import av

    context = _decoder(decoder)
    for time, packet in enumerate(packets[: len(out)]):
        try:
            pictures = context.decode(av.Packet(bytes(packet)))
        except av.FFmpegError:
            pictures = []
        whole = [one for one in pictures if (one.height, one.width) == out.shape[-2:]]
        if whole:
            separate(whole[-1].to_ndarray(format="rgb24"), out[time])
        else:
            out[time] = out[time - 1] if time else 0
    return len(packets)


def stream_rate(frames: np.ndarray) -> float:
    """Return the bits per second of frames coded as H.264 at the usual quality (crf 23).

    A clip has no bit rate; this stands for that of the file that it came from.

    Args:
        frames: (T, 3, H, W) uint8 RGB, at least 2 x 2 px.
    """
    rows, columns = (side // 2 * 2 for side in frames.shape[-2:])
    even = frames[..., :rows, :columns]
    packets, _ = _encoded(even, Format("libx264", "h264"), {"crf": "23", **REPEATABLE_X264})
    return 8 * sum(packet.size for packet in packets) * _RATE_FPS / len(frames)


# --------------------------------------------------------------------------- a process of its own
def recode_apart(clips: np.ndarray, name: str, options: list[dict[str, str]]) -> np.ndarray:
    """Like `recode` for a batch of clips, in a process that may die without harm.

    Args:
        clips: (B, T, 3, H, W) uint8 RGB.
        name: Key of `FORMATS`.
        options: Options of the encoder, one per clip.

    Returns:
        The decoded frames, shaped as given.

    Raises:
        ValueError: If the frames are too small for the encoder.
        RuntimeError: If the process crashes, says no or takes too long.
    """
    height, width = clips.shape[-2:]
    _check_size(name, height, width)
    below, beside = (max(side + side % 2, _SAFE_SIDE_PX) - side for side in (height, width))
    large = np.pad(clips, ((0, 0), (0, 0), (0, 0), (0, below), (0, beside)), mode="edge")
    return _helper().recode(large, name, options)[..., :height, :width].copy()


@functools.cache
def _helper_of(process: int) -> _Helper:  # noqa: ARG001 - one per process
    return _Helper()


def _helper() -> _Helper:
    return _helper_of(os.getpid())  # a fork must not share the pipes of its parent


class _Helper:
    """A process that codes clips until this one ends; it is started when needed.

    One task is a line of JSON and the pixels, the answer a line of JSON and as many pixels.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._one_at_a_time = threading.Lock()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process

    def recode(self, clips: np.ndarray, name: str, options: list[dict[str, str]]) -> np.ndarray:
        task = {"name": name, "options": options, "shape": clips.shape}
        limit_s = _SECONDS_PER_CLIP * len(clips)
        with self._one_at_a_time:
            process = self._running()
            timer = threading.Timer(limit_s, process.kill)
            started = monotonic()
            timer.start()
            try:
                made = _ask(process, task, clips)
            except (OSError, EOFError, ValueError) as error:
                process.kill()
                code = process.wait()
                self._process = None
                if monotonic() - started >= limit_s:
                    said = f"took more than {limit_s:g} s"
                else:
                    self._said.seek(0)
                    lines = self._said.read().decode(errors="replace").strip().splitlines()
                    said = f"process ended with {code}: {lines[-1] if lines else 'no message'}"
                raise RuntimeError(f"{name}: the encoder {said}") from error
            finally:
                timer.cancel()
        if isinstance(made, str):
            raise RuntimeError(f"{name}: {made}")  # noqa: TRY004
        return made

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            package = str(Path(__file__).resolve().parents[1])
            paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
            self._said.seek(0)
            self._said.truncate()
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "perturb.video"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            )
            atexit.register(_end, self._process)
        return self._process


def _ask(
    process: subprocess.Popen[bytes], task: dict[str, Any], clips: np.ndarray
) -> np.ndarray | str:
    """The coded clips, or what went wrong.

    Raises:
        OSError, EOFError, ValueError: If the process died.
    """
    to, back = cast("tuple[IO[bytes], IO[bytes]]", (process.stdin, process.stdout))
    to.write(json.dumps(task).encode() + b"\n")
    to.write(clips.tobytes())
    to.flush()
    wrong = json.loads(_line(back))["wrong"]
    if wrong:
        return str(wrong)
    pixels = back.read(clips.size)
    return np.frombuffer(pixels, np.uint8).reshape(clips.shape)


def _line(stream: IO[bytes]) -> bytes:
    line = stream.readline()
    if not line:
        raise EOFError
    return line


def _end(process: subprocess.Popen[bytes]) -> None:
    """The process ends by itself where its input does."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()


def _serve() -> None:
    tasks, answers = sys.stdin.buffer, sys.stdout.buffer
    while line := tasks.readline():
        task = json.loads(line)
        size = int(np.prod(task["shape"]))
        clips = np.frombuffer(tasks.read(size), np.uint8).reshape(task["shape"])
        try:
            made = [
                recode(frames, task["name"], options)[0]
                for frames, options in zip(clips, task["options"], strict=True)
            ]
        except Exception as error:  # noqa: BLE001 - told to the one who asked
            answers.write(json.dumps({"wrong": f"{type(error).__name__}: {error}"}).encode())
            answers.write(b"\n")
        else:
            answers.write(json.dumps({"wrong": None}).encode() + b"\n")
            for frames in made:
                answers.write(frames.tobytes())
        answers.flush()


if __name__ == "__main__":
    _serve()

"""Lossy coding of whole clips as video, in memory.

Codecs run on the CPU. A clip on a GPU travels there and back, because the codecs of GPUs round
differently and comparisons need one definition. Each clip is coded by one thread, so that the
result does not depend on the machine; several clips are coded at a time.
"""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from perturb.draws import Draws

_MAX_QUANTISER = 31
_RATE_FPS = 25
_KEY_FRAME_EVERY = 12
#: Without it, equal frames gave other bytes in up to a tenth of the runs.
_REPEATABLE_X264 = {"x264-params": "cpu-independent=1"}


@dataclass(frozen=True)
class Format:
    """A way to code a clip.

    Attributes:
        encoder: Name of the encoder.
        container: Name of the container that is written.
        reader: Name of the container for reading, where it differs.
    """

    encoder: str
    container: str
    reader: str


#: Perturbation -> format. The paper calls MPEG-2 video MPEG1, and MPEG-4 part 2 MPEG2.
#: H.265 is left out: libx265 as PyAV 18 ships it gave different bytes for equal input, and crashed
#: the process on frames narrower than 64 px.
FORMATS = {
    "mpeg1": Format("mpeg2video", "vob", "mpeg"),
    "mpeg2": Format("mpeg4", "avi", "avi"),
    "h264_crf": Format("libx264", "mp4", "mp4"),
    "bit_error": Format("libx264", "mp4", "mp4"),
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


# ------------------------------------------------------------------------------- perturbations
def mpeg1(clip: Tensor, *, quantiser: float) -> Tensor:
    """Encode and decode the clip as MPEG-2 video at a constant quantiser.

    Quirk: followed. The paper calls it MPEG1.

    Args:
        clip: (B, T, C, H, W) uint8.
        quantiser: Beyond 31, what the format allows, it is 31.
    """
    return _recode_all(clip, "mpeg1", quantiser_options(quantiser))


def mpeg2(clip: Tensor, *, quantiser: float) -> Tensor:
    """Encode and decode the clip as MPEG-4 part 2 at a constant quantiser.

    Quirk: followed. The paper calls it MPEG2.

    Args:
        clip: (B, T, C, H, W) uint8.
        quantiser: Beyond 31, what the format allows, it is 31.
    """
    return _recode_all(clip, "mpeg2", quantiser_options(quantiser))


def h264_crf(clip: Tensor, *, crf: float) -> Tensor:
    """Encode and decode the clip as H.264 at constant quality (arXiv:2110.06513).

    Args:
        clip: (B, T, C, H, W) uint8.
        crf: Constant rate factor, 0 to 51; higher is worse.
    """
    return _recode_all(clip, "h264_crf", {"crf": f"{crf:g}", **_REPEATABLE_X264})


def bit_error(clip: Tensor, draws: Sequence[Draws], *, errors: float) -> Tensor:
    """Code the clip as H.264, damage bytes of the stream and decode what is left.

    After arXiv:2110.06513, which damages the stream of the file, one byte in 100,000 to 10,000. The
    stream of a clip is far shorter, so that such rates would all mean one byte; hence a number of
    bytes. Frames that are lost show the previous one, as a player would.

    Args:
        clip: (B, T, C, H, W) uint8.
        draws: One per clip.
        errors: Number of damaged bytes.
    """

    def damage(index: int) -> Callable[[list[bytearray]], None]:
        return lambda packets: _damage(packets, draws[index], int(errors))

    options = {"crf": "23", "tune": "zerolatency", **_REPEATABLE_X264}
    return _recode_all(clip, "bit_error", options, damage=damage)


def _damage(packets: list[bytearray], draw: Draws, errors: int) -> None:
    chance = draw.order()
    total = sum(map(len, packets))
    for _ in range(errors):
        place = chance.randrange(total)
        for packet in packets:
            if place < len(packet):
                packet[place] ^= chance.randrange(1, 256)
                break
            place -= len(packet)


def quantiser_options(quantiser: float) -> dict[str, str]:
    """Return the encoder options of a constant quantiser, at most 31."""
    level = str(min(int(quantiser), _MAX_QUANTISER))
    # a quality flag would be ignored here; pinning both ends of the quantiser is not
    return {"qmin": level, "qmax": level}


# --------------------------------------------------------------------------------------- codec
def _recode_all(
    clip: Tensor,
    name: str,
    options: Mapping[str, str],
    damage: Callable[[int], Callable[[list[bytearray]], None]] | None = None,
) -> Tensor:
    frames = clip.permute(0, 1, 3, 4, 2).cpu().contiguous().numpy()
    out = torch.empty_like(clip, device="cpu", memory_format=torch.contiguous_format)

    def one(index: int) -> None:
        harm = None if damage is None else damage(index)
        coded, _ = recode(frames[index], name, options, harm)
        out[index] = torch.from_numpy(coded).permute(0, 3, 1, 2)

    in_threads(one, len(frames))
    return out.to(clip.device)


def in_threads(job: Callable[[int], None], count: int) -> None:
    """Run `job(0) .. job(count - 1)`; codecs release the interpreter lock."""
    workers = min(torch.get_num_threads(), count)
    if workers <= 1:
        for index in range(count):
            job(index)
        return
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(job, range(count)))


def recode(
    frames: np.ndarray,
    name: str,
    options: Mapping[str, str],
    damage: Callable[[list[bytearray]], None] | None = None,
) -> tuple[np.ndarray, int]:
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
    if min(height, width) < 2:
        raise ValueError(f"{name} needs frames of at least 2 x 2 px; got {width} x {height}")
    form = FORMATS[name]
    rows, columns = height // 2 * 2, width // 2 * 2
    even = frames[:, :rows, :columns]
    if damage is None:
        shown, size = _through_file(even, form, options)
    else:
        shown, size = _through_packets(even, form, options, damage)
    if len(shown) != length:
        raise RuntimeError(f"{name}: the decoder returned {len(shown)} of {length} frames")
    border = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
    return np.pad(np.stack(shown), border, mode="edge"), size


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

"""Lossy coding: JPEG per frame, MPEG per clip, coarse pixels.

Codecs run on the CPU. A clip on a GPU travels there and back, because the codecs of GPUs round
differently and comparisons need one definition.
"""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_QUANTISER = 31
_RATE_FPS = 25
_KEY_FRAME_EVERY = 12


# ----------------------------------------------------------------------------------------- jpeg
def jpeg(clip: Tensor, *, quality: float) -> Tensor:
    """Encode and decode every frame as JPEG with 4:2:0 chroma.

    torchvision's codec, or Pillow's where torchvision has none: the same library underneath, the
    same bytes, half as slow again.

    Args:
        clip: (B, T, C, H, W) uint8.
        quality: 1 to 100.
    """
    recode = _jpeg_codec(int(quality))
    frames = clip.flatten(0, 1).cpu()
    out = torch.empty_like(frames)

    def one(index: int) -> None:
        out[index] = recode(frames[index])

    _in_threads(one, len(frames))
    return out.to(clip.device).view(clip.shape)


def _jpeg_codec(quality: int) -> Callable[[Tensor], Tensor]:
    try:
        import torchvision.io  # noqa: F401 - registers the operators

        # The Python wrappers of these operators warn from torchvision 0.29 on that they will go;
        # once they are gone, Pillow takes over.
        encode, decode = torch.ops.image.encode_jpeg, torch.ops.image.decode_jpeg
    except (ImportError, AttributeError):
        return lambda frame: _jpeg_by_pillow(frame, quality)
    as_stored, ignore_rotation = 0, False
    return lambda frame: decode(encode(frame.contiguous(), quality), as_stored, ignore_rotation)


def _jpeg_by_pillow(frame: Tensor, quality: int) -> Tensor:
    try:
        from PIL import Image
    except ImportError as error:
        raise RuntimeError("jpeg needs torchvision or Pillow; neither is installed") from error
    buffer = io.BytesIO()
    Image.fromarray(frame.permute(1, 2, 0).numpy()).save(buffer, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1)


def _in_threads(job: Callable[[int], None], count: int) -> None:
    """Run `job(0) .. job(count - 1)`; codecs release the interpreter lock."""
    workers = min(torch.get_num_threads(), count)
    if workers <= 1:
        for index in range(count):
            job(index)
        return
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(job, range(count)))


# ----------------------------------------------------------------------------------------- mpeg
def mpeg1(clip: Tensor, *, quantiser: float) -> Tensor:
    """Encode and decode the clip as MPEG-2 video at a constant quantiser.

    Quirk: followed. The paper calls it MPEG1.

    Args:
        clip: (B, T, C, H, W) uint8.
        quantiser: Beyond 31, what the format allows, it is 31.
    """
    return _recode_all(clip, "mpeg2video", "vob", quantiser)


def mpeg2(clip: Tensor, *, quantiser: float) -> Tensor:
    """Encode and decode the clip as MPEG-4 part 2 at a constant quantiser.

    Quirk: followed. The paper calls it MPEG2.

    Args:
        clip: (B, T, C, H, W) uint8.
        quantiser: Beyond 31, what the format allows, it is 31.
    """
    return _recode_all(clip, "mpeg4", "avi", quantiser)


def missing_codec(name: str) -> str | None:
    """Say why `mpeg1` or `mpeg2` cannot run here; None if it can."""
    try:
        from av.codec import Codec
    except ImportError as error:
        return f"{name} needs PyAV, which cannot be imported: {error}"
    encoder = {"mpeg1": "mpeg2video", "mpeg2": "mpeg4"}[name]
    try:
        Codec(encoder, "w")
    except Exception as error:  # noqa: BLE001 - the class of the error moved between versions
        return f"{name} needs the encoder {encoder}, which this PyAV lacks: {error}"
    return None


def _recode_all(clip: Tensor, encoder: str, container: str, quantiser: float) -> Tensor:
    level = min(int(quantiser), _MAX_QUANTISER)
    frames = clip.permute(0, 1, 3, 4, 2).cpu().contiguous().numpy()
    out = torch.empty_like(clip, device="cpu", memory_format=torch.contiguous_format)

    def one(index: int) -> None:
        packed, _ = recode(frames[index], encoder, container, level)
        out[index] = torch.from_numpy(packed).permute(0, 3, 1, 2)

    _in_threads(one, len(frames))
    return out.to(clip.device)


def recode(
    frames: np.ndarray, encoder: str, container: str, quantiser: int
) -> tuple[np.ndarray, int]:
    """Encode frames as a video in memory and decode it.

    The encoders want even sizes: an odd last row or column is left out and the one before it
    repeated.

    Args:
        frames: (T, H, W, 3) uint8 RGB.
        encoder: Name of the encoder, such as mpeg4.
        container: Name of the container, such as avi.
        quantiser: 1 to 31, for every block of every frame.

    Returns:
        The decoded frames, shaped as given, and the size of the video in bytes.

    Raises:
        ValueError: If the frames are too small for the encoder.
        RuntimeError: If the encoder returns another number of frames.
    """
    import av

    length, height, width, _ = frames.shape
    if height < 2 or width < 2:
        raise ValueError(f"MPEG needs frames of at least 2 x 2 px; got {width} x {height}")
    even = frames[:, : height // 2 * 2, : width // 2 * 2]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as video:
        # a quality flag would be ignored here; pinning both ends of the quantiser is not
        bounds = {"qmin": str(quantiser), "qmax": str(quantiser)}
        stream = cast("av.VideoStream", video.add_stream(encoder, _RATE_FPS, bounds))
        stream.height, stream.width = even.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.gop_size = _KEY_FRAME_EVERY
        stream.codec_context.max_b_frames = 0
        stream.codec_context.thread_count = 1
        for frame in even:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            video.mux(stream.encode(picture))
        video.mux(stream.encode(None))
    size = buffer.getbuffer().nbytes
    buffer.seek(0)
    with av.open(buffer, "r", format={"vob": "mpeg"}.get(container, container)) as video:
        shown = [picture.to_ndarray(format="rgb24") for picture in video.decode(video=0)]
    if len(shown) != length:
        raise RuntimeError(f"{encoder} returned {len(shown)} of {length} frames")
    out = np.stack(shown)
    border = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
    return np.pad(out, border, mode="edge"), size


# ------------------------------------------------------------------------------------- pixelate
def pixelate(clip: Tensor, *, scale: float) -> Tensor:
    """Reduce the frame (area average) and enlarge it again by repetition (arXiv:1903.12261).

    Args:
        clip: (B, T, C, H, W) uint8.
        scale: Size of the reduced frame, as a share.
    """
    height, width = clip.shape[-2:]
    size = (max(1, int(height * scale)), max(1, int(width * scale)))
    frames = clip.flatten(0, 1).float()
    small = F.interpolate(frames, size=size, mode="area").add_(0.5).floor_()
    return (
        F.interpolate(small, size=(height, width), mode="nearest-exact")
        .to(torch.uint8)
        .view(clip.shape)
    )

"""Frames of a video file. The only module that imports decord.

decord is the default backend and PyAV the fallback, for files that decord cannot open or decode.

Random access through decord returns wrong frames on some files: where B-frames reach over key
frames (open groups, MPEG-4 with B-frames, AVI) it numbers key frames in decoding order. Reading
from the start in order is always right. Hence `sequential` access unless a file group was shown to
be safe (:func:`is_seek_exact`, called by the index step).
"""

from __future__ import annotations

import random
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sweep.data.decoding.file_info import FileInfo
from sweep.data.decoding.resize import fit
from sweep.data.sampling import uniform_center

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType

Backend = Literal["auto", "decord", "pyav"]
Access = Literal["auto", "seek", "sequential"]

#: Frames per request of a sequential pass. Contiguous requests to one reader need no seek, so that
#: memory is bounded without leaving the safe path.
_CHUNK = 64
#: Durations are less exact than frame counts (variable rates): below this share they count.
_DURATION_SHARE = 0.5


class DecodeError(ValueError):
    """A file gives no usable frames; the message says which file and why."""


def load_decord(*, torch_first: bool = True) -> ModuleType:
    """The decord module.

    decord makes the symbols of its bundled libraries visible to all that load later: torch then
    crashes (dmlc/decord issue 251), and the VP9 encoder of PyAV ends up in a libvpx of another
    version and cannot be opened. Hence both are imported before it.

    Args:
        torch_first: False in processes that never import torch, to save the time.
    """
    if torch_first:
        import torch  # noqa: F401
    import av  # noqa: F401
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    return decord


def probe_file(
    path: Path | str | None, *, backend: Backend = "auto", torch_first: bool = True
) -> FileInfo:
    """What a file holds, found by decoding all of it once; never raises for a bad file.

    Args:
        path: The video; None or no file = `missing`.
        backend: `auto` = decord, else PyAV; the others force one.
        torch_first: See :func:`load_decord`.
    """
    if path is None or not Path(path).exists():
        return FileInfo(status="missing", error="no such file")
    path = Path(path)
    if not path.is_file() or path.stat().st_size == 0:
        what = "the file has no bytes" if path.is_file() else "not a regular file"
        return FileInfo(status="empty", error=what)
    if backend == "pyav":
        return _judged(_probe_pyav(path))
    info = _judged(_probe_decord(path, torch_first=torch_first))
    if backend == "decord" or info.status == "ok":
        return info
    other = _judged(_probe_pyav(path))
    if not other.is_readable:
        return replace(other, error=f"neither decord nor PyAV can read it ({other.error})")
    if other.status == "ok":
        return replace(other, status="fallback", error=f"decord: {info.error}")
    return other


def _judged(info: FileInfo) -> FileInfo:
    """Set the status from what a probe counted; `error` says why the pass broke off, if it did."""
    if not info.is_readable:
        return replace(info, status="corrupt", error=info.error or "no frame can be decoded")
    if info.error or not info.is_whole:
        count = f"{info.num_frames} of {info.announced} frames can be decoded"
        return replace(info, status="partial", error=count if info.announced else info.error)
    return info


def _probe_decord(path: Path, *, torch_first: bool) -> FileInfo:
    info = FileInfo(backend="decord")
    try:
        reader = _open_decord(path, torch_first=torch_first)
        total = len(reader)
        info = replace(info, fps=float(reader.get_avg_fps()), announced=total)
        for start in range(0, total, _CHUNK):
            frames = reader.get_batch(range(start, min(start + _CHUNK, total))).asnumpy()
            height, width = frames.shape[1:3]
            info = replace(
                info, num_frames=start + len(frames), height=int(height), width=int(width)
            )
    except Exception as error:  # noqa: BLE001  decord raises RuntimeError and its own Exception
        if info.announced:
            count = _count_decord(path, torch_first=torch_first)
            info = replace(info, num_frames=count)
        return replace(info, error=_first_line(error))
    # decord counts the packets of the file: a cut one seems whole. The header knows better.
    rotation, announced = _header(path, info.num_frames)
    return replace(info, rotation=rotation, announced=max(announced, info.announced))


def _count_decord(path: Path, *, torch_first: bool) -> int:
    """Frames before the first one that decord cannot decode."""
    count = 0
    try:
        for _ in _open_decord(path, torch_first=torch_first):
            count += 1
    except Exception:  # noqa: BLE001
        return count
    return count


def _header(path: Path, counted: int) -> tuple[int, int]:
    """Rotation in degrees and announced frames, by PyAV; zeros where it cannot read the file."""
    import av

    try:
        with _open_pyav(path) as (container, stream):
            rotation = next((frame.rotation for frame in container.decode(stream)), 0)
            return rotation, _announced(stream, counted)
    except (av.error.FFmpegError, DecodeError):
        return 0, 0


def _probe_pyav(path: Path) -> FileInfo:
    import av

    info = FileInfo(backend="pyav")
    try:
        with _open_pyav(path) as (container, stream):
            info = replace(info, fps=float(stream.average_rate or 0.0), announced=stream.frames)
            for frame in container.decode(stream):
                turned = (frame.rotation // 90) % 2
                size = (frame.width, frame.height) if turned else (frame.height, frame.width)
                info = replace(
                    info,
                    num_frames=info.num_frames + 1,
                    height=size[0],
                    width=size[1],
                    rotation=frame.rotation,
                )
            return replace(info, announced=_announced(stream, info.num_frames))
    except (av.error.FFmpegError, DecodeError) as error:
        return replace(info, error=_first_line(error))


def _announced(stream: Any, counted: int) -> int:
    """Frames that the header promises, 0 when it says nothing that contradicts ``counted``."""
    if stream.frames:
        return int(stream.frames)
    if not stream.duration or not stream.average_rate:
        return 0
    promised = int(stream.duration * stream.time_base * stream.average_rate)
    return promised if counted < _DURATION_SHARE * promised else 0


def is_seek_exact(path: Path, *, torch_first: bool = True) -> bool:
    """Whether random access through decord gives the frames of the sequential pass, byte for byte.

    Compares one batch of 8 uniform indices and 4 single frames, each by a fresh reader.
    """

    def fresh(indices: Sequence[int]) -> np.ndarray:
        return _open_decord(path, torch_first=torch_first).get_batch(list(indices)).asnumpy()

    total = len(_open_decord(path, torch_first=torch_first))
    uniform = uniform_center(total, 8).tolist()
    singles = [random.Random(total + turn).randrange(total) for turn in range(4)]
    wanted = sorted({*uniform, *singles})
    true = dict(zip(wanted, _decord_frames(path, wanted, "sequential", torch_first), strict=True))
    if any((mine != true[i]).any() for i, mine in zip(uniform, fresh(uniform), strict=True)):
        return False
    return all((fresh([i])[0] == true[i]).all() for i in singles)


def read_frames(
    path: Path | str,
    indices: Sequence[int] | np.ndarray,
    *,
    info: FileInfo | None = None,
    size_px: int | None = None,
    torch_first: bool = True,
) -> np.ndarray:
    """Frames of a file as uint8 RGB (n, H, W, 3), rotation applied.

    Args:
        path: The video.
        indices: 0-based, any order, repeats allowed, each below the number of decodable frames.
        info: What the index step found (backend and access); None = look now.
        size_px: Resize the short side to this and crop the centre square; None = native size.
        torch_first: See :func:`load_decord`.

    Raises:
        DecodeError: The file gives no such frames.
    """
    path = Path(path)
    info = probe_file(path, torch_first=torch_first) if info is None else info
    if not info.is_readable:
        raise DecodeError(f"{path}: {info.status}: {info.error}")
    wanted = [int(index) for index in indices]
    bad = [index for index in wanted if not 0 <= index < info.num_frames]
    if bad:
        raise DecodeError(f"{path}: no frame {bad[0]}; there are {info.num_frames}")
    distinct = sorted(set(wanted))
    try:
        if info.backend == "decord":
            frames = _decord_frames(path, distinct, info.access, torch_first)
        else:
            frames = _pyav_frames(path, distinct)
    except DecodeError:
        raise
    except Exception as error:
        raise DecodeError(f"{path}: {_first_line(error)}") from error
    if size_px is not None:
        frames = fit(frames, size_px)
    return frames[np.searchsorted(distinct, wanted)]


def read_clip(path: Path | str, *, frames: int, size_px: int) -> tuple[np.ndarray, dict[str, Any]]:
    """A clip of ``frames`` uniformly chosen frames, and how it was read.

    Returns:
        uint8 RGB (frames, size_px, size_px, 3) and a dict with `num_frames`, `fps`, `backend`,
        `status` (`ok`, `partial` or `fallback`) and `note` (a sentence, empty when all is well).

    Raises:
        DecodeError: The file is missing, empty or cannot be decoded.
    """
    info = probe_file(path)
    if not info.is_readable:
        raise DecodeError(f"{path}: {info.status}: {info.error}")
    clip = read_frames(path, uniform_center(info.num_frames, frames), info=info, size_px=size_px)
    notes = {
        "partial": f"damaged file: {info.error}",
        "fallback": f"decoded by PyAV, since decord cannot read it ({info.error})",
    }
    return clip, {
        "num_frames": info.num_frames,
        "fps": info.fps,
        "backend": info.backend,
        "status": info.status,
        "note": notes.get(info.status, ""),
    }


def _open_decord(path: Path, *, torch_first: bool) -> Any:
    """A fresh reader. Never keep one: idle ones grow, forked ones hang."""
    decord = load_decord(torch_first=torch_first)
    return decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)


def _decord_frames(path: Path, wanted: Sequence[int], access: str, torch_first: bool) -> np.ndarray:
    """Frames of sorted distinct indices."""
    reader = _open_decord(path, torch_first=torch_first)
    if access == "seek":
        return reader.get_batch(list(wanted)).asnumpy()
    end = wanted[-1] + 1
    places = np.asarray(wanted)
    kept = []
    for start in range(0, end, _CHUNK):
        chunk = reader.get_batch(range(start, min(start + _CHUNK, end))).asnumpy()
        here = places[(places >= start) & (places < start + _CHUNK)]
        kept.append(chunk[here - start])
    return np.concatenate(kept)


@contextmanager
def _open_pyav(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container and its best video stream (decord takes the same), one decoding thread."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        if stream is None:
            raise DecodeError(f"{path}: no video stream")
        stream.codec_context.thread_count = 1
        yield container, stream


def _pyav_frames(path: Path, wanted: Sequence[int]) -> np.ndarray:
    """Frames of sorted distinct indices, in decoding order of output (AVI has no time stamps)."""
    kept: list[np.ndarray] = []
    places = set(wanted)
    with _open_pyav(path) as (container, stream):
        for index, frame in enumerate(container.decode(stream)):
            if index in places:
                pixels = frame.to_ndarray(format="rgb24")
                kept.append(np.rot90(pixels, (frame.rotation // 90) % 4))
            if index == wanted[-1]:
                return np.stack(kept)
    raise DecodeError(f"{path}: ended before frame {wanted[-1]}")


def _first_line(error: BaseException) -> str:
    """A short form of an error: decord appends a native stack trace, and its place in C++."""
    text = getattr(error, "strerror", None) or str(error).strip().split("\n", 1)[0]
    for mark in (" ERROR ", "Check failed: "):
        text = text.rpartition(mark)[2]
    return text[:200] or type(error).__name__

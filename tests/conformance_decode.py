"""Format `decode`: frames of a clip against arrays made with decord and PyAV."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sweep.data.decoding.decode import read_frames
from sweep.data.decoding.probe import probe_file
from sweep.data.sampling import uniform_center

if TYPE_CHECKING:
    from collections.abc import Callable

    from sweep.data.decoding.file_info import FileInfo
    from tests.conformance import Reader

REPOSITORY = Path(__file__).resolve().parents[1]


def check(read: Reader) -> None:
    """One clip: counts, frame statistics by both backends, single pixels, time stamps."""
    path = _video(read)
    depth = int(read.input("bit_depth"))
    # Which accesses decord gets wrong is a fact about decord; we must be right on all of them.
    read.input("seek_differs_from_sequential")
    info = probe_file(path)
    for name in ("num_frames", "height", "width", "rotation"):
        read.compare(name, getattr(info, name))
    read.compare("fps", info.fps, atol=1e-6)
    indices = uniform_center(info.num_frames, len(read.input("uniform_idx")))
    read.compare("uniform_idx", indices)

    frames = read_frames(path, indices, info=info)
    across = 0.01 if depth == 8 else 1.5
    read.compare("decord_mean_rgb", _means(frames), atol=across, note="PyAV")
    read.compare("pyav_mean_rgb", _means(frames), atol=_same_version())
    read.compare("pyav_std_rgb", frames.std(axis=(1, 2), dtype=np.float64), atol=_same_version())
    read.compare("pyav_pts_sec", _times(path, indices), atol=1e-6)

    by_decord = probe_file(path, backend="decord")
    if by_decord.is_readable:
        theirs = read_frames(path, indices, info=by_decord)
        read.compare("decord_mean_rgb", _means(theirs), atol=0.01, note="decord")
        patches = theirs[: len(read.input("decord_patch16")), :16, :16]
        read.compare("decord_patch16", patches)
        read.compare("key_indices", _key_indices(path))
        gap = _mean_difference(path, np.arange(info.num_frames), info)
        read.compare("absdiff_mean", gap, atol=0.01)
    else:
        for name in ("decord_patch16", "key_indices", "absdiff_mean"):
            read.input(name)  # facts about a decord that reads this file


def _video(read: Reader) -> Path:
    stem = read.path.stem.removeprefix("decode_")
    folders = (read.folder.parent / "videos", REPOSITORY.parent / "shared" / "videos")
    for folder in folders:
        found = sorted(folder.glob(f"{stem}.*"))
        if found:
            return found[0]
    raise FileNotFoundError(f"no clip {stem}.* in {' or '.join(map(str, folders))}")


def _means(frames: np.ndarray) -> np.ndarray:
    return frames.mean(axis=(1, 2), dtype=np.float64)


def _same_version() -> float:
    """Tolerance on statistics by PyAV: tight with the version that made the arrays."""
    import av

    return 0.01 if av.__version__ == "18.1.0" else 0.5


def _times(path: Path, indices: np.ndarray) -> np.ndarray:
    import av

    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        times = [float(frame.time) for frame in container.decode(stream)]
    return np.asarray(times)[indices]


def _key_indices(path: Path) -> np.ndarray:
    from sweep.data.decoding.by_decord import load_decord

    return np.asarray(load_decord().VideoReader(str(path), num_threads=1).get_key_indices())


def _mean_difference(path: Path, indices: np.ndarray, info: FileInfo) -> float:
    pair = [
        read_frames(path, indices, info=replace(info, backend=backend)).astype(np.int16)
        for backend in ("decord", "pyav")
    ]
    return float(np.abs(pair[0] - pair[1]).mean())


FORMATS: dict[str, Callable[[Reader], None]] = {"decode": check}

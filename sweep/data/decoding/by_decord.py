"""Frames by decord: the second opinion of `data verify`, and a backend for those who ask for it.

The only module that imports decord. Where a stream gives fewer pictures than packets it fills up
with copies of the last one, and random access numbers key frames in decoding order; hence
``fault_tol=1``, reading from the start, and a count that must be PyAV's.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.data.decoding import pool
from sweep.data.decoding.errors import first_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType

    import numpy as np

    from sweep.data.decoding.file_info import FileInfo


def load_decord() -> ModuleType:
    """The decord module.

    decord makes the symbols of its bundled libraries visible to all that load later: torch then
    crashes (dmlc/decord issue 251), and the VP9 encoder of PyAV ends up in a libvpx of another
    version and cannot be opened. Hence both are imported before it; torch not in worker processes
    of :mod:`sweep.data.decoding.pool`, which never need it.
    """
    if not pool.is_worker():
        import torch  # noqa: F401
    import av  # noqa: F401
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    return decord


def why_not(path: Path, info: FileInfo) -> str:
    """Why decord cannot be asked about a file that PyAV reads; empty = it can.

    Args:
        path: The video.
        info: What PyAV found.
    """
    if info.is_mirrored:
        return "its display matrix mirrors, which decord takes for a turn"
    try:
        count = sum(1 for _ in frames(path, range(info.num_frames)))
        total = len(_open(path))
    except Exception as error:  # noqa: BLE001  decord raises RuntimeError and its own Exception
        return f"decord cannot read it ({first_line(error)}); PyAV gives {info.num_frames} frames"
    if not count == total == info.num_frames:
        return f"decord counts {total} frames, PyAV {info.num_frames}"
    return ""


def _open(path: Path) -> Any:
    """A fresh reader. Never keep one: idle ones grow, forked ones hang."""
    decord = load_decord()
    # fault_tol=1: fail on the second made-up frame; 0 would mean that any number will do.
    return decord.VideoReader(str(path.absolute()), ctx=decord.cpu(0), num_threads=1, fault_tol=1)


def frames(path: Path, wanted: Sequence[int]) -> Iterator[np.ndarray]:
    """Frames of sorted distinct indices, all up to the last one read in order."""
    reader = _open(path)
    places = set(wanted)
    for at in range(min(wanted[-1] + 1, len(reader))):
        try:
            frame = reader.next()  # `get_batch` keeps its frames: 20 GB on a long 1080p recording
        except StopIteration:
            return
        pool.beat()
        if at in places:
            yield frame.asnumpy()

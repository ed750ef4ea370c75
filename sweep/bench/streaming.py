"""Rows about clips that are decoded on demand: against a researcher's loader, and the decoder."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from sweep.bench.decoding import videos
from sweep.bench.measure import Row, UnequalError, interleave
from sweep.data.decoding import by_pyav
from sweep.data.decoding.by_decord import load_decord
from sweep.data.decoding.probe import probe_file
from sweep.data.records import Record
from sweep.data.sampling import uniform_center
from sweep.data.sources import StreamedClips
from sweep.data.survey import StoredSet

CLIPS, FRAMES, SIZE_PX = 24, 16, 224


def stream(device: str = "cpu", repeats: int = 5) -> Row:
    """Clips of 16 x 224 x 224 out of videos, per core: what a worker of a loader does."""
    del device  # decoding is CPU work
    with tempfile.TemporaryDirectory(prefix="auxsweep-bench-") as name:
        paths = videos(Path(name))[:CLIPS]
        source = _source(paths)
        every, rows = np.arange(FRAMES), np.arange(len(paths))

        def ours() -> np.ndarray:
            return source.frames(rows, every)

        def peer() -> np.ndarray:
            return np.stack([_by_transforms(path) for path in paths])

        gap = np.abs(ours().astype(np.int16) - peer()).max()
        if gap > 2:  # two roundings each
            raise UnequalError(f"stream: the loaders differ by {gap} grey levels")
        timing = interleave(ours, peer, repeats=repeats)
    return Row(
        name="stream, 16 x 224 x 224",
        peer="decord's get_batch, then torchvision's Resize and CenterCrop frame by frame",
        goal=1.3,
        error=f"at most {gap} grey level apart",
        note=_note(len(paths), timing["ours_s"]),
        **timing,
    )


def decoder(device: str = "cpu", repeats: int = 5) -> Row:
    """The same against PyAV alone, which stops at whole frames of the wanted times."""
    del device
    with tempfile.TemporaryDirectory(prefix="auxsweep-bench-") as name:
        paths = videos(Path(name))[:CLIPS]
        source = _source(paths)
        every, rows = np.arange(FRAMES), np.arange(len(paths))

        def ours() -> np.ndarray:
            return source.frames(rows, every)

        def peer() -> int:
            return sum(
                len(list(by_pyav.frames(path, uniform_center(info.num_frames, FRAMES).tolist())))
                for path, info in zip(paths, source.set.files, strict=True)
            )

        if peer() != ours().shape[0] * ours().shape[1]:
            raise UnequalError("stream: the decoder gave another number of frames")
        timing = interleave(ours, peer, repeats=repeats)
    return Row(
        name="stream, share of the decoder",
        peer="PyAV alone: decode up to the last wanted frame, wanted ones to RGB, no resizing",
        goal=0.8,
        error="equal numbers of frames",
        note=_note(len(paths), timing["ours_s"]),
        **timing,
    )


def _source(paths: list[Path]) -> StreamedClips:
    files = tuple(probe_file(path) for path in paths)
    records = tuple(Record(id=path.stem, path=path) for path in paths)
    spans = tuple(range(info.num_frames) for info in files)
    stored = StoredSet("bench", records, files, spans, paths[0].parent)
    return StreamedClips(stored, FRAMES, SIZE_PX)


def _by_transforms(path: Path) -> np.ndarray:
    """uint8 ``(T, C, H, W)`` as a loader of a training script makes it."""
    import torch
    from torchvision.transforms import v2

    reader = load_decord().VideoReader(str(path), num_threads=1)
    frames = reader.get_batch(uniform_center(len(reader), FRAMES)).asnumpy()
    steps = v2.Compose([v2.Resize(SIZE_PX, antialias=True), v2.CenterCrop(SIZE_PX)])
    made = [steps(torch.from_numpy(frame).permute(2, 0, 1)) for frame in frames]
    return torch.stack(made).numpy()


def _note(clips: int, seconds: float) -> str:
    return (
        f"{clips} clips of H.264 with B-frames, 320 to 426 pixels wide, 48 to 300 frames; "
        f"{clips / seconds:.1f} clips per second and core"
    )

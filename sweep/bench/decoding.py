"""Row about data: looking at clips and storing their frames, by PyAV in order against decord."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sweep.bench.measure import Row, UnequalError, interleave
from sweep.data.decoding.by_decord import load_decord
from sweep.data.decoding.cache import decode_clip
from sweep.data.decoding.probe import probe_file
from sweep.data.decoding.resize import fit
from sweep.data.sampling import uniform_center

CLIPS, FRAMES, SIZE_PX = 64, 16, 112
_CHUNK = 64
#: Sizes and lengths (in frames) of Something-Something V2, UCF101 and Kinetics, in turn.
_KINDS = ((426, 240, 48), (320, 240, 180), (340, 256, 300))


def index_and_cache(device: str = "cpu", repeats: int = 5) -> Row:
    """Every clip decoded once to look at it and once to store it, both sides in one process."""
    del device  # decoding is CPU work
    with tempfile.TemporaryDirectory(prefix="auxsweep-bench-") as name:
        paths = videos(Path(name))

        def ours() -> np.ndarray:
            return np.stack(
                [decode_clip(p, probe_file(p), frames=FRAMES, size_px=SIZE_PX) for p in paths]
            )

        def peer() -> np.ndarray:
            return np.stack([_by_decord(path) for path in paths])

        if not np.array_equal(ours(), peer()):
            raise UnequalError("index and cache: the two libraries gave other frames")
        timing = interleave(ours, peer, repeats=repeats)
    return Row(
        name="index and cache",
        peer="decord, in order: all frames to count them, then up to the last one that is stored",
        goal=1.5,
        error="equal bytes",
        note=f"{CLIPS} clips of H.264 with B-frames, {_KINDS[0][0]} to {_KINDS[1][0]} pixels wide, "
        f"{_KINDS[0][2]} to {_KINDS[2][2]} frames; {FRAMES} x {SIZE_PX} x {SIZE_PX} stored",
        **timing,
    )


def videos(folder: Path) -> list[Path]:
    """Scenes that move, of the sizes and lengths of published data sets."""
    import av

    rng = np.random.default_rng(0)
    paths = []
    for number in range(CLIPS):
        width, height, count = _KINDS[number % len(_KINDS)]
        path = folder / f"{number}.mp4"
        coarse = rng.integers(0, 256, (20, 60, 3), dtype=np.uint8)
        wide = Image.fromarray(coarse).resize((width + 2 * count, height), Image.Resampling.BICUBIC)
        scene = np.asarray(wide)
        with av.open(str(path), "w") as container:
            stream: Any = container.add_stream("libx264", rate=30, options={"preset": "fast"})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for step in range(count):
                image = np.ascontiguousarray(scene[:, 2 * step : 2 * step + width])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
        paths.append(path)
    return paths


def _by_decord(path: Path) -> np.ndarray:
    """uint8 ``(T, C, H, W)`` as the cache holds it, by the way that was ours before."""
    decord = load_decord()
    reader = decord.VideoReader(str(path), num_threads=1)
    total = len(reader)
    for start in range(0, total, _CHUNK):
        reader.get_batch(range(start, min(start + _CHUNK, total))).asnumpy()
    wanted = uniform_center(total, FRAMES)
    reader, kept = decord.VideoReader(str(path), num_threads=1), []
    end = int(wanted[-1]) + 1
    for start in range(0, end, _CHUNK):
        chunk = reader.get_batch(range(start, min(start + _CHUNK, end))).asnumpy()
        kept.append(chunk[wanted[(wanted >= start) & (wanted < start + _CHUNK)] - start])
    return np.ascontiguousarray(fit(np.concatenate(kept), SIZE_PX).transpose(0, 3, 1, 2))

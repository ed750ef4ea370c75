"""Rows about evaluation: cached clips against decoding, one decode against one per cell."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import models
from perturb.apply import apply, frame_map
from perturb.catalogue import PERTURBATIONS
from perturb.draws import draws_for
from perturb.noise import normal_numbers
from sweep.bench.measure import Row, UnequalError, interleave
from sweep.data.decoding.by_decord import load_decord
from sweep.data.sampling import uniform_center

#: Five kinds x five severities, and clean: 26 cells.
KINDS = ("gaussian_noise", "speckle_noise", "static_rotation", "jumbling", "reverse_sampling")
LADDER = "paper_fixed"
VIDEOS = 3
MAX_LOGIT_ERROR = 1e-3


@cache
def _videos() -> tuple[tempfile.TemporaryDirectory, list[Path]]:
    """H.264 files of 480 x 270 pixels and ten seconds, in a folder that goes with the process."""
    import av

    folder = tempfile.TemporaryDirectory(prefix="auxsweep-bench-")
    rng = np.random.default_rng(0)
    paths = []
    for number in range(VIDEOS):
        path = Path(folder.name) / f"{number}.mp4"
        coarse = rng.integers(0, 256, (20, 60, 3), dtype=np.uint8)
        scene = np.asarray(Image.fromarray(coarse).resize((960, 270), Image.Resampling.BICUBIC))
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=30)
            stream.width, stream.height, stream.pix_fmt = 480, 270, "yuv420p"
            for step in range(300):
                image = np.ascontiguousarray(scene[:, step : step + 480])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
        paths.append(path)
    return folder, paths


def _decode(path: Path, frames: int, size_px: int) -> np.ndarray:
    """uint8 ``(T, H, W, 3)`` as a short script would do it: the decoder resizes, centre crop."""
    decord = load_decord()
    width = round(size_px * 480 / 270)
    reader = decord.VideoReader(str(path), width=width, height=size_px, num_threads=1)
    clip = reader.get_batch(uniform_center(len(reader), frames)).asnumpy()
    left = (width - size_px) // 2
    return clip[:, :, left : left + size_px]


def clip_cache(device: str = "cpu") -> Row:
    """A clip from the memory-mapped store against opening the file and decoding 16 frames."""
    del device  # reading is CPU work
    folder, paths = _videos()
    decoded = np.stack([_decode(path, 16, 224) for path in paths])
    store_path = Path(folder.name) / "store.npy"
    np.save(store_path, np.ascontiguousarray(decoded.transpose(0, 1, 4, 2, 3)))
    store = np.load(store_path, mmap_mode="r")
    again = np.stack([np.array(store[i]) for i in range(len(paths))]).transpose(0, 1, 3, 4, 2)
    if not np.array_equal(again, decoded):
        raise UnequalError("clip cache: stored frames differ from decoded ones")

    def ours() -> None:
        for _ in range(20):
            for row in range(len(paths)):
                np.array(store[row])

    def peer() -> None:
        for path in paths:
            _decode(path, 16, 224)

    timing = interleave(ours, peer, repeats=5)
    for name, factor in (("ours_s", 1 / 20), ("ratio", 20.0), ("low", 20.0), ("high", 20.0)):
        timing[name] *= factor
    return Row(
        name="clip from the cache",
        peer="open and decode",
        goal=50.0,
        error="equal bytes",
        note=f"{len(paths)} clips of 16 x 224 x 224, uint8; 10 s of H.264 at 480 x 270",
        **timing,
    )


def grid(device: str = "cpu", frames: int = 8, size_px: int = 128) -> Row:
    """26 cells from cached clips, batched, against decoding and PIL per cell, clip and frame."""
    _, paths = _videos()
    model = models.build("tiny", heads={"classes": 8}, frames=frames, size_px=size_px)
    model.eval().to(device)
    ids = [path.stem for path in paths]
    cached = torch.from_numpy(np.stack([_decode(p, frames, size_px) for p in paths])).permute(
        0, 1, 4, 2, 3
    )
    cached = cached.contiguous()
    cells = [("", 0)] + [(kind, s) for kind in KINDS for s in range(1, 6)]

    def logits(pixels: Tensor) -> Tensor:
        return model.encode_video(pixels.float() / 255)["logits"]

    @torch.inference_mode()
    def ours() -> list[Tensor]:
        found = []
        for kind, severity in cells:
            clip = apply(cached, kind, severity, clip_ids=ids, ladder=LADDER) if kind else cached
            found.append(logits(clip.to(device)))
        return found

    def peer() -> list[Tensor]:
        found = []
        for kind, severity in cells:
            rows = []
            for path, clip_id in zip(paths, ids, strict=True):
                decoded = _decode(path, frames, size_px)
                seen = _naive(decoded, kind, severity, clip_id)
                rows.append(logits(torch.from_numpy(seen).permute(0, 3, 1, 2)[None].to(device)))
            found.append(torch.cat(rows))
        return found

    pairs = zip(ours(), peer(), strict=True)
    error = max(float((a - b).detach().abs().max()) for a, b in pairs)
    if error > MAX_LOGIT_ERROR:
        raise UnequalError(f"robustness grid: logits differ by {error:.2e}")
    timing = interleave(ours, peer, repeats=5, device=device)
    return Row(
        name="robustness grid, cached",
        peer="decode per cell, PIL or numpy per frame, batch 1, gradients on",
        goal=8.0,
        error=f"logits differ by {error:.0e} at most",
        note=f"{len(cells)} cells, {len(paths)} clips of {frames} x {size_px} px, tiny model",
        **timing,
    )


def _naive(decoded: np.ndarray, kind: str, severity: int, clip_id: str) -> np.ndarray:
    """One clip ``(T, H, W, 3)``, frame by frame, with the draws of the product."""
    if not kind:
        return decoded
    spec = PERTURBATIONS[kind]
    if spec.temporal:
        index = frame_map(kind, severity, len(decoded), clip_ids=[clip_id], ladder=LADDER)[0]
        return np.stack([decoded[i] for i in index.tolist()])
    level = spec.arguments(severity, LADDER, short_side_px=decoded.shape[1], frames=len(decoded))
    if kind == "static_rotation":
        angle = next(iter(level.values()))
        return np.stack([np.asarray(Image.fromarray(f).rotate(angle)) for f in decoded])
    drawn = normal_numbers(draws_for(kind, severity, clip_id, 0), decoded.size)
    noise = drawn.view(len(decoded), 3, *decoded.shape[1:3]).permute(0, 2, 3, 1).numpy()
    out = []
    for frame, draw in zip(decoded, noise, strict=True):
        x = frame.astype(np.float64) / 255
        y = x + level["std"] * draw * (x if kind == "speckle_noise" else 1.0)
        out.append((np.clip(y, 0, 1) * 255).astype(np.uint8))
    return np.stack(out)

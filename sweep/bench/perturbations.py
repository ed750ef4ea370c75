"""The published grid of perturbations, batched, against the usual loop over frames.

The peer does what released evaluation scripts do: one frame at a time through Pillow, numpy and
scipy in double precision, video through a file. It uses our draws, so that results can be
compared.
"""

from __future__ import annotations

import io
import math
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from perturb.apply import apply, frame_map, unavailable
from perturb.blur import disk, motion_angles
from perturb.camera import angles, offsets
from perturb.catalogue import PERTURBATIONS, PROFILES
from perturb.draws import Draws, draws_for
from perturb.noise import normal_numbers
from perturb.video import FORMATS, quantiser_options
from sweep.bench.measure import Row, UnequalError, interleave

LADDER = "paper_fixed"
FRAMES, SIZE_PX = 16, 224
CLIP_ID = "bench"
#: Their numbers per pixel are numpy's: mean and spread agree, not each value.
IN_DISTRIBUTION = {"shot_noise", "impulse_noise"}

_CONTAINERS = {"mpeg1": ("vob", "mpeg"), "mpeg2": ("avi", "avi")}  # written, read

Frames = np.ndarray  # (T, H, W, 3) uint8
Naive = Callable[[Frames, Draws, Mapping[str, float]], Frames]


def scene(frames: int = FRAMES, size_px: int = SIZE_PX) -> Frames:
    """A textured picture that moves, (T, H, W, 3) uint8."""
    rng = np.random.default_rng(0)
    side = size_px + frames
    coarse = Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8))
    fine = Image.fromarray(rng.integers(0, 256, (120, 120, 3), dtype=np.uint8))
    smooth = coarse.resize((side, side), Image.Resampling.BICUBIC)
    picture = Image.blend(smooth, fine.resize((side, side), Image.Resampling.BICUBIC), 0.25)
    pixels = np.asarray(picture)
    return np.stack([pixels[t : t + size_px, t : t + size_px] for t in range(frames)])


def perturbations(device: str = "cpu") -> Row:
    """All conditions of the published grid on one clip of 16 x 224 x 224."""
    source = scene()
    clip = torch.from_numpy(source).permute(0, 3, 1, 2).contiguous()[None].to(device)
    cells = [
        (name, severity)
        for name, severities in PROFILES[LADDER].conditions.items()
        for severity in severities
        if unavailable(name) is None
    ]

    def ours() -> list[Tensor]:
        return [apply(clip, name, s, clip_ids=[CLIP_ID], ladder=LADDER) for name, s in cells]

    def peer() -> list[Frames]:
        return [naive(source, name, severity) for name, severity in cells]

    worst = 0
    # noise per pixel is drawn on the device, so only the CPU's can be compared value by value
    if device == "cpu":
        for (name, severity), fast, slow in zip(cells, ours(), peer(), strict=True):
            worst = max(worst, compare(name, severity, fast[0], slow))
    timing = interleave(ours, peer, repeats=2, device=device)
    return Row(
        name="perturbation grid",
        peer="frame by frame: Pillow, numpy and scipy; video through a file",
        goal=5.0,
        error=f"at most {worst} grey level apart" if device == "cpu" else "compared on the CPU",
        note=f"{len(cells)} conditions, one clip of {FRAMES} x {SIZE_PX} x {SIZE_PX}",
        **timing,
    )


def compare(name: str, severity: int, fast: Tensor, slow: Frames) -> int:
    """Return the largest difference in grey levels; some noise agrees in mean and spread.

    Raises:
        UnequalError: If ours and the peer's result are further apart than one grey level, or
            differ in more than one of a hundred values.
    """
    ours = fast.permute(0, 2, 3, 1).cpu().numpy().astype(int)
    if name in IN_DISTRIBUTION:
        gap = abs(ours.mean() - slow.mean()) + abs(ours.std() - slow.std())
        if gap > 0.5:
            raise UnequalError(f"{name}/{severity}: mean and spread differ by {gap:.2f}")
        return 0
    apart = np.abs(ours - slow)
    if apart.max() > 1 or (apart > 0).mean() > 0.01:
        share = (apart > 0).mean()
        raise UnequalError(f"{name}/{severity}: {apart.max()} levels apart, {share:.2%} differ")
    return int(apart.max())


def naive(frames: Frames, name: str, severity: int) -> Frames:
    """One condition on one clip, frame by frame.

    Args:
        frames: (T, H, W, 3) uint8.
        name: One of the eighteen published perturbations.
        severity: 1 to 5.
    """
    spec = PERTURBATIONS[name]
    if spec.temporal:
        shown = frame_map(name, severity, len(frames), clip_ids=[CLIP_ID], ladder=LADDER)
        return np.stack([frames[i] for i in shown[0].tolist()])
    level = spec.arguments(severity, LADDER, short_side_px=frames.shape[1], frames=len(frames))
    return NAIVE[name](frames, draws_for(name, severity, CLIP_ID, 0), level)


def _each(frames: Frames, change: Callable[[np.ndarray], np.ndarray]) -> Frames:
    """Apply a change of values in [0, 1] to each frame, cut to whole grey levels."""
    out = [np.clip(change(frame.astype(np.float64) / 255), 0, 1) * 255 for frame in frames]
    return np.stack([frame.astype(np.uint8) for frame in out])


def _normal(frames: Frames, draw: Draws) -> Any:
    """Normal numbers for one frame after the other, (H, W, 3) each."""
    made = normal_numbers(draw, frames.size).view(len(frames), 3, *frames.shape[1:3])
    return iter(made.permute(0, 2, 3, 1).numpy())


def _gaussian(frames: Frames, draw: Draws, level: Mapping[str, float]) -> Frames:
    noise = _normal(frames, draw)
    return _each(frames, lambda x: x + level["std"] * next(noise))


def _speckle(frames: Frames, draw: Draws, level: Mapping[str, float]) -> Frames:
    noise = _normal(frames, draw)
    return _each(frames, lambda x: x + x * level["std"] * next(noise))


def _shot(frames: Frames, draw: Draws, level: Mapping[str, float]) -> Frames:
    rng, photons = np.random.default_rng(draw.key), level["photons"]
    return _each(frames, lambda x: rng.poisson(x * photons) / photons)


def _impulse(frames: Frames, draw: Draws, level: Mapping[str, float]) -> Frames:
    rng, share = np.random.default_rng(draw.key), level["share"]

    def replace(x: np.ndarray) -> np.ndarray:
        drawn = rng.random(x.shape)
        x[drawn < share] = 0
        x[drawn < share / 2] = 1
        return x

    return _each(frames, replace)


def _motion(frames: Frames, draw: Draws, level: Mapping[str, float]) -> Frames:
    width = 2 * math.ceil(level["radius"]) + 1
    steps = np.arange(width)
    weights = np.exp(-(steps**2) / (2 * level["sigma"] ** 2))
    weights /= weights.sum()
    height, columns = frames.shape[1:3]
    out = []
    for frame, degrees in zip(frames, motion_angles(draw, len(frames)).tolist(), strict=True):
        radians = math.radians(degrees)
        padded = np.pad(frame.astype(np.float64), ((width, width), (0, width), (0, 0)), "edge")
        total = np.zeros(frame.shape)
        for i, weight in enumerate(weights):
            right = math.ceil(i * math.cos(radians) - 0.5)
            down = math.ceil(i * math.sin(radians) - 0.5) + width
            total += weight * padded[down : down + height, right : right + columns]
        out.append((total + 1e-3).astype(np.uint8))
    return np.stack(out)


def _zoom(frames: Frames, draw: Draws, level: Mapping[str, float]) -> Frames:
    del draw
    from scipy.ndimage import zoom

    factors = np.arange(1, level["stop"], level["step"])
    height, width = frames.shape[1:3]

    def blur(x: np.ndarray) -> np.ndarray:
        total = x.copy()
        for z in factors.tolist():
            rows, columns = math.ceil(height / z), math.ceil(width / z)
            top, left = (height - rows) // 2, (width - columns) // 2
            crop = x[top : top + rows, left : left + columns]
            large = zoom(crop, (z, z, 1), order=1)
            top, left = (large.shape[0] - height) // 2, (large.shape[1] - width) // 2
            total += large[top : top + height, left : left + width]
        return total / (len(factors) + 1) + 1e-7

    return _each(frames, blur)


def _defocus(frames: Frames, draw: Draws, level: Mapping[str, float]) -> Frames:
    del draw
    from scipy.signal import fftconvolve

    kernel = disk(level["radius"], level["alias_sigma"]).double().numpy()
    half = len(kernel) // 2

    def blur(x: np.ndarray) -> np.ndarray:
        padded = np.pad(x, ((half, half), (half, half), (0, 0)), "reflect")
        planes = [fftconvolve(padded[..., c], kernel, mode="valid") for c in range(3)]
        return np.stack(planes, -1) + 1e-9

    return _each(frames, blur)


def _jpeg(frames: Frames, draw: Draws, level: Mapping[str, float]) -> Frames:
    del draw
    out = []
    for frame in frames:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=int(level["quality"]))
        out.append(np.asarray(Image.open(buffer)))
    return np.stack(out)


def _video(name: str) -> Naive:
    def through_a_file(frames: Frames, draw: Draws, level: Mapping[str, float]) -> Frames:
        del draw
        import av

        form = FORMATS[name]
        with tempfile.TemporaryDirectory() as folder:
            container, reader = _CONTAINERS[name]
            path = str(Path(folder) / f"clip.{container}")
            with av.open(path, "w", format=container) as video:
                options = quantiser_options(level["quantiser"])
                stream: Any = video.add_stream(form.encoder, 25, options)
                stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
                context = stream.codec_context
                context.gop_size, context.max_b_frames, context.thread_count = 12, 0, 1
                for frame in frames:
                    picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
                    video.mux(stream.encode(picture))
                video.mux(stream.encode(None))
            with av.open(path, "r", format=reader) as video:
                return np.stack([p.to_ndarray(format="rgb24") for p in video.decode(video=0)])

    return through_a_file


def _static_rotation(frames: Frames, draw: Draws, level: Mapping[str, float]) -> Frames:
    del draw
    return np.stack([np.asarray(Image.fromarray(f).rotate(level["degrees"])) for f in frames])


def _random_rotation(frames: Frames, draw: Draws, level: Mapping[str, float]) -> Frames:
    drawn = angles(draw, len(frames), level["limit"]).tolist()
    pairs = zip(frames, drawn, strict=True)
    return np.stack([np.asarray(Image.fromarray(f).rotate(degrees)) for f, degrees in pairs])


def _translation(frames: Frames, draw: Draws, level: Mapping[str, float]) -> Frames:
    drawn = offsets(draw, len(frames), level["low"], level["high"], is_whole=True).long().tolist()
    out = []
    for frame, (down, right) in zip(frames, drawn, strict=True):
        height, width = frame.shape[:2]
        box = (right, down, right + width, down + height)
        out.append(np.asarray(Image.fromarray(frame).crop(box)))
    return np.stack(out)


NAIVE: dict[str, Naive] = {
    "gaussian_noise": _gaussian,
    "shot_noise": _shot,
    "impulse_noise": _impulse,
    "speckle_noise": _speckle,
    "motion_blur": _motion,
    "zoom_blur": _zoom,
    "defocus_blur": _defocus,
    "jpeg": _jpeg,
    "mpeg1": _video("mpeg1"),
    "mpeg2": _video("mpeg2"),
    "static_rotation": _static_rotation,
    "random_rotation": _random_rotation,
    "translation": _translation,
}

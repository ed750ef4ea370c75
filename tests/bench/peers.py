"""Every perturbation against other libraries, severity 3: `python -m tests.bench.peers`.

Needs what the project does not: opencv-python-headless, kornia, imagecorruptions. Libraries define
perturbations differently (kernels, rounding, draws), so this compares time for the same kind of
damage, not results. All take and return uint8 frames in their own layout. One thread, CPU time.
"""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch

from perturb.apply import apply
from perturb.catalogue import PERTURBATIONS
from sweep.bench.measure import interleave
from sweep.bench.perturbations import CLIP_ID, LADDER, NAIVE, naive, scene

SEVERITY = 3
FRAMES = scene()
CLIP = torch.from_numpy(FRAMES).permute(0, 3, 1, 2).contiguous()[None]


def _opencv() -> dict[str, Callable[[], Any]]:
    height, width = FRAMES.shape[1:3]

    def noisy(scale: bool) -> None:
        for frame in FRAMES:
            noise = np.empty(frame.shape, np.float32)
            cv2.randn(noise, 0, 1)
            x = frame.astype(np.float32)
            made = x + (0.25 * x if scale else 0.18 * 255) * noise
            np.clip(made, 0, 255, out=made).astype(np.uint8)

    def impulse() -> None:
        for frame in FRAMES:
            chance = np.empty(frame.shape, np.uint8)
            cv2.randu(chance, 0, 256)
            made = frame.copy()
            made[chance < 11] = 0
            made[chance > 244] = 255

    def zoom() -> None:
        for frame in FRAMES:
            total = frame.astype(np.float32)
            for z in np.arange(1, 1.21, 0.02):
                large = cv2.resize(frame, None, fx=z, fy=z, interpolation=cv2.INTER_LINEAR)
                top, left = (large.shape[0] - height) // 2, (large.shape[1] - width) // 2
                total += large[top : top + height, left : left + width]
            (total / 12).astype(np.uint8)

    def filtered(kernel: np.ndarray) -> None:
        for frame in FRAMES:
            cv2.filter2D(frame, -1, kernel)

    axis = np.arange(-8, 9)
    disk = (axis[:, None] ** 2 + axis**2 <= 36).astype(np.float32)
    trail = np.zeros((63, 63), np.float32)
    trail[31, 31:62] = np.exp(-(np.arange(31.0) ** 2) / 128)
    turn = cv2.getRotationMatrix2D((31, 31), 20, 1)

    def motion() -> None:
        kernel = cv2.warpAffine(trail, turn, (63, 63))
        filtered(kernel / kernel.sum())

    def moved(matrix: np.ndarray) -> None:
        for frame in FRAMES:
            cv2.warpAffine(frame, matrix, (width, height), flags=cv2.INTER_NEAREST)

    def jpeg() -> None:
        for frame in FRAMES:
            _, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 15])
            cv2.imdecode(data, cv2.IMREAD_COLOR)

    def hsv(channel: int) -> None:
        for frame in FRAMES:
            made = cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
            made[..., channel] = np.clip(made[..., channel] * 2 + 0.3, 0, 1)
            (cv2.cvtColor(made, cv2.COLOR_HSV2RGB) * 255).astype(np.uint8)

    def contrast() -> None:
        for frame in FRAMES:
            mean = frame.mean((0, 1), keepdims=True, dtype=np.float32)
            np.clip((frame - mean) * 0.3 + mean, 0, 255).astype(np.uint8)

    def pixelate() -> None:
        for frame in FRAMES:
            small = cv2.resize(frame, (89, 89), interpolation=cv2.INTER_AREA)
            cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)

    def soft() -> None:
        for frame in FRAMES:
            cv2.GaussianBlur(frame, (9, 9), 1.0)

    rotation = cv2.getRotationMatrix2D((112, 112), 30, 1)
    return {
        "gaussian_noise": lambda: noisy(False),
        "speckle_noise": lambda: noisy(True),
        "impulse_noise": impulse,
        "zoom_blur": zoom,
        "defocus_blur": lambda: filtered(disk / disk.sum()),
        "motion_blur": motion,
        "gaussian_blur": soft,
        "jpeg": jpeg,
        "pixelate": pixelate,
        "static_rotation": lambda: moved(rotation),
        "random_rotation": lambda: moved(rotation),
        "translation": lambda: moved(np.float32([[1, 0, 7], [0, 1, -5]])),
        "brightness": lambda: hsv(2),
        "saturate": lambda: hsv(1),
        "contrast": contrast,
    }


def _kornia() -> dict[str, Callable[[], Any]]:
    import kornia.augmentation as aug
    from kornia.geometry.transform import rotate, translate

    frames = CLIP[0]

    def whole(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], Any]:
        def run() -> torch.Tensor:
            made = change(frames.float() / 255)
            return (made.clamp_(0, 1) * 255).to(torch.uint8)

        return run

    degrees, pixels = torch.full((16,), 30.0), torch.full((16, 2), 5.0)
    return {
        "gaussian_noise": whole(aug.RandomGaussianNoise(std=0.18, p=1.0)),
        "impulse_noise": whole(aug.RandomSaltAndPepperNoise(amount=0.09, p=1.0)),
        "motion_blur": whole(aug.RandomMotionBlur(31, 45.0, 1.0, p=1.0)),
        "gaussian_blur": whole(aug.RandomGaussianBlur((9, 9), (1.0, 1.0), p=1.0)),
        "static_rotation": whole(lambda x: rotate(x, degrees, mode="nearest")),
        "random_rotation": whole(lambda x: rotate(x, degrees, mode="nearest")),
        "translation": whole(lambda x: translate(x, pixels, mode="nearest")),
        "jpeg": whole(aug.RandomJPEG((15.0, 15.0), p=1.0)),
    }


def _imagecorruptions() -> dict[str, Callable[[], Any]]:
    # it imports a package that recent setuptools lack, for a file name that is not needed here
    stub = types.ModuleType("pkg_resources")
    stub.resource_filename = lambda *names: names[-1]  # type: ignore[attr-defined]
    sys.modules.setdefault("pkg_resources", stub)
    from imagecorruptions import corrupt

    names = {"jpeg": "jpeg_compression", "elastic": "elastic_transform"}
    known = (
        "gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "defocus_blur",
        "glass_blur", "motion_blur", "zoom_blur", "fog", "brightness", "contrast", "elastic",
        "pixelate", "jpeg", "gaussian_blur", "saturate",
    )  # fmt: skip

    def every(name: str) -> Callable[[], Any]:
        return lambda: [corrupt(f, SEVERITY, names.get(name, name)) for f in FRAMES]

    return {name: every(name) for name in known}


def main() -> None:
    """Print a table in Markdown."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    peers = {
        "loop": {name: lambda name=name: naive(FRAMES, name, SEVERITY) for name in NAIVE},
        "opencv": _opencv(),
        "kornia": _kornia(),
        "imagecorruptions": _imagecorruptions(),
    }
    print("| perturbation | ours, ms |", " | ".join(peers), "|\n|---|---|" + "---|" * len(peers))
    for name, spec in PERTURBATIONS.items():
        if not any(name in calls for calls in peers.values()):
            continue

        def ours(name: str = name, severity: int = min(SEVERITY, spec.severities[-1])) -> Any:
            return apply(CLIP, name, severity, clip_ids=[CLIP_ID], ladder=LADDER)

        cells, seconds = [], []
        for calls in peers.values():
            if name not in calls:
                cells.append("")
                continue
            try:
                found = interleave(ours, calls[name], repeats=5)
            except Exception as error:
                cells.append(f"fails: {type(error).__name__}")
                continue
            seconds.append(found["ours_s"])
            cells.append(f"{found['ratio']:.2f} ({found['low']:.2f}..{found['high']:.2f})")
        own = f"{1e3 * min(seconds):.1f}" if seconds else ""
        print(f"| {name} | {own} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()

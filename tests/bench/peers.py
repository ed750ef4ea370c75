"""Every perturbation against the best equal form in other libraries: `python -m tests.bench.peers`.

Needs what the project does not: kornia and imagecorruptions (each may lack).
A batch of eight clips, planar before and after on both sides; peers take one clip after the other.
Outputs are compared before anything is timed; a peer whose result is another one is shown, but does
not count. One thread (set OPENBLAS_NUM_THREADS=1); the clock is CPU time, but wall time where our
encoder runs in a process of its own. Names restrict the table.
"""

from __future__ import annotations

import sys
import time
import types
import warnings
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch

from perturb.apply import apply
from perturb.catalogue import PERTURBATIONS, PerturbSpec
from perturb.draws import draws_for
from perturb.video import FORMATS
from sweep.bench.measure import interleave
from sweep.bench.perturbations import CLIP_ID, LADDER, scene
from tests.bench.peers_planar import PEERS, Peer

if TYPE_CHECKING:
    from collections.abc import Callable

SEVERITIES = (1, 3, 5)
PAIRS = 7
PATIENCE_S = 4  # a peer that takes longer is timed once
SCENE = torch.from_numpy(scene()).permute(0, 3, 1, 2)
CLIPS = torch.stack([SCENE.roll((3 * shift, shift), (2, 3)) for shift in range(8)]).contiguous()
IDS = [f"{CLIP_ID}-{number}" for number in range(len(CLIPS))]


def _kornia() -> dict[str, Callable[[], np.ndarray]]:
    """At severity 3 only; definitions differ."""
    import kornia.augmentation as aug
    from kornia.geometry.transform import rotate, translate

    def whole(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], np.ndarray]:
        def run() -> np.ndarray:
            made = [change(clip.float() / 255) for clip in CLIPS]
            return np.stack([(one.clamp_(0, 1) * 255).to(torch.uint8).numpy() for one in made])

        return run

    degrees, pixels = torch.full((16,), 30.0), torch.full((16, 2), 5.0)
    return {
        "gaussian_noise": whole(aug.RandomGaussianNoise(std=0.18, p=1.0)),
        "impulse_noise": whole(aug.RandomSaltAndPepperNoise(amount=0.09, p=1.0)),
        "motion_blur": whole(aug.RandomMotionBlur(31, 45.0, 1.0, p=1.0)),
        "gaussian_blur": whole(aug.RandomGaussianBlur((9, 9), (1.0, 1.0), p=1.0)),
        "static_rotation": whole(lambda x: rotate(x, degrees, mode="nearest")),
        "translation": whole(lambda x: translate(x, pixels, mode="nearest")),
    }


def _imagecorruptions() -> dict[str, Callable[[], np.ndarray]]:
    """At severity 3 only; frame by frame."""
    # it imports a package that recent setuptools lack, for a file name that is not needed here
    stub = types.ModuleType("pkg_resources")
    stub.resource_filename = lambda *names: names[-1]  # type: ignore[attr-defined]
    sys.modules.setdefault("pkg_resources", stub)
    from imagecorruptions import corrupt, corruptions

    # it was written for older versions of numpy and scikit-image
    gaussian = corruptions.gaussian
    corruptions.gaussian = lambda picture, sigma, multichannel=False: gaussian(
        picture, sigma=sigma, channel_axis=-1 if multichannel else None
    )
    vars(np).setdefault("float_", np.float64)

    names = {"jpeg": "jpeg_compression", "elastic": "elastic_transform"}
    known = (
        "gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "defocus_blur",
        "glass_blur", "motion_blur", "snow", "fog", "brightness", "contrast", "elastic",
        "pixelate", "jpeg", "gaussian_blur", "saturate",
    )  # fmt: skip

    def every(name: str) -> Callable[[], np.ndarray]:
        def run() -> np.ndarray:
            frames = CLIPS.flatten(0, 1).numpy()
            pictures = [np.ascontiguousarray(frame.transpose(1, 2, 0)) for frame in frames]
            made = np.stack([corrupt(p, 3, names.get(name, name)) for p in pictures])
            planar = np.ascontiguousarray(made.transpose(0, 3, 1, 2)).astype(np.uint8)
            return planar.reshape(CLIPS.shape)

        return run

    return {name: every(name) for name in known}


def agreement(spec: PerturbSpec, ours: np.ndarray, other: np.ndarray) -> str:
    """Say how far the peer's result is from ours: `same`, `same law` (of noise) or `other`."""
    apart = np.abs(ours.astype(int) - other)
    if apart.max() <= 1 and (apart > 0).mean() <= 0.01:
        return "same"
    if spec.category == "noise":
        law = abs(ours.mean() - other.mean()) + abs(ours.std() - other.std())
        return "same law" if law < 0.5 else "other"
    return f"other: {(apart > 1).mean():.1%} apart"


def _loose(load: Callable[[], dict[str, Callable[[], np.ndarray]]]) -> dict[str, Any]:
    try:
        return load()
    except ImportError as error:
        print(f"({load.__name__[1:]}: {error})")
        return {}


def main(names: list[str]) -> None:
    """Print a table in Markdown."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    loose = {"kornia": _loose(_kornia), "imagecorruptions": _loose(_imagecorruptions)}
    print("| perturbation | severity | ours, ms per clip | peer | ratio (min..max) | result |")
    print("|---|---|---|---|---|---|")
    for name, spec in PERTURBATIONS.items():
        if spec.missing or (names and name not in names):
            continue
        for severity in {min(s, spec.severities[-1]): None for s in SEVERITIES}:
            _rows(spec, severity, loose)


def _rows(spec: PerturbSpec, severity: int, loose: dict[str, Any]) -> None:
    name = spec.name
    size, frames = CLIPS.shape[-1], CLIPS.shape[1]
    level = spec.arguments(severity, LADDER, short_side_px=size, frames=frames)

    def ours() -> torch.Tensor:
        return apply(CLIPS, name, severity, clip_ids=IDS, ladder=LADDER)

    def each(peer: Peer) -> Callable[[], list[np.ndarray]]:
        return lambda: [
            peer(clip, draws_for(name, severity, clip_id, 0), level)
            for clip, clip_id in zip(CLIPS.numpy(), IDS, strict=True)
        ]

    peers: dict[str, Callable[[], Any]] = {
        label: each(peer) for label, peer in PEERS.get(name, {}).items()
    }
    if severity == 3:
        peers |= {label: calls[name] for label, calls in loose.items() if name in calls}
    apart = name in FORMATS and FORMATS[name].is_apart
    for label, peer in peers.items():
        try:
            started = time.monotonic()
            made = np.stack(peer())
            pairs = PAIRS if time.monotonic() - started < PATIENCE_S else 1
            result = agreement(spec, ours().numpy(), made)
            found = interleave(ours, peer, repeats=pairs, wall=apart)
        except Exception as error:
            print(f"| {name} | {severity} | | {label} | fails: {type(error).__name__} | |")
            continue
        spread = f"{found['ratio']:.2f} ({found['low']:.2f}..{found['high']:.2f})"
        own = f"{1e3 * found['ours_s'] / len(CLIPS):.2f}"
        print(f"| {name} | {severity} | {own} | {label} | {spread} | {result} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

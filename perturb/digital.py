"""Lossy coding of single frames: JPEG and coarse pixels."""

from __future__ import annotations

import importlib.util
import io

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from perturb.bands import averaged
from perturb.codec import in_threads
from perturb.levels import fresh, whole
from perturb.planes import interleaved, separate


# ----------------------------------------------------------------------------------------- jpeg
def jpeg(clip: Tensor, *, quality: float) -> Tensor:
    """Encode and decode every frame as JPEG with 4:2:0 chroma, on the CPU, by Pillow.

    Args:
        clip: (B, T, C, H, W) uint8.
        quality: 1 to 100.

    Raises:
        RuntimeError: If Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise RuntimeError(missing_jpeg()) from error

    out = fresh(clip.cpu())
    frames, made = (x.reshape(-1, *clip.shape[2:]).numpy() for x in (clip.cpu(), out))

    def one(index: int) -> None:
        stream = io.BytesIO()
        picture = Image.fromarray(interleaved(frames[index]))
        picture.save(stream, "JPEG", quality=int(quality), subsampling="4:2:0")
        separate(np.asarray(Image.open(stream)), made[index])

    in_threads(one, len(frames))
    return out.to(clip.device)


def missing_jpeg() -> str | None:
    """Say why frames cannot be coded as JPEG here; None if they can."""
    if importlib.util.find_spec("PIL"):
        return None
    return "jpeg needs Pillow, which is not installed: pip install pillow"


# ------------------------------------------------------------------------------------- pixelate
def pixelate(clip: Tensor, *, scale: float) -> Tensor:
    """Reduce the frame (area average) and enlarge it again by repetition (arXiv:1903.12261).

    Args:
        clip: (B, T, C, H, W) uint8.
        scale: Size of the reduced frame, as a share.
    """
    height, width = clip.shape[-2:]
    size = (max(1, int(height * scale)), max(1, int(width * scale)))
    if clip.device.type == "cpu":
        return averaged(clip, *size)
    frames = clip.flatten(0, 1).float()
    small = F.interpolate(frames, size=size, mode="area").add_(0.5).floor_()
    return whole(F.interpolate(small, size=(height, width), mode="nearest-exact")).view(clip.shape)

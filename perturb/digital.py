"""Lossy coding of single frames: JPEG and coarse pixels."""

from __future__ import annotations

import importlib.util
import io
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from perturb.bands import averaged
from perturb.codec import in_threads
from perturb.levels import fresh, whole
from perturb.planes import interleaved, separate

if TYPE_CHECKING:
    from collections.abc import Callable


# ----------------------------------------------------------------------------------------- jpeg
def jpeg(clip: Tensor, *, quality: float) -> Tensor:
    """Encode and decode every frame as JPEG with 4:2:0 chroma, on the CPU.

    torchvision's codec, or Pillow's where torchvision has none: the same library underneath, the
    same bytes, half as slow again.

    Args:
        clip: (B, T, C, H, W) uint8.
        quality: 1 to 100.
    """
    recode = _jpeg_codec(int(quality))
    out = fresh(clip.cpu())
    frames, made = (x.reshape(-1, *clip.shape[2:]).numpy() for x in (clip.cpu(), out))

    def one(index: int) -> None:
        separate(recode(interleaved(frames[index])), made[index])

    in_threads(one, len(frames))
    return out.to(clip.device)


def _jpeg_codec(quality: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return what codes and decodes a picture (H, W, 3)."""
    try:
        import torchvision.io  # noqa: F401 - registers the operators

        # The Python wrappers of these operators warn from torchvision 0.29 on that they will go;
        # once they are gone, Pillow takes over.
        encode, decode = torch.ops.image.encode_jpeg, torch.ops.image.decode_jpeg
    except (ImportError, AttributeError):
        return lambda pixels: _jpeg_by_pillow(pixels, quality)
    as_stored, ignore_rotation = 0, False

    def recode(pixels: np.ndarray) -> np.ndarray:
        stream = encode(torch.from_numpy(pixels).permute(2, 0, 1), quality)
        return decode(stream, as_stored, ignore_rotation).permute(1, 2, 0).numpy()

    return recode


def missing_jpeg() -> str | None:
    """Say why frames cannot be coded as JPEG here; None if they can."""
    if any(importlib.util.find_spec(package) for package in ("torchvision", "PIL")):
        return None
    return "jpeg needs torchvision or Pillow; neither is installed"


def _jpeg_by_pillow(pixels: np.ndarray, quality: int) -> np.ndarray:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer))


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

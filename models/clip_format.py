"""Clips as checkpoints want them (imports nothing)."""

from __future__ import annotations

from dataclasses import dataclass

Colours = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipFormat:
    """Clips as a checkpoint wants them; two checkpoints of one architecture may differ.

    Attributes:
        frames: Frames per clip.
        size_px: Height and width, pixels.
        mean: Of red, green and blue, range 0..1; subtracted first.
        std: What is then divided by.
        sampler: How frames are picked.
        stride: Frames from one picked frame to the next, for samplers that count in frames.
        resize: How pixels are resized.
        crop: Which part of the resized picture is seen.
        crop_share: Side of the crop over the short side of the resized picture.
    """

    frames: int
    size_px: int
    mean: Colours
    std: Colours
    sampler: str = "uniform_center"
    stride: int = 1
    resize: str = "bilinear"
    crop: str = "centre"
    crop_share: float = 1.0

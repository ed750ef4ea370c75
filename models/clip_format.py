"""Clips as checkpoints want them (imports nothing)."""

from __future__ import annotations

from dataclasses import dataclass

Colours = tuple[float, float, float]


def centres(count: int, parts: int) -> list[int]:
    """Centres of ``parts`` equal parts of ``count`` frames; frames repeat where there are fewer.

    floor((i + 0.5) count / parts), in integers: no rounding.
    """
    return [(2 * i + 1) * count // (2 * parts) for i in range(parts)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipFormat:
    """Clips as a checkpoint wants them; two checkpoints of one architecture may differ.

    Attributes:
        frames: Frames per clip.
        size_px: Height and width, pixels.
        mean: Of red, green and blue, range 0..1; subtracted first.
        std: What is then divided by.
        sampler: How frames are picked: `uniform_center` (centres of equal parts of the video),
            `segment_first` (their first frames) or `dense` (``stride`` frames apart).
        stride: Frames from one picked frame to the next, for samplers that count in frames.
        fps: Frames per second to which a video is brought before frames are counted; 0 = its own.
        resize: How pixels are resized.
        stretch_px: Height and width to which a picture is stretched, whatever its shape; None =
            its short side is resized, and its shape kept.
        crop: Which part of the resized picture is seen.
        crop_share: Side of the crop over the short side of the resized picture.
    """

    frames: int
    size_px: int
    mean: Colours
    std: Colours
    sampler: str = "uniform_center"
    stride: int = 1
    fps: float = 0.0
    resize: str = "bilinear"
    stretch_px: tuple[int, int] | None = None
    crop: str = "centre"
    crop_share: float = 1.0

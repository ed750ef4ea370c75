"""A small video-text model that sees every frame alone and averages over time.

The twin of ``models.tiny`` without anything that joins frames: what it knows of a clip does not
depend on the order of its frames, and features of a frame can be used again wherever it is shown.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.tiny import GRID, WIDTH_FEATURE, WIDTH_MAP, WIDTH_STEM, PatchStem, TinyVideoText


class SpaceBlock(nn.Module):
    """Halve the grid by a 3x3 convolution, batch norm, ReLU."""

    def __init__(self, width_in: int) -> None:
        super().__init__()
        self.space = nn.Conv2d(width_in, WIDTH_MAP, 3, stride=2, padding=1, bias=False)
        self.space.to(memory_format=torch.channels_last)
        self.norm = nn.BatchNorm2d(WIDTH_MAP)

    def forward(self, maps: Tensor) -> Tensor:
        """Transform ``(n, width_in, height, width)`` to ``(n, 64, height / 2, width / 2)``."""
        return F.relu(self.norm(self.space(maps)))


class FrameTrunk(nn.Module):
    """Images to features: patches, two halvings of the grid, a 2x2 grid of means."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = PatchStem()
        self.blocks = nn.Sequential(SpaceBlock(WIDTH_STEM), SpaceBlock(WIDTH_MAP))
        self.frame = nn.Linear(WIDTH_MAP * GRID**2, WIDTH_FEATURE)
        self.norm = nn.LayerNorm(WIDTH_FEATURE)

    def forward(self, images: Tensor) -> Tensor:
        """Encode ``(n, 3, height, width)``, normalised, as ``(n, 128)``."""
        maps = F.adaptive_avg_pool2d(self.blocks(self.stem(images)), GRID)
        return self.norm(self.frame(maps.flatten(1)))


class TinyFrames(TinyVideoText):
    """Frame features, their mean over time, class logits; with text also joint embeddings.

    Source: this project. Arguments, features and errors are those of ``models.tiny``.
    """

    name = "tiny_frames"
    framewise = True
    """Frames are encoded alone: ``encode_frames``, then ``combine_frames``."""

    def build_trunk(self) -> nn.Module:
        """The network between images and features."""
        return FrameTrunk()

    def encode_clips(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Frame features before the ReLU ``(batch, frames, 128)``; their mean ``(batch, 128)``."""
        frames = self.encode_frames(pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2])
        return frames, frames.mean(1)

    def encode_frames(self, images: Tensor) -> Tensor:
        """Features ``(n, 128)`` of images ``(n, 3, size_px, size_px)``, normalised as clips are."""
        found: Tensor = self.trunk(images)
        return found

    def combine_frames(self, features: Tensor) -> dict[str, Tensor]:
        """What ``encode_video`` gives, from features ``(batch, frames, 128)`` of the frames."""
        return self.features(features, features.mean(1))

"""A small video-text model that sees every frame alone and averages over time.

The twin of ``models.tiny`` without anything that joins frames: what it knows of a clip does not
depend on the order of its frames, and features of a frame can be used again wherever it is shown.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.heads import RectifiedClasses
from models.tiny import GRID, WIDTH_FEATURE, WIDTH_MAP, WIDTH_STEM, PatchStem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from models.clip_format import ClipFormat


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
    """Images to features: patches, two halvings of the grid, a 2x2 grid of means.

    Source: this project. The feature of a clip is the mean of those of its frames.
    """

    widths: Mapping[str, int] = MappingProxyType({"frames": WIDTH_FEATURE, "video": WIDTH_FEATURE})
    heads: Mapping[str, type[nn.Module]] = MappingProxyType({"classes": RectifiedClasses})

    def __init__(self, *, clip: ClipFormat) -> None:  # noqa: ARG002  any number and size of frames
        super().__init__()
        self.stem = PatchStem()
        self.blocks = nn.Sequential(SpaceBlock(WIDTH_STEM), SpaceBlock(WIDTH_MAP))
        self.frame = nn.Linear(WIDTH_MAP * GRID**2, WIDTH_FEATURE)
        self.norm = nn.LayerNorm(WIDTH_FEATURE)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Frame features before the ReLU ``(batch, frames, 128)``; their mean ``(batch, 128)``.

        Args:
            pixels: ``(batch, frames, 3, height, width)``, normalised.
        """
        images = pixels.flatten(0, 1)
        return self.combine_frames(self.encode_frames(images).unflatten(0, pixels.shape[:2]))

    def encode_frames(self, images: Tensor) -> Tensor:
        """Encode ``(n, 3, height, width)``, normalised, as ``(n, 128)``."""
        maps = F.adaptive_avg_pool2d(self.blocks(self.stem(images)), GRID)
        return self.norm(self.frame(maps.flatten(1)))

    def combine_frames(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """What a call returns, from features ``(batch, frames, 128)`` of the frames."""
        return features, features.mean(1)

    def features(self, *made: Tensor) -> dict[str, Tensor]:
        """``frames`` (batch, frames, 128), at least 0; ``video`` (batch, 128)."""
        frames, video = made
        return {"frames": F.relu(frames), "video": video}

    def layers(self) -> Sequence[Iterable[nn.Parameter]]:
        """Stem, blocks, the feature of a frame."""
        blocks = [list(block.parameters()) for block in self.blocks]
        frame = [*self.frame.parameters(), *self.norm.parameters()]
        return [list(self.stem.parameters()), *blocks, frame]

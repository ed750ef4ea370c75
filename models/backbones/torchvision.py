"""Video networks of torchvision, with its own names of weights."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torchvision.models.video import r3d_18

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from models.clip_format import ClipFormat

WIDTH = 512


class ResNet3D(nn.Module):
    """R3D-18: a stem and four stages of two residual blocks of 3x3x3 convolutions.

    Source: arXiv:1711.11248. Time is halved by each of the last three stages, so that a step of
    its map stands for 8 frames; every frame of a step gets its vector.
    """

    widths: Mapping[str, int] = MappingProxyType({"frames": WIDTH, "video": WIDTH})
    drawn_by_constructor = True
    """As published: by He's rule for what a layer puts out."""

    def __init__(self, *, clip: ClipFormat) -> None:
        super().__init__()
        self.frames = clip.frames
        network = r3d_18(weights=None)
        self.stem = network.stem
        self.layer1, self.layer2 = network.layer1, network.layer2
        self.layer3, self.layer4 = network.layer3, network.layer4

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """``(batch, frames, 3, height, width)`` -> ``(batch, 512, steps, rows, columns)``."""
        maps = self.stem(pixels.transpose(1, 2))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            maps = stage(maps)
        return (maps,)

    def features(self, *made: Tensor) -> dict[str, Tensor]:
        """``frames`` (batch, frames, 512); ``video`` (batch, 512), its mean over the map."""
        (maps,) = made
        steps = maps.mean((3, 4)).transpose(1, 2)
        of_frame = torch.arange(self.frames, device=maps.device) * steps.shape[1] // self.frames
        return {"frames": steps[:, of_frame], "video": maps.mean((2, 3, 4))}

    def layers(self) -> Sequence[Iterable[nn.Parameter]]:
        """The stem, then block by block."""
        stages = (self.layer1, self.layer2, self.layer3, self.layer4)
        blocks = [list(block.parameters()) for stage in stages for block in stage.children()]
        return [list(self.stem.parameters()), *blocks]


def rename_resnet(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of torchvision's video ResNets as ours: `fc` is the head, all else the trunk."""
    return {
        f"classifier.{name.removeprefix('fc.')}" if name.startswith("fc.") else f"trunk.{name}": v
        for name, v in state.items()
    }

"""Video ResNets of torchvision, with its own names of weights."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torchvision.models import video

from models.grid_features import halved, of_map
from models.renaming import to_ours, to_published

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from models.clip_format import ClipFormat
    from models.grid_features import Grid

WIDTH = 512


class ResNet3D(nn.Module):
    """A stem and four stages of two residual blocks: R3D-18, MC3-18, R(2+1)D-18.

    Source: arXiv:1711.11248. R3D and R(2+1)D halve time in each of the last three stages, so that
    a step of their map stands for 8 frames; every frame of a step gets its vector. MC3 keeps time.

    Args:
        clip: Clips that it is built for.
        builder: Name in ``torchvision.models.video``.
    """

    widths: Mapping[str, int] = MappingProxyType(
        dict.fromkeys(("tokens", "frames", "video"), WIDTH)
    )
    drawn_by_constructor = True
    """As published: by He's rule for what a layer puts out."""

    def __init__(self, *, clip: ClipFormat, builder: str = "r3d_18") -> None:
        super().__init__()
        self.frames = clip.frames
        network = getattr(video, builder)(weights=None)
        self.stem = network.stem
        self.layer1, self.layer2 = network.layer1, network.layer2
        self.layer3, self.layer4 = network.layer3, network.layer4
        steps = clip.frames if builder == "mc3_18" else halved(clip.frames, 3)
        side = halved(clip.size_px, 4)
        self.grid: Grid = (steps, side, side)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """``(batch, frames, 3, height, width)`` -> ``(batch, 512, steps, rows, columns)``."""
        maps = self.stem(pixels.transpose(1, 2))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            maps = stage(maps)
        return (maps,)

    def features(self, *made: Tensor) -> dict[str, Tensor]:
        """``tokens`` (batch, cells, 512), ``frames`` (batch, frames, 512), ``video``: the mean."""
        (maps,) = made
        return of_map(maps, self.frames) | {"video": maps.mean((2, 3, 4))}

    def layers(self) -> Sequence[Iterable[nn.Parameter]]:
        """The stem, then block by block."""
        stages = (self.layer1, self.layer2, self.layer3, self.layer4)
        blocks = [list(block.parameters()) for stage in stages for block in stage.children()]
        return [list(self.stem.parameters()), *blocks]


def rename(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published names as ours: `fc` is the head, all else the trunk."""
    return to_ours(state, NAMES)


def publish(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The way back of :func:`rename`."""
    return to_published(state, NAMES)


NAMES = (("fc.{rest}", "classifier.{rest}"), ("{rest}", "trunk.{rest}"))

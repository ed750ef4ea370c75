"""X3D with the definitions and the names of weights of pytorchvideo's files."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from models.grid_features import halved, of_map
from models.heads import HalfDropped
from models.renaming import to_ours, to_published

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from models.clip_format import ClipFormat
    from models.grid_features import Grid

#: Blocks by stage before they are multiplied; the first width doubles from stage to stage.
DEPTHS = (1, 2, 5, 3)
#: Inner over outer width of a block.
EXPANSION = 2.25
#: Hidden over outer width of the squeeze.
SQUEEZE = 1 / 16


def rounded_width(width: float, factor: float) -> int:
    """A multiple of 8, at least 8, that is not below nine tenths of the product."""
    wanted = width * factor
    found = max(8, int(wanted + 4) // 8 * 8)
    return found + 8 if found < 0.9 * wanted else found


def convolution(
    width_in: int,
    width: int,
    kernel: tuple[int, int, int],
    stride: int = 1,
    *,
    alone: bool = False,
    bias: bool = False,
) -> nn.Conv3d:
    """A convolution that pads half its kernel; ``stride`` is spatial, ``alone`` = by channel."""
    padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    groups = width_in if alone else 1
    return nn.Conv3d(
        width_in, width, kernel, (1, stride, stride), padding, groups=groups, bias=bias
    )


class SpaceThenTime(nn.Module):
    """The stem's two convolutions; the published names of the two are swapped."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_t = convolution(3, width, (1, 3, 3), 2)
        self.conv_xy = convolution(width, width, (5, 1, 1), alone=True)

    def forward(self, pixels: Tensor) -> Tensor:
        """A clip -> a map."""
        return self.conv_xy(self.conv_t(pixels))


class Stem(nn.Module):
    """Two convolutions, batch norm, ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = SpaceThenTime(width)
        self.norm = nn.BatchNorm3d(width)

    def forward(self, pixels: Tensor) -> Tensor:
        """A clip -> a map."""
        return F.relu(self.norm(self.conv(pixels)))


class SqueezeExcitation(nn.Module):
    """Channels weighted by what their means tell (arXiv:1709.01507)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = rounded_width(width, SQUEEZE)
        self.block = nn.Sequential(
            convolution(width, hidden, (1, 1, 1), bias=True),
            nn.ReLU(),
            convolution(hidden, width, (1, 1, 1), bias=True),
            nn.Sigmoid(),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """A map -> the same shape."""
        return maps * self.block(maps.mean((2, 3, 4), keepdim=True))


class Bottleneck(nn.Module):
    """1x1x1, 3x3x3 by channel, 1x1x1."""

    def __init__(self, width_in: int, width: int, stride: int, *, squeezes: bool) -> None:
        super().__init__()
        inner = int(EXPANSION * width)
        self.conv_a = convolution(width_in, inner, (1, 1, 1))
        self.norm_a = nn.BatchNorm3d(inner)
        self.conv_b = convolution(inner, inner, (3, 3, 3), stride, alone=True)
        weighted = SqueezeExcitation(inner) if squeezes else nn.Identity()
        self.norm_b = nn.Sequential(nn.BatchNorm3d(inner), weighted)
        self.conv_c = convolution(inner, width, (1, 1, 1))
        self.norm_c = nn.BatchNorm3d(width)

    def forward(self, maps: Tensor) -> Tensor:
        """A map -> the next one, before the sum."""
        maps = F.relu(self.norm_a(self.conv_a(maps)))
        maps = F.silu(self.norm_b(self.conv_b(maps)))
        return self.norm_c(self.conv_c(maps))


class Block(nn.Module):
    """A bottleneck beside the identity, or beside a convolution where the shape changes."""

    def __init__(self, width_in: int, width: int, stride: int, *, squeezes: bool) -> None:
        super().__init__()
        self.projects, self.norms = stride > 1 or width_in != width, width_in != width
        if self.projects:
            self.branch1_conv = convolution(width_in, width, (1, 1, 1), stride)
        if self.norms:
            self.branch1_norm = nn.BatchNorm3d(width)
        self.branch2 = Bottleneck(width_in, width, stride, squeezes=squeezes)

    def forward(self, maps: Tensor) -> Tensor:
        """A map -> the next one."""
        short = self.branch1_conv(maps) if self.projects else maps
        short = self.branch1_norm(short) if self.norms else short
        return F.relu(short + self.branch2(maps))


class Stage(nn.Module):
    """Blocks of one width; the first one halves the sides, every second one weights channels."""

    def __init__(self, width_in: int, width: int, depth: int) -> None:
        super().__init__()
        self.res_blocks = nn.ModuleList(
            Block(width if j else width_in, width, 1 if j else 2, squeezes=j % 2 == 0)
            for j in range(depth)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """A map -> the next one."""
        for block in self.res_blocks:
            maps = block(maps)
        return maps


class Pool(nn.Module):
    """From the last map to the vectors that are classified, one per window."""

    def __init__(self, width_in: int, width: int, window: tuple[int, int, int] | None) -> None:
        super().__init__()
        inner = int(EXPANSION * width_in)
        self.pre_conv = convolution(width_in, inner, (1, 1, 1))
        self.pre_norm = nn.BatchNorm3d(inner)
        self.post_conv = convolution(inner, width, (1, 1, 1))
        self.window = window

    def forward(self, maps: Tensor) -> Tensor:
        """A map -> a map of one cell per window."""
        maps = F.relu(self.pre_norm(self.pre_conv(maps)))
        if self.window is None:
            maps = maps.mean((2, 3, 4), keepdim=True)
        else:
            maps = F.avg_pool3d(maps, self.window, stride=1)
        return F.relu(self.post_conv(maps))


class Head(nn.Module):
    """Holds the pool under its published name."""

    def __init__(self, width_in: int, width: int, window: tuple[int, int, int] | None) -> None:
        super().__init__()
        self.pool = Pool(width_in, width, window)

    def forward(self, maps: Tensor) -> Tensor:
        """A map -> a map of one cell per window."""
        found: Tensor = self.pool(maps)
        return found


class X3D(nn.Module):
    """X3D: a small 2D network expanded over time, size, width and depth.

    Source: arXiv:2004.04730. Tokens and frame features are of the last map, ``video`` is what the
    published head classifies.

    Args:
        clip: Clips that it is built for.
        built_for: Frames and pixels of the published network: the window of its head.
        width: Channels of the stem.
        width_factor: Of the stages after it.
        depth_factor: Of the blocks per stage.
        head: Width of ``video``.
        adaptive_head: Average over the whole map, whatever its size. Equal to the published head
            at its own clips.
    """

    drawn_by_constructor = True
    heads: Mapping[str, Callable[[int, int], nn.Module]] = MappingProxyType(
        {"classes": HalfDropped}
    )

    def __init__(
        self,
        *,
        clip: ClipFormat,
        built_for: tuple[int, int] = (16, 224),
        width: int = 12,
        width_factor: float = 2.0,
        depth_factor: float = 2.2,
        head: int = 2048,
        adaptive_head: bool = False,
    ) -> None:
        super().__init__()
        self.frames = clip.frames
        stem = rounded_width(width, width_factor)
        frames, size_px = built_for
        side = halved(size_px, 5)
        window = None if adaptive_head else (frames, side, side)
        blocks: list[nn.Module] = [Stem(stem)]
        width_in = stem
        for stage, count in enumerate(DEPTHS):
            outer = rounded_width(width * 2**stage, width_factor)
            blocks.append(Stage(width_in, outer, math.ceil(count * depth_factor)))
            width_in = outer
        blocks.append(Head(width_in, head, window))
        self.blocks = nn.ModuleList(blocks)
        self.widths: Mapping[str, int] = {"tokens": width_in, "frames": width_in, "video": head}
        side = halved(clip.size_px, 5)
        self.grid: Grid = (clip.frames, side, side)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """``(batch, frames, 3, height, width)`` -> the last map ``(batch, width, *grid)``."""
        maps = pixels.transpose(1, 2)
        for block in self.blocks[:-1]:
            maps = block(maps)
        return (maps,)

    def features(self, *made: Tensor) -> dict[str, Tensor]:
        """``tokens`` (batch, cells, width), ``frames`` (batch, frames, width), ``video``."""
        (maps,) = made
        pooled = self.blocks[-1](maps)
        return of_map(maps, self.frames) | {"video": pooled.mean((2, 3, 4))}

    def layers(self) -> Sequence[Iterable[nn.Parameter]]:
        """The stem, block by block, the pool."""
        stem, *stages, head = self.blocks
        inside = [list(b.parameters()) for s in stages for b in s.res_blocks]  # type: ignore[union-attr]
        return [list(stem.parameters()), *inside, list(head.parameters())]


def rename(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published names as ours: `blocks.5.proj` is the head, all else the trunk."""
    return to_ours(state, NAMES)


def publish(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The way back of :func:`rename`."""
    return to_published(state, NAMES)


NAMES = (
    ("blocks.5.proj.{rest}", "classifier.{rest}"),
    ("{rest}", "trunk.{rest}"),
)

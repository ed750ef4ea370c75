"""3D residual networks with the definitions and the names of weights of pytorchvideo's files.

Slow, C2D, I3D, R(2+1)D, CSN and SlowFast of bottleneck blocks. Convolutions have no bias and pad
half their kernel; batch norm has an eps of 1e-5. The published heads average over windows of a
fixed size, project every position and average: with one linear layer that equals projecting the
mean of the positions, as is done here.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.grid_features import halved, of_map
from models.heads import HalfDropped, MeanOfProbabilities
from models.renaming import to_ours, to_published

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from models.clip_format import ClipFormat
    from models.grid_features import Grid

Triple = tuple[int, int, int]
#: Blocks by stage.
DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What tells these networks apart.

    Attributes:
        stem: Kernel of the first convolution.
        stem_pool: Whether a max-pool of stride 2 in space follows it.
        kernels: Temporal kernels of ``conv_a`` by stage, repeated over its blocks.
        pool: Whether a max-pool of two steps in time follows the first stage.
        block: ``conv_b``: `plain` (1x3x3), `2+1` (3x1x1, then 1x3x3) or `separated` (3x3x3 by
            channel).
        strides: Of the four stages, in space and in time.
    """

    stem: Triple = (1, 7, 7)
    stem_pool: bool = True
    kernels: tuple[tuple[int, ...], ...] = ((1,), (1,), (1,), (1,))
    pool: bool = False
    block: str = "plain"
    strides: tuple[tuple[int, int], ...] = ((1, 1), (2, 1), (2, 1), (2, 1))


KINDS = {
    "slow": Kind(kernels=((1,), (1,), (3,), (3,))),
    "fast": Kind(stem=(5, 7, 7), kernels=((3,), (3,), (3,), (3,))),
    "c2d": Kind(pool=True),
    "i3d": Kind(stem=(5, 7, 7), kernels=((3,), (3, 1), (3, 1), (1, 3)), pool=True),
    "r2plus1d": Kind(stem_pool=False, block="2+1", strides=((2, 1), (2, 1), (2, 2), (2, 2))),
    "csn": Kind(stem=(3, 7, 7), block="separated", strides=((1, 1), (2, 2), (2, 2), (2, 2))),
}


def convolution(
    width_in: int, width: int, kernel: Triple, stride: Triple = (1, 1, 1), groups: int = 1
) -> nn.Conv3d:
    """A convolution without bias that pads half its kernel."""
    padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    return nn.Conv3d(width_in, width, kernel, stride, padding, groups=groups, bias=False)


class Stem(nn.Module):
    """Convolution of spatial stride 2, batch norm, ReLU, perhaps a max-pool of stride 2."""

    def __init__(self, kind: Kind, width: int) -> None:
        super().__init__()
        self.conv = convolution(3, width, kind.stem, (1, 2, 2))
        self.norm = nn.BatchNorm3d(width)
        self.pool = kind.stem_pool

    def forward(self, pixels: Tensor) -> Tensor:
        """``(batch, 3, frames, height, width)`` -> a map."""
        maps = F.relu(self.norm(self.conv(pixels)))
        return F.max_pool3d(maps, (1, 3, 3), (1, 2, 2), (0, 1, 1)) if self.pool else maps


class Bottleneck(nn.Module):
    """The second branch of a block: 1x1x1 (or longer in time), 1x3x3, 1x1x1."""

    def __init__(self, kind: Kind, widths: Triple, kernel: int, strides: tuple[int, int]) -> None:
        super().__init__()
        width_in, inner, width = widths
        space, time = strides
        self.conv_a = convolution(width_in, inner, (kernel, 1, 1))
        self.norm_a = nn.BatchNorm3d(inner)
        stride = (time, space, space)
        if kind.block == "2+1":
            self.conv_b: nn.Module = nn.Sequential()
            self.conv_b.add_module("conv_t", convolution(inner, inner, (3, 1, 1), (time, 1, 1)))
            self.conv_b.add_module("norm", nn.BatchNorm3d(inner))
            self.conv_b.add_module("relu", nn.ReLU())
            space_stride = (1, space, space)
            self.conv_b.add_module("conv_xy", convolution(inner, inner, (1, 3, 3), space_stride))
        elif kind.block == "separated":
            self.conv_b = convolution(inner, inner, (3, 3, 3), stride, groups=inner)
        else:
            self.conv_b = convolution(inner, inner, (1, 3, 3), stride)
        self.norm_b = nn.BatchNorm3d(inner)
        self.conv_c = convolution(inner, width, (1, 1, 1))
        self.norm_c = nn.BatchNorm3d(width)

    def forward(self, maps: Tensor) -> Tensor:
        """A map of ``width_in`` -> one of ``width`` channels, before the sum."""
        maps = F.relu(self.norm_a(self.conv_a(maps)))
        maps = F.relu(self.norm_b(self.conv_b(maps)))
        return self.norm_c(self.conv_c(maps))


class Block(nn.Module):
    """A bottleneck beside the identity, or beside a 1x1x1 convolution where the shape changes."""

    def __init__(self, kind: Kind, widths: Triple, kernel: int, strides: tuple[int, int]) -> None:
        super().__init__()
        width_in, _, width = widths
        space, time = strides
        self.projects = width_in != width or strides != (1, 1)
        if self.projects:
            self.branch1_conv = convolution(width_in, width, (1, 1, 1), (time, space, space))
            self.branch1_norm = nn.BatchNorm3d(width)
        self.branch2 = Bottleneck(kind, widths, kernel, strides)

    def forward(self, maps: Tensor) -> Tensor:
        """A map -> the next one."""
        short = self.branch1_norm(self.branch1_conv(maps)) if self.projects else maps
        return F.relu(short + self.branch2(maps))


class Stage(nn.Module):
    """Blocks of one width; the first one has the stride."""

    def __init__(self, kind: Kind, stage: int, width_in: int, width: int, depth: int) -> None:
        super().__init__()
        inner, kernels = width // 4, kind.kernels[stage]
        self.res_blocks = nn.ModuleList(
            Block(
                kind,
                (width if j else width_in, inner, width),
                kernels[j % len(kernels)],
                (1, 1) if j else kind.strides[stage],
            )
            for j in range(depth)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """A map -> the next one."""
        for block in self.res_blocks:
            maps = block(maps)
        return maps


class ResNet(nn.Module):
    """One pathway: Slow, C2D, I3D, CSN.

    Sources: arXiv:1812.03982 (Slow), arXiv:1711.07971 (C2D, I3D), arXiv:1904.02811 (CSN).

    Args:
        clip: Clips that it is built for.
        kind: A key of :data:`KINDS`.
        depth: A key of :data:`DEPTHS`.
        width: Channels of the stem; the last stage has 32 times as many.
        pool: Steps, rows and columns of the window over which the published head averages.
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
        kind: str = "slow",
        depth: int = 50,
        width: int = 64,
        pool: Triple = (8, 7, 7),
        adaptive_head: bool = False,
    ) -> None:
        super().__init__()
        self.frames = clip.frames
        self.pool = None if adaptive_head else tuple(pool)
        chosen = KINDS[kind]
        blocks: list[nn.Module] = [Stem(chosen, width)]
        width_in = width
        for stage, count in enumerate(DEPTHS[depth]):
            blocks.append(Stage(chosen, stage, width_in, 4 * width * 2**stage, count))
            width_in = 4 * width * 2**stage
            if chosen.pool and stage == 0:
                blocks.append(nn.MaxPool3d((2, 1, 1), (2, 1, 1)))
        self.blocks = nn.ModuleList(blocks)
        self.widths: Mapping[str, int] = dict.fromkeys(("tokens", "frames", "video"), width_in)
        steps = clip.frames // 2 if chosen.pool else clip.frames
        for _, stride in chosen.strides:
            steps = -(-steps // stride)
        side = halved(clip.size_px, 5)
        self.grid: Grid = (steps, side, side)
        draw(self)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """``(batch, frames, 3, height, width)`` -> the map ``(batch, width, *grid)``."""
        maps = pixels.transpose(1, 2)
        for block in self.blocks:
            maps = block(maps)
        return (maps,)

    def features(self, *made: Tensor) -> dict[str, Tensor]:
        """``tokens`` (batch, cells, width), ``frames`` (batch, frames, width), ``video``."""
        (maps,) = made
        return of_map(maps, self.frames) | {"video": self.positions(maps).mean(1)}

    def positions(self, maps: Tensor) -> Tensor:
        """Means over the windows of the head, ``(batch, positions, width)``."""
        return windows(maps, self.pool)

    def layers(self) -> Sequence[Iterable[nn.Parameter]]:
        """The stem, then block by block."""
        stem, *stages = self.blocks
        inside = [
            list(b.parameters()) for s in stages if isinstance(s, Stage) for b in s.res_blocks
        ]
        return [list(stem.parameters()), *inside]


class R2Plus1D(ResNet):
    """R(2+1)D-50: convolutions over time, then over space, in every block.

    Source: arXiv:1711.11248. The published head takes the soft-max at every position, in training
    too, and averages: its outputs are probabilities. Here class scores are given as from every
    other network; `head: published` gives the probabilities.

    Args:
        clip: Clips that it is built for.
        width: Channels of the stem.
        pool: As in :class:`ResNet`.
        adaptive_head: As in :class:`ResNet`; the soft-max of `published` then stands before no
            mean.
        head: `logits` or `published`.
    """

    def __init__(
        self,
        *,
        clip: ClipFormat,
        width: int = 64,
        pool: Triple = (4, 7, 7),
        adaptive_head: bool = False,
        head: str = "logits",
    ) -> None:
        super().__init__(
            clip=clip, kind="r2plus1d", width=width, pool=pool, adaptive_head=adaptive_head
        )
        self.head = head
        if head == "published":
            self.heads = {"classes": MeanOfProbabilities}
            self.widths = {**self.widths, "positions": self.widths["video"]}

    def features(self, *made: Tensor) -> dict[str, Tensor]:
        """As of every other; ``positions`` (batch, positions, width) for the published head."""
        found = super().features(*made)
        if self.head == "published":
            found["positions"] = self.positions(made[0])
        return found


class Fusion(nn.Module):
    """What the fast pathway tells the slow one, concatenated after its channels."""

    def __init__(self, width: int, *, ratio: int, kernel: int, alpha: int) -> None:
        super().__init__()
        self.conv_fast_to_slow = convolution(width, ratio * width, (kernel, 1, 1), (alpha, 1, 1))
        self.norm = nn.BatchNorm3d(ratio * width)

    def forward(self, slow: Tensor, fast: Tensor) -> tuple[Tensor, Tensor]:
        """Both maps -> the slow one with more channels, and the fast one as it was."""
        told = F.relu(self.norm(self.conv_fast_to_slow(fast)))
        return torch.cat([slow, told], 1), fast


class Pathways(nn.Module):
    """One stage of both pathways, and what the fast one then tells."""

    def __init__(self, slow: nn.Module, fast: nn.Module, fusion: Fusion | None) -> None:
        super().__init__()
        self.multipathway_blocks = nn.ModuleList([slow, fast])
        if fusion is not None:
            self.multipathway_fusion = fusion
        self.fuses = fusion is not None

    def forward(self, slow: Tensor, fast: Tensor) -> tuple[Tensor, Tensor]:
        """Both maps -> both."""
        slow, fast = self.multipathway_blocks[0](slow), self.multipathway_blocks[1](fast)
        return self.multipathway_fusion(slow, fast) if self.fuses else (slow, fast)


class SlowFast(nn.Module):
    """A slow pathway of few frames beside a fast and narrow one of all.

    Source: arXiv:1812.03982. The slow pathway sees the frames floor(linspace(0, T - 1, T / alpha)).
    Tokens are those of the slow pathway; frame features join the step of both.

    Args:
        clip: Clips of the fast pathway.
        depth: A key of :data:`DEPTHS`.
        width: Channels of the slow stem.
        beta: How many times fewer channels the fast pathway has.
        fused: Channels told to the slow pathway, over those of the fast one.
        kernel: Steps of the convolution that tells.
        alpha: Frames of the fast pathway per frame of the slow one.
        pools: Windows of the published head, slow and fast.
        adaptive_head: As in :class:`ResNet`.
    """

    drawn_by_constructor = True
    heads: Mapping[str, Callable[[int, int], nn.Module]] = MappingProxyType(
        {"classes": HalfDropped}
    )

    def __init__(
        self,
        *,
        clip: ClipFormat,
        depth: int = 50,
        width: int = 64,
        beta: int = 8,
        fused: int = 2,
        kernel: int = 7,
        alpha: int = 4,
        pools: tuple[Triple, Triple] = ((8, 7, 7), (32, 7, 7)),
        adaptive_head: bool = False,
    ) -> None:
        super().__init__()
        self.frames = clip.frames
        last, count = clip.frames - 1, clip.frames // alpha
        #: Frames that the slow pathway sees.
        self.slow = torch.linspace(0, last, count, device="cpu").long().tolist()
        self.pools = (None, None) if adaptive_head else tuple(tuple(pool) for pool in pools)
        slow, fast = KINDS["slow"], KINDS["fast"]
        narrow = width // beta

        def fusion(channels: int) -> Fusion:
            return Fusion(channels, ratio=fused, kernel=kernel, alpha=alpha)

        stages = [Pathways(Stem(slow, width), Stem(fast, narrow), fusion(narrow))]
        ins = (width, narrow)
        for stage, count in enumerate(DEPTHS[depth]):
            outs = (4 * width * 2**stage, 4 * narrow * 2**stage)
            stages.append(
                Pathways(
                    Stage(slow, stage, ins[0] + fused * ins[1], outs[0], count),
                    Stage(fast, stage, ins[1], outs[1], count),
                    fusion(outs[1]) if stage < 3 else None,
                )
            )
            ins = outs
        self.blocks = nn.ModuleList(stages)
        both = ins[0] + ins[1]
        self.widths: Mapping[str, int] = {"tokens": ins[0], "frames": both, "video": both}
        side = halved(clip.size_px, 5)
        self.grid: Grid = (clip.frames // alpha, side, side)
        draw(self)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """``(batch, frames, 3, height, width)`` -> the maps of both pathways."""
        fast = pixels.transpose(1, 2)
        slow = fast[:, :, self.slow]
        for block in self.blocks:
            slow, fast = block(slow, fast)
        return slow, fast

    def features(self, *made: Tensor) -> dict[str, Tensor]:
        """``tokens`` of the slow pathway; ``frames`` and ``video`` of both, the slow one first."""
        slow, fast = made
        found = of_map(slow, self.frames)
        found["frames"] = torch.cat([found["frames"], of_map(fast, self.frames)["frames"]], -1)
        means = [windows(maps, pool).mean(1) for maps, pool in zip(made, self.pools, strict=True)]
        return found | {"video": torch.cat(means, -1)}

    def layers(self) -> Sequence[Iterable[nn.Parameter]]:
        """Both stems, then stage by stage."""
        return [list(block.parameters()) for block in self.blocks]


def windows(maps: Tensor, pool: tuple[int, ...] | None) -> Tensor:
    """Means of a map over windows, ``(batch, places, width)``; None = one window, of all."""
    if pool is None:
        return maps.mean((2, 3, 4)).unsqueeze(1)
    return F.avg_pool3d(maps, pool, stride=1).flatten(2).transpose(1, 2)


def draw(network: nn.Module) -> None:
    """He's rule for what a convolution puts out, as published (arXiv:1502.01852)."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def rename(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published names as ours: `blocks.<last>.proj` is the head, all else the trunk."""
    return to_ours(state, NAMES)


def publish(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The way back of :func:`rename`; the head is the block after the last one of the trunk."""
    last = max(int(n.split(".")[2]) for n in state if n.startswith("trunk.blocks.")) + 1
    # where the pool that follows the first stage has shifted all numbers but those of the head,
    # and in SlowFast, where a block that joins both pathways' means stands before it
    joins = any(".multipathway_blocks." in name for name in state)
    table = ((f"blocks.{last + joins}.proj.{{rest}}", "classifier.{rest}"), NAMES[1])
    return to_published(state, table)


NAMES = (
    ("blocks.{i}.proj.{rest}", "classifier.{rest}"),
    ("{rest}", "trunk.{rest}"),
)

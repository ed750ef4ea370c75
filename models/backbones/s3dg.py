"""S3D-G with the definitions and the names of weights of VT-TWINS' files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.grid_features import halved, of_map
from models.renaming import to_ours, to_published

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from models.clip_format import ClipFormat
    from models.grid_features import Grid

#: Inception block -> channels in, then of its branches: b0; b1 a, b; b2 a, b; b3.
BLOCKS = {
    "mixed_3b": (192, 64, 96, 128, 16, 32, 32),
    "mixed_3c": (256, 128, 128, 192, 32, 96, 64),
    "mixed_4b": (480, 192, 96, 208, 16, 48, 64),
    "mixed_4c": (512, 160, 112, 224, 24, 64, 64),
    "mixed_4d": (512, 128, 128, 256, 24, 64, 64),
    "mixed_4e": (512, 112, 144, 288, 32, 64, 64),
    "mixed_4f": (528, 256, 160, 320, 32, 128, 128),
    "mixed_5b": (832, 256, 160, 320, 32, 128, 128),
    "mixed_5c": (832, 384, 192, 384, 48, 128, 128),
}
#: Kernel and stride of the max-pool that stands before a block.
POOLS = {
    "mixed_3b": ((1, 3, 3), (1, 2, 2)),
    "mixed_4b": ((3, 3, 3), (2, 2, 2)),
    "mixed_5b": ((2, 2, 2), (2, 2, 2)),
}
WIDTH, EMBED = 1024, 512
#: Of a gate that lets nearly all through (0.98), where weights without gates are loaded.
OPEN_GATE = 4.0


class Unit(nn.Module):
    """A convolution over space (or over all), batch norm, ReLU; perhaps the same over time."""

    def __init__(
        self,
        width_in: int,
        width: int,
        kernel: tuple[int, int, int] = (1, 1, 1),
        *,
        eps: float,
        stride: int = 1,
        padding: tuple[int, int, int] = (0, 0, 0),
        time: int = 0,
        time_stride: int = 1,
    ) -> None:
        super().__init__()
        strides = (1, stride, stride) if time else stride
        self.conv1 = nn.Conv3d(width_in, width, kernel, strides, padding, bias=False)
        self.bn1 = nn.BatchNorm3d(width, eps=eps)
        self.separable = time > 0
        if time:
            self.conv2 = nn.Conv3d(
                width, width, (time, 1, 1), (time_stride, 1, 1), (time // 2, 0, 0), bias=False
            )
            self.bn2 = nn.BatchNorm3d(width, eps=eps)

    def forward(self, maps: Tensor) -> Tensor:
        """A map -> the next one."""
        maps = F.relu(self.bn1(self.conv1(maps)))
        return F.relu(self.bn2(self.conv2(maps))) if self.separable else maps


class Gate(nn.Module):
    """Every channel by a number of 0..1 that the means of all channels tell."""

    def __init__(self, width: int, *, opened: bool) -> None:
        super().__init__()
        self.fc = nn.Linear(width, width)
        if opened:
            nn.init.constant_(self.fc.bias, OPEN_GATE)

    def forward(self, maps: Tensor) -> Tensor:
        """A map -> the same shape."""
        share = torch.sigmoid(self.fc(maps.mean((2, 3, 4))))
        return maps * share[:, :, None, None, None]


class Inception(nn.Module):
    """Four gated branches side by side."""

    def __init__(self, widths: Sequence[int], *, eps: float, opened: bool) -> None:
        super().__init__()
        width_in, b0, b1a, b1b, b2a, b2b, b3 = widths

        def separable(one: int, two: int) -> Unit:
            return Unit(one, two, (1, 3, 3), padding=(0, 1, 1), time=3, eps=eps)

        self.conv_b0 = Unit(width_in, b0, eps=eps)
        self.conv_b1_a, self.conv_b1_b = Unit(width_in, b1a, eps=eps), separable(b1a, b1b)
        self.conv_b2_a, self.conv_b2_b = Unit(width_in, b2a, eps=eps), separable(b2a, b2b)
        self.conv_b3_b = Unit(width_in, b3, eps=eps)
        self.gating_b0, self.gating_b1 = Gate(b0, opened=opened), Gate(b1b, opened=opened)
        self.gating_b2, self.gating_b3 = Gate(b2b, opened=opened), Gate(b3, opened=opened)

    def forward(self, maps: Tensor) -> Tensor:
        """A map -> the next one."""
        pooled = F.max_pool3d(maps, 3, 1, 1)
        branches = (
            self.gating_b0(self.conv_b0(maps)),
            self.gating_b1(self.conv_b1_b(self.conv_b1_a(maps))),
            self.gating_b2(self.conv_b2_b(self.conv_b2_a(maps))),
            self.gating_b3(self.conv_b3_b(pooled)),
        )
        return torch.cat(branches, 1)


class S3DG(nn.Module):
    """S3D with self-gating, and a place in the space shared with captions.

    Sources: arXiv:1712.04851; arXiv:2203.16784 and its released code. ``video`` is the mean of the
    last map (1024), ``joint`` the published embedding of it (512), not normalised.

    Args:
        clip: Clips that it is built for.
        stem: `plain` (3x7x7 of stride 2), `s2d` (2x4x4 over cells of 2 x 2 x 2 pixels, as the
            released file was trained) or `tv` (that of torchvision's S3D, of 1x7x7 and 7x1x1, with
            its eps and with gates that start open, to be loaded from its file).
    """

    drawn_by_constructor = True

    def __init__(self, *, clip: ClipFormat, stem: str = "plain") -> None:
        super().__init__()
        self.frames, self.stem = clip.frames, stem
        taken = stem == "tv"
        eps = 1e-3 if taken else 1e-5
        if stem == "s2d":
            self.conv1 = Unit(24, 64, (2, 4, 4), padding=(1, 2, 2), eps=eps)
        elif taken:
            self.conv1 = Unit(
                3, 64, (1, 7, 7), stride=2, padding=(0, 3, 3), time=7, time_stride=2, eps=eps
            )
        else:
            self.conv1 = Unit(3, 64, (3, 7, 7), stride=2, padding=(1, 3, 3), eps=eps)
        self.conv_2b = Unit(64, 64, eps=eps)
        self.conv_2c = Unit(64, 192, (1, 3, 3), padding=(0, 1, 1), time=3, eps=eps)
        self.gating = Gate(192, opened=taken)
        for name, widths in BLOCKS.items():
            self.add_module(name, Inception(widths, eps=eps, opened=taken))
        self.fc = nn.Linear(WIDTH, EMBED)
        self.widths: Mapping[str, int] = {
            "tokens": WIDTH,
            "frames": WIDTH,
            "video": WIDTH,
            "joint": EMBED,
        }
        side = halved(clip.size_px, 5)
        self.grid: Grid = (halved(clip.frames, 3), side, side)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """``(batch, frames, 3, height, width)`` -> the map ``(batch, 1024, *grid)``."""
        maps = pixels.transpose(1, 2)
        if self.stem == "s2d":
            # cut off what the padding of an even kernel adds at the front
            maps = self.conv1(cells_of_two(maps))[:, :, 1:, 1:, 1:]
        else:
            maps = self.conv1(maps)
        maps = pool_same(maps, (1, 3, 3), (1, 2, 2))
        maps = self.gating(self.conv_2c(self.conv_2b(maps)))
        for name in BLOCKS:
            if name in POOLS:
                maps = pool_same(maps, *POOLS[name])
            maps = self.get_submodule(name)(maps)
        return (maps,)

    def features(self, *made: Tensor) -> dict[str, Tensor]:
        """``tokens``, ``frames``, ``video`` of 1024 channels, ``joint`` (batch, 512)."""
        (maps,) = made
        video = maps.mean((2, 3, 4))
        return of_map(maps, self.frames) | {"video": video, "joint": self.fc(video)}

    def layers(self) -> Sequence[Iterable[nn.Parameter]]:
        """Unit by unit, block by block, the embedding."""
        names = ("conv1", "conv_2b", "conv_2c", "gating", *BLOCKS, "fc")
        return [list(self.get_submodule(name).parameters()) for name in names]


class TextTower(nn.Module):
    """A table of word vectors that is not trained, a layer, the largest over words, a layer.

    Source: arXiv:2203.16784 and its released code. The largest is taken over padding too there;
    here over words alone, so that the amount of padding changes nothing, unless a caption is empty.

    Args:
        words: How many numbers there are.
    """

    def __init__(self, *, words: int, padding: bool = False) -> None:
        super().__init__()
        self.padding = padding
        self.word_embd = nn.Embedding(words, 300)
        self.word_embd.weight.requires_grad_(False)
        self.fc1, self.fc2 = nn.Linear(300, 2048), nn.Linear(2048, EMBED)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Numbers and mask ``(batch, words)`` -> ``(batch, 512)``, not normalised."""
        words = F.relu(self.fc1(self.word_embd(ids)))
        if not self.padding:
            words = words * mask[..., None]  # at least 0: padding never is the largest
        return self.fc2(words.amax(1))


def cells_of_two(clips: Tensor) -> Tensor:
    """``(batch, 3, 2t, 2h, 2w)`` -> ``(batch, 24, t, h, w)``: time, row, column, colour."""
    cut = clips.unflatten(4, (-1, 2)).unflatten(3, (-1, 2)).unflatten(2, (-1, 2))
    return cut.permute(0, 3, 5, 7, 1, 2, 4, 6).flatten(1, 4)


def pool_same(maps: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Max-pool padded with zeros by kernel - stride, the smaller half first; rounded up."""
    pads: list[int] = []
    for k, s in zip(reversed(kernel), reversed(stride), strict=True):
        pads += [(k - s) // 2, (k - s) - (k - s) // 2]
    return F.max_pool3d(F.pad(maps, pads), tuple(kernel), tuple(stride), ceil_mode=True)


def rename(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published names as ours."""
    return to_ours(state, NAMES)


def publish(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The way back of :func:`rename`."""
    return to_published(state, NAMES)


def rename_torchvision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of torchvision's S3D as ours with the stem `tv`: all but gates and embedding."""
    return to_ours(state, NAMES_TORCHVISION)


NAMES = (("{rest}", "trunk.{rest}"),)
_AT = dict(zip((5, 6, 8, 9, 10, 11, 12, 14, 15), BLOCKS, strict=True))
_PLACES = (
    ("branch0", "conv_b0", False),
    ("branch1.0", "conv_b1_a", False),
    ("branch1.1", "conv_b1_b", True),
    ("branch2.0", "conv_b2_a", False),
    ("branch2.1", "conv_b2_b", True),
    ("branch3.1", "conv_b3_b", False),
)


def _units() -> Iterable[tuple[str, str, bool]]:
    """Published unit, ours, whether it is separable."""
    yield from (("0", "conv1", True), ("2", "conv_2b", False), ("3", "conv_2c", True))
    for number, block in _AT.items():
        for theirs, ours, separable in _PLACES:
            yield f"{number}.{theirs}", f"{block}.{ours}", separable


NAMES_TORCHVISION = tuple(
    (f"features.{theirs}{step}.{k}.{{rest}}", f"trunk.{ours}.{part}{n}.{{rest}}")
    for theirs, ours, separable in _units()
    for step, n in ((".0", 1), (".1", 2))
    if separable or n == 1
    for k, part in ((0, "conv"), (1, "bn"))
    for step in ([step] if separable else [""])
)

"""S3D of torchvision, with its own names of weights."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.video import s3d

from models.grid_features import halved, of_map
from models.heads import FifthDropped
from models.renaming import to_ours, to_published

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from models.clip_format import ClipFormat
    from models.grid_features import Grid

WIDTH = 1024
#: Window over which the published head averages.
WINDOW = (2, 7, 7)


class S3D(nn.Module):
    """S3D: inception blocks whose convolutions run over space, then over time.

    Source: arXiv:1712.04851.

    Args:
        clip: Clips that it is built for.
        adaptive_head: Average over the whole map, whatever its size, instead of windows of
            2 x 7 x 7 that are averaged in turn.
    """

    widths: Mapping[str, int] = MappingProxyType(
        dict.fromkeys(("tokens", "frames", "video"), WIDTH)
    )
    drawn_by_constructor = True
    heads: Mapping[str, Callable[[int, int], nn.Module]] = MappingProxyType(
        {"classes": FifthDropped}
    )

    def __init__(self, *, clip: ClipFormat, adaptive_head: bool = False) -> None:
        super().__init__()
        self.frames = clip.frames
        self.window = None if adaptive_head else WINDOW
        self.parts = s3d(weights=None).features
        side = halved(clip.size_px, 4) // 2
        self.grid: Grid = (halved(clip.frames, 2) // 2, side, side)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """``(batch, frames, 3, height, width)`` -> the map ``(batch, 1024, *grid)``."""
        return (self.parts(pixels.transpose(1, 2)),)

    def features(self, *made: Tensor) -> dict[str, Tensor]:
        """``tokens`` (batch, cells, 1024), ``frames`` (batch, frames, 1024), ``video``."""
        (maps,) = made
        pooled = maps if self.window is None else F.avg_pool3d(maps, self.window, stride=1)
        return of_map(maps, self.frames) | {"video": pooled.mean((2, 3, 4))}

    def layers(self) -> Sequence[Iterable[nn.Parameter]]:
        """Part by part of the sequence that has parameters."""
        return [found for part in self.parts if (found := list(part.parameters()))]


def rename(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published names as ours; the head is a 1x1x1 convolution there."""
    return {
        n: v.flatten(1) if n == "classifier.weight" else v for n, v in to_ours(state, NAMES).items()
    }


def publish(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The way back of :func:`rename`."""
    shaped = {
        n: v[:, :, None, None, None] if n == "classifier.weight" else v for n, v in state.items()
    }
    return to_published(shaped, NAMES)


NAMES = (
    ("features.{rest}", "trunk.parts.{rest}"),
    ("classifier.1.{rest}", "classifier.{rest}"),
)

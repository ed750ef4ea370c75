"""Video Swin transformers of torchvision, with its own names of weights."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torchvision.models.video.swin_transformer import SwinTransformer3d

from models.grid_features import of_map
from models.renaming import to_ours, to_published

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from models.clip_format import ClipFormat
    from models.grid_features import Grid

PATCH = (2, 4, 4)
WINDOW = (8, 7, 7)


class Swin3D(nn.Module):
    """Attention in shifted windows of 8 x 7 x 7 patches.

    Source: arXiv:2106.13230. Frames, rows and columns are padded to what the layers need.

    Args:
        clip: Clips that it is built for.
        width: Channels of a patch; they double from stage to stage.
        depths: Blocks by stage.
        attention_heads: Heads by stage.
        drop_path: Share of the last block's residuals that training leaves out.
    """

    drawn_by_constructor = True

    def __init__(
        self,
        *,
        clip: ClipFormat,
        width: int = 96,
        depths: tuple[int, ...] = (2, 2, 6, 2),
        attention_heads: tuple[int, ...] = (3, 6, 12, 24),
        drop_path: float = 0.1,
    ) -> None:
        super().__init__()
        self.frames = clip.frames
        network = SwinTransformer3d(
            patch_size=list(PATCH),
            embed_dim=width,
            depths=list(depths),
            num_heads=list(attention_heads),
            window_size=list(WINDOW),
            stochastic_depth_prob=drop_path,
            num_classes=1,
            norm_layer=partial(nn.LayerNorm, eps=1e-5),
        )
        self.patch_embed, self.parts, self.norm = (
            network.patch_embed,
            network.features,
            network.norm,
        )
        last = network.num_features
        self.widths: Mapping[str, int] = dict.fromkeys(("tokens", "frames", "video"), last)
        side = -(-clip.size_px // PATCH[1])
        for _ in depths[1:]:
            side = -(-side // 2)
        self.grid: Grid = (-(-clip.frames // PATCH[0]), side, side)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """``(batch, frames, 3, height, width)`` -> the map ``(batch, width, *grid)``."""
        maps = self.parts(self.patch_embed(pixels.transpose(1, 2)))
        return (self.norm(maps).permute(0, 4, 1, 2, 3),)

    def features(self, *made: Tensor) -> dict[str, Tensor]:
        """``tokens`` (batch, cells, width), ``frames`` (batch, frames, width), ``video``."""
        (maps,) = made
        return of_map(maps, self.frames) | {"video": maps.mean((2, 3, 4))}

    def layers(self) -> Sequence[Iterable[nn.Parameter]]:
        """Patches, block by block (and what joins patches), the last norm."""
        blocks = [
            list(block.parameters())
            for part in self.parts
            for block in (part if isinstance(part, nn.Sequential) else [part])
        ]
        return [list(self.patch_embed.parameters()), *blocks, list(self.norm.parameters())]


def rename(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published names as ours."""
    return to_ours(state, NAMES)


def publish(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The way back of :func:`rename`."""
    return to_published(state, NAMES)


NAMES = (
    ("head.{rest}", "classifier.{rest}"),
    ("features.{rest}", "trunk.parts.{rest}"),
    ("{rest}", "trunk.{rest}"),
)

"""Multiscale vision transformers of torchvision; also reads the files of pytorchvideo.

mvit_v1_b and pytorchvideo's mvit_base are one network under two sets of names.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torchvision.models.video import mvit

from models.grid_features import of_tokens
from models.heads import HalfDropped
from models.renaming import joined, split, to_ours, to_published

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from models.clip_format import ClipFormat
    from models.grid_features import Grid

#: What the two published families differ in, beside where widths double.
FAMILIES = {
    "v1": {
        "residual_pool": False,
        "residual_with_cls_embed": False,
        "rel_pos_embed": False,
        "proj_after_attn": False,
    },
    "v2": {
        "residual_pool": True,
        "residual_with_cls_embed": False,
        "rel_pos_embed": True,
        "proj_after_attn": True,
    },
}


class MViT(nn.Module):
    """MViT (arXiv:2104.11227) and MViTv2 (arXiv:2112.01526).

    The class token, after the last norm, is ``video``.

    Args:
        clip: Clips that its position tables are made for.
        family: `v1` (separate tables for places, steps and the class token; widths double in the
            MLP before a doubling block) or `v2` (relative positions; they double in its attention).
        width: Channels of the first block, whose attention has one head.
        depth: Blocks.
        doubling: Blocks that have twice the heads and a quarter of the queries.
        drop_path: Share of the last block's residuals that training leaves out.
    """

    drawn_by_constructor = True
    heads: Mapping[str, Callable[[int, int], nn.Module]] = MappingProxyType(
        {"classes": HalfDropped}
    )

    def __init__(
        self,
        *,
        clip: ClipFormat,
        family: str = "v1",
        width: int = 96,
        depth: int = 16,
        doubling: tuple[int, ...] = (1, 3, 14),
        drop_path: float = 0.2,
    ) -> None:
        super().__init__()
        self.frames = clip.frames
        settings = _blocks(family, width, depth, tuple(int(i) for i in doubling))
        network = mvit.MViT(
            spatial_size=(clip.size_px, clip.size_px),
            temporal_size=clip.frames,
            block_setting=settings,
            stochastic_depth_prob=drop_path,
            num_classes=1,
            **FAMILIES[family],
        )
        self.conv_proj = network.conv_proj
        self.pos_encoding = network.pos_encoding
        self.blocks = network.blocks
        self.norm = network.norm
        last = settings[-1].output_channels
        self.widths: Mapping[str, int] = dict.fromkeys(("tokens", "frames", "video"), last)
        steps, side = clip.frames // 2, clip.size_px // 4
        self.first: Grid = (steps, side, side)
        side //= 2 ** sum(1 for setting in settings if setting.stride_q and setting.stride_q[1] > 1)
        self.grid: Grid = (steps, side, side)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """``(batch, frames, 3, height, width)`` -> ``(batch, 1 + cells, width)``, class first."""
        tokens = self.conv_proj(pixels.transpose(1, 2)).flatten(2).transpose(1, 2)
        tokens, grid = self.pos_encoding(tokens), self.first
        for block in self.blocks:
            tokens, grid = block(tokens, grid)
        return (self.norm(tokens),)

    def features(self, *made: Tensor) -> dict[str, Tensor]:
        """``tokens`` (batch, cells, width), ``frames`` (batch, frames, width), ``video``."""
        (tokens,) = made
        return of_tokens(tokens[:, 1:], self.grid, self.frames) | {"video": tokens[:, 0]}

    def layers(self) -> Sequence[Iterable[nn.Parameter]]:
        """Patches with their positions, block by block, the last norm."""
        first = [*self.conv_proj.parameters(), *self.pos_encoding.parameters()]
        blocks = [list(block.parameters()) for block in self.blocks]
        return [first, *blocks, list(self.norm.parameters())]


def _blocks(
    family: str, width: int, depth: int, doubling: tuple[int, ...]
) -> list[mvit.MSBlockConfig]:
    """The blocks of a family: keys are pooled from 8 x 8 on, halved where queries are.

    A v1 block gives, after its MLP, the width of the next one; in v2 attention already does.
    """
    later = family == "v1"
    heads, wide, pooled, found = 1, width, 8, []
    for i in range(depth):
        doubles = i in doubling
        if doubles:
            heads, pooled = 2 * heads, max(1, pooled // 2)
        channels_in = wide
        if (i + 1 in doubling) if later else doubles:
            wide *= 2
        every = [3, 3, 3]
        pools_queries = doubles or not later
        found.append(
            mvit.MSBlockConfig(
                num_heads=heads,
                input_channels=channels_in,
                output_channels=wide,
                kernel_q=every if pools_queries else [],
                kernel_kv=every,
                stride_q=([1, 2, 2] if doubles else [1, 1, 1]) if pools_queries else [],
                stride_kv=[1, pooled, pooled],
            )
        )
    return found


def rename(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of torchvision as ours."""
    return to_ours(state, NAMES)


def publish(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The way back of :func:`rename`."""
    return to_published(state, NAMES)


def rename_pytorchvideo(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of pytorchvideo as ours.

    Its newer class has every pooling layer under a second name (`_attention_pool_`), which is left
    out; query, key and value are one layer here.
    """
    short = {n: v for n, v in state.items() if "._attention_pool_" not in n}
    flat = {
        n: v.reshape(-1 if n in _VECTORS else v.shape[1:]) if n.startswith(_TABLES) else v
        for n, v in short.items()
    }
    return to_ours(joined(flat, _QKV, ".attn.qkv."), NAMES_PYTORCHVIDEO)


def publish_pytorchvideo(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The way back of :func:`rename_pytorchvideo`."""
    theirs = split(to_published(state, NAMES_PYTORCHVIDEO), ".attn.qkv.", _QKV)
    return {
        n: v.reshape(1, -1, v.shape[-1]) if n.startswith(_TABLES) else v for n, v in theirs.items()
    }


_QKV = (".attn.q.", ".attn.k.", ".attn.v.")
_TABLES = "cls_positional_encoding."
_VECTORS = (f"{_TABLES}cls_token", f"{_TABLES}pos_embed_class")
NAMES = (("head.1.{rest}", "classifier.{rest}"), ("{rest}", "trunk.{rest}"))
NAMES_PYTORCHVIDEO = (
    ("head.proj.{rest}", "classifier.{rest}"),
    ("patch_embed.patch_model.{rest}", "trunk.conv_proj.{rest}"),
    ("cls_positional_encoding.cls_token", "trunk.pos_encoding.class_token"),
    ("cls_positional_encoding.pos_embed_spatial", "trunk.pos_encoding.spatial_pos"),
    ("cls_positional_encoding.pos_embed_temporal", "trunk.pos_encoding.temporal_pos"),
    ("cls_positional_encoding.pos_embed_class", "trunk.pos_encoding.class_pos"),
    *(
        row
        for x in "qkv"
        for row in (
            (
                f"blocks.{{i}}.attn.pool_{x}.{{rest}}",
                f"trunk.blocks.{{i}}.attn.pool_{x}.pool.{{rest}}",
            ),
            (
                f"blocks.{{i}}.attn.norm_{x}.{{rest}}",
                f"trunk.blocks.{{i}}.attn.pool_{x}.norm_act.0.{{rest}}",
            ),
        )
    ),
    ("blocks.{i}.attn.proj.{rest}", "trunk.blocks.{i}.attn.project.0.{rest}"),
    ("blocks.{i}.mlp.fc1.{rest}", "trunk.blocks.{i}.mlp.0.{rest}"),
    ("blocks.{i}.mlp.fc2.{rest}", "trunk.blocks.{i}.mlp.3.{rest}"),
    ("blocks.{i}.proj.{rest}", "trunk.blocks.{i}.project.{rest}"),
    ("norm_embed.{rest}", "trunk.norm.{rest}"),
    ("{rest}", "trunk.{rest}"),
)

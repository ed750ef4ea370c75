"""TimeSformer through transformers; also reads the files of its own repository."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from models import hub
from models.grid_features import of_tokens
from models.renaming import to_ours, to_published

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from models.clip_format import ClipFormat
    from models.grid_features import Grid


class TimeSformer(nn.Module):
    """Attention over time at every place, then over the places of every frame.

    Source: arXiv:2102.05095. The class token, after the last norm, is ``video``. Tokens lie with
    time fastest in the network and come out as every other model's, time first. Position tables
    of another size are resized to the nearest entry.

    Args:
        clip: Clips that it is built for.
        config: Settings of ``transformers.TimesformerConfig``.
    """

    drawn_by_constructor = True

    def __init__(
        self, *, clip: ClipFormat, config: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        super().__init__()
        made = hub.settings(
            "TimesformerConfig", config, num_frames=clip.frames, image_size=clip.size_px
        )
        if made.attention_type == "space_only":
            raise ValueError("timesformer: attention_type 'space_only' sees no time; not supported")
        self.network = hub.library().TimesformerModel(made)
        self.frames = clip.frames
        side = clip.size_px // made.patch_size
        self.grid: Grid = (clip.frames, side, side)
        self.widths: Mapping[str, int] = dict.fromkeys(
            ("tokens", "frames", "video"), made.hidden_size
        )

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """``(batch, frames, 3, height, width)`` -> ``(batch, 1 + cells, width)``, class first."""
        return (self.network(pixel_values=pixels).last_hidden_state,)

    def features(self, *made: Tensor) -> dict[str, Tensor]:
        """``tokens`` (batch, cells, width), ``frames`` (batch, frames, width), ``video``."""
        (found,) = made
        steps, rows, columns = self.grid
        cells = found[:, 1:].unflatten(1, (rows * columns, steps)).transpose(1, 2).flatten(1, 2)
        return of_tokens(cells, self.grid, self.frames) | {"video": found[:, 0]}

    def layers(self) -> Sequence[Iterable[nn.Parameter]]:
        """Patches with their positions, layer by layer, the last norm."""
        net = self.network
        inside = [list(layer.parameters()) for layer in net.encoder.layer]
        return [list(net.embeddings.parameters()), *inside, list(net.layernorm.parameters())]


def rename(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of transformers' class with a head as ours."""
    return to_ours(state, NAMES)


def publish(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The way back of :func:`rename`."""
    return to_published(state, NAMES)


def rename_original(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of the repository's files as ours."""
    return to_ours(state, NAMES_ORIGINAL)


def publish_original(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The way back of :func:`rename_original`."""
    return to_published(state, NAMES_ORIGINAL)


NAMES = (
    ("classifier.{rest}", "classifier.{rest}"),
    ("timesformer.{rest}", "trunk.network.{rest}"),
)
_LAYER = "trunk.network.encoder.layer.{i}."
_EMBED = "trunk.network.embeddings."
NAMES_ORIGINAL = (
    ("model.head.{rest}", "classifier.{rest}"),
    ("model.cls_token", f"{_EMBED}cls_token"),
    ("model.pos_embed", f"{_EMBED}position_embeddings"),
    ("model.time_embed", f"{_EMBED}time_embeddings"),
    ("model.patch_embed.proj.{rest}", f"{_EMBED}patch_embeddings.projection.{{rest}}"),
    ("model.norm.{rest}", "trunk.network.layernorm.{rest}"),
    *(
        (f"model.blocks.{{i}}.{theirs}.{{rest}}", f"{_LAYER}{ours}.{{rest}}")
        for theirs, ours in (
            ("temporal_norm1", "temporal_layernorm"),
            ("temporal_attn.qkv", "temporal_attention.attention.qkv"),
            ("temporal_attn.proj", "temporal_attention.output.dense"),
            ("temporal_fc", "temporal_dense"),
            ("norm1", "layernorm_before"),
            ("attn.qkv", "attention.attention.qkv"),
            ("attn.proj", "attention.output.dense"),
            ("norm2", "layernorm_after"),
            ("mlp.fc1", "intermediate.dense"),
            ("mlp.fc2", "output.dense"),
        )
    ),
)

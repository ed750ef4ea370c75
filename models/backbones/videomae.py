"""VideoMAE through transformers; also reads the fine-tuned files of its own repository."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from models import hub
from models.grid_features import of_tokens
from models.renaming import joined, split, to_ours, to_published

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from models.clip_format import ClipFormat
    from models.grid_features import Grid


class VideoMAE(nn.Module):
    """A plain vision transformer over tubelets, pre-trained by masking.

    Source: arXiv:2203.12602. Positions are sines and cosines, no weights. ``video`` is the norm of
    the mean of all tokens, as in fine-tuned networks; a pre-trained file has no such norm, which
    then is as drawn.

    Args:
        clip: Clips that it is built for.
        config: Settings of ``transformers.VideoMAEConfig``.
        norm_eps: Of that norm: 1e-6 as trained, 1e-5 in transformers.
    """

    drawn_by_constructor = True

    def __init__(
        self,
        *,
        clip: ClipFormat,
        config: Mapping[str, Any] = MappingProxyType({}),
        norm_eps: float = 1e-6,
    ) -> None:
        super().__init__()
        own = {k: v for k, v in config.items() if k not in {"num_frames", "image_size"}}
        made = hub.settings("VideoMAEConfig", own, num_frames=clip.frames, image_size=clip.size_px)
        self.network = hub.library().VideoMAEModel(made)
        self.pools = made.use_mean_pooling
        if self.pools:
            self.fc_norm = nn.LayerNorm(made.hidden_size, eps=norm_eps)
        self.frames = clip.frames
        side = clip.size_px // made.patch_size
        self.grid: Grid = (clip.frames // made.tubelet_size, side, side)
        self.widths: Mapping[str, int] = dict.fromkeys(
            ("tokens", "frames", "video"), made.hidden_size
        )

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """``(batch, frames, 3, height, width)`` -> ``(batch, cells, width)``."""
        return (self.network(pixel_values=pixels).last_hidden_state,)

    def features(self, *made: Tensor) -> dict[str, Tensor]:
        """``tokens`` (batch, cells, width), ``frames`` (batch, frames, width), ``video``."""
        (tokens,) = made
        video = self.fc_norm(tokens.mean(1)) if self.pools else tokens[:, 0]
        return of_tokens(tokens, self.grid, self.frames) | {"video": video}

    def layers(self) -> Sequence[Iterable[nn.Parameter]]:
        """Patches, layer by layer, the last norm."""
        net = self.network
        inside = [list(layer.parameters()) for layer in net.encoder.layer]
        last = self.fc_norm if self.pools else net.layernorm
        return [list(net.embeddings.parameters()), *inside, list(last.parameters())]


def rename(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of transformers' class with a head as ours."""
    return to_ours(state, NAMES)


def publish(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The way back of :func:`rename`."""
    return to_published(state, NAMES)


def rename_original(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of the repository's fine-tuned files as ours; query, key and value are one there."""
    return to_ours(split(state, ".attn.qkv.", _QKV), NAMES_ORIGINAL)


def publish_original(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The way back of :func:`rename_original`."""
    return joined(to_published(state, NAMES_ORIGINAL), _QKV, ".attn.qkv.")


_QKV = (".attn.q.", ".attn.k.", ".attn.v.")
NAMES = (
    ("classifier.{rest}", "classifier.{rest}"),
    ("fc_norm.{rest}", "trunk.fc_norm.{rest}"),
    ("videomae.{rest}", "trunk.network.{rest}"),
)
_LAYER = "trunk.network.encoder.layer.{i}."
NAMES_ORIGINAL = (
    ("head.{rest}", "classifier.{rest}"),
    ("fc_norm.{rest}", "trunk.fc_norm.{rest}"),
    ("patch_embed.proj.{rest}", "trunk.network.embeddings.patch_embeddings.projection.{rest}"),
    ("blocks.{i}.attn.q_bias", f"{_LAYER}attention.attention.query.bias"),
    ("blocks.{i}.attn.v_bias", f"{_LAYER}attention.attention.value.bias"),
    *(
        (f"blocks.{{i}}.{theirs}.{{rest}}", f"{_LAYER}{ours}.{{rest}}")
        for theirs, ours in (
            ("norm1", "layernorm_before"),
            ("norm2", "layernorm_after"),
            ("attn.q", "attention.attention.query"),
            ("attn.k", "attention.attention.key"),
            ("attn.v", "attention.attention.value"),
            ("attn.proj", "attention.output.dense"),
            ("mlp.fc1", "intermediate.dense"),
            ("mlp.fc2", "output.dense"),
        )
    ),
)

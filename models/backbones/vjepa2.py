"""V-JEPA 2 through transformers; also reads the encoders and probes of its own repository.

The predictor of transformers sees tokens of the whole clip, whatever context it is given, so it is
no part of a model here; ``predictor=True`` builds it for its weights alone.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from models import hub
from models.grid_features import of_tokens
from models.renaming import joined, split, to_ours, to_published

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from models.clip_format import ClipFormat
    from models.grid_features import Grid


class VJEPA2(nn.Module):
    """A vision transformer over tubelets with rotary positions, trained to predict latents.

    Source: arXiv:2506.09985. ``video`` is the mean of the tokens or, with a probe, what that makes
    of them.

    Args:
        clip: Clips that it is built for; positions are those of its size.
        config: Settings of ``transformers.VJEPA2Config``.
        probe: Whether an attentive probe stands behind the tokens.
        probe_heads: Heads of the probe; 0 = as many as the encoder has.
        probe_eps: Of the probe's norms: 1e-5 as trained, 1e-6 in transformers.
        predictor: Whether the predictor is built.
    """

    drawn_by_constructor = True
    leaves_out = True
    """It can be asked for some tokens alone."""

    def __init__(
        self,
        *,
        clip: ClipFormat,
        config: Mapping[str, Any] = MappingProxyType({}),
        probe: bool = False,
        probe_heads: int = 0,
        probe_eps: float = 1e-5,
        predictor: bool = False,
    ) -> None:
        super().__init__()
        own = {k: v for k, v in config.items() if k not in {"frames_per_clip", "crop_size"}}
        made = hub.settings(
            "VJEPA2Config", own, frames_per_clip=clip.frames, crop_size=clip.size_px
        )
        if probe:
            settings = {"mlp_ratio": 4.0} if probe_heads else {}
            if probe_heads:
                settings["num_attention_heads"] = probe_heads
            other = hub.settings("VJEPA2Config", {**own, **settings, "num_hidden_layers": 1})
            self.pooler = hub.library().VJEPA2ForVideoClassification(other).pooler
            for module in self.pooler.modules():
                if isinstance(module, nn.LayerNorm):
                    module.eps = probe_eps
        network = hub.library().VJEPA2Model(made)
        self.encoder = network.encoder
        if predictor:
            self.predictor = network.predictor
        self.probe = probe
        self.frames = clip.frames
        side = clip.size_px // made.patch_size
        self.grid: Grid = (max(1, clip.frames // made.tubelet_size), side, side)
        self.widths: Mapping[str, int] = dict.fromkeys(
            ("tokens", "frames", "video"), made.hidden_size
        )

    def forward(self, pixels: Tensor, keep: Tensor | None = None) -> tuple[Tensor, ...]:
        """``(batch, frames, 3, height, width)`` -> ``(batch, cells, width)``.

        Args:
            pixels: Normalised.
            keep: int64 ``(batch, kept)``: tokens that are encoded, the others are never seen;
                None = all. transformers itself would encode all and then choose.
        """
        if keep is None:
            return (self.encoder(pixels).last_hidden_state,)
        tokens = self.encoder.embeddings(pixels)
        tokens = tokens.gather(1, keep[..., None].expand(-1, -1, tokens.shape[-1]))
        for layer in self.encoder.layer:
            tokens = layer(tokens, keep)[0]
        return (self.encoder.layernorm(tokens),)

    def features(self, *made: Tensor) -> dict[str, Tensor]:
        """``tokens`` (batch, cells, width), ``frames`` (batch, frames, width), ``video``."""
        (tokens,) = made
        video = self.pooler(tokens) if self.probe else tokens.mean(1)
        if tokens.shape[1] != math.prod(self.grid):  # of some tokens alone: no grid, no frames
            return {"tokens": tokens, "video": video}
        return of_tokens(tokens, self.grid, self.frames) | {"video": video}

    def layers(self) -> Sequence[Iterable[nn.Parameter]]:
        """Patches, layer by layer, the last norm, the probe."""
        net = self.encoder
        inside = [list(layer.parameters()) for layer in net.layer]
        found = [list(net.embeddings.parameters()), *inside, list(net.layernorm.parameters())]
        more = [getattr(self, name) for name in ("pooler", "predictor") if hasattr(self, name)]
        return [*found, *(list(part.parameters()) for part in more)]


def rename(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of transformers' class with a head as ours."""
    return to_ours(state, NAMES)


def publish(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The way back of :func:`rename`."""
    return to_published(state, NAMES)


def rename_original(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of an encoder of the repository, without `module.backbone.`, as ours."""
    return to_ours(split(state, ".attn.qkv.", _QKV), NAMES_ENCODER)


def publish_original(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The way back of :func:`rename_original`."""
    return joined(to_published(state, NAMES_ENCODER), _QKV, ".attn.qkv.")


def rename_predictor(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of a predictor of the repository, without `module.backbone.`, as ours."""
    tokens = sorted((n for n in state if n.startswith("mask_tokens.")), key=_number)
    others = {n: v for n, v in state.items() if n not in tokens}
    found = to_ours(split(others, ".attn.qkv.", _QKV), NAMES_PREDICTOR)
    if tokens:
        found[_MASK_TOKENS] = (
            torch.stack([state[name] for name in tokens]).flatten(1, 2).unsqueeze(1)
        )
    return found


def publish_predictor(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The way back of :func:`rename_predictor`."""
    others = {n: v for n, v in state.items() if n != _MASK_TOKENS}
    found = joined(to_published(others, NAMES_PREDICTOR), _QKV, ".attn.qkv.")
    for i, token in enumerate(state.get(_MASK_TOKENS, ())):
        found[f"mask_tokens.{i}"] = token
    return found


def rename_probe(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of an attentive probe of the repository, without `module.`, as ours."""
    cut = split(state, ".attn.qkv.", _QKV)
    return to_ours(split(cut, ".xattn.kv.", _KV), NAMES_PROBE)


def publish_probe(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The way back of :func:`rename_probe`."""
    theirs = joined(to_published(state, NAMES_PROBE), _QKV, ".attn.qkv.")
    return joined(theirs, _KV, ".xattn.kv.")


def _number(name: str) -> int:
    return int(name.rpartition(".")[2])


_MASK_TOKENS = "trunk.predictor.embeddings.mask_tokens"
_QKV = (".attn.q.", ".attn.k.", ".attn.v.")
_KV = (".xattn.k.", ".xattn.v.")
_PARTS = ("norm1", "norm2", "mlp.fc1", "mlp.fc2")
_ATTENTION = (("q", "query"), ("k", "key"), ("v", "value"), ("proj", "proj"))
NAMES = (
    ("classifier.{rest}", "classifier.{rest}"),
    ("pooler.{rest}", "trunk.pooler.{rest}"),
    ("vjepa2.{rest}", "trunk.{rest}"),
)


def _blocks(theirs: str, ours: str) -> tuple[tuple[str, str], ...]:
    same = ((f"{theirs}.{part}.{{rest}}", f"{ours}.{part}.{{rest}}") for part in _PARTS)
    attention = (
        (f"{theirs}.attn.{one}.{{rest}}", f"{ours}.attention.{two}.{{rest}}")
        for one, two in _ATTENTION
    )
    return (*same, *attention)


NAMES_ENCODER = (
    ("patch_embed.proj.{rest}", "trunk.encoder.embeddings.patch_embeddings.proj.{rest}"),
    *_blocks("blocks.{i}", "trunk.encoder.layer.{i}"),
    ("norm.{rest}", "trunk.encoder.layernorm.{rest}"),
)
NAMES_PREDICTOR = (
    ("predictor_embed.{rest}", "trunk.predictor.embeddings.predictor_embeddings.{rest}"),
    *_blocks("predictor_blocks.{i}", "trunk.predictor.layer.{i}"),
    ("predictor_norm.{rest}", "trunk.predictor.layernorm.{rest}"),
    ("predictor_proj.{rest}", "trunk.predictor.proj.{rest}"),
)
_SELF, _CROSS = "trunk.pooler.self_attention_layers.{i}", "trunk.pooler.cross_attention_layer"
_NORMS = (
    ("norm1", "layer_norm1"),
    ("norm2", "layer_norm2"),
    ("mlp.fc1", "mlp.fc1"),
    ("mlp.fc2", "mlp.fc2"),
)
NAMES_PROBE = (
    ("linear.{rest}", "classifier.{rest}"),
    ("pooler.query_tokens", "trunk.pooler.query_tokens"),
    *((f"pooler.blocks.{{i}}.{a}.{{rest}}", f"{_SELF}.{b}.{{rest}}") for a, b in _NORMS),
    *(
        (f"pooler.blocks.{{i}}.attn.{a}.{{rest}}", f"{_SELF}.self_attn.{b}.{{rest}}")
        for a, b in (("q", "q_proj"), ("k", "k_proj"), ("v", "v_proj"), ("proj", "out_proj"))
    ),
    *((f"pooler.cross_attention_block.{a}.{{rest}}", f"{_CROSS}.{b}.{{rest}}") for a, b in _NORMS),
    *(
        (f"pooler.cross_attention_block.xattn.{a}.{{rest}}", f"{_CROSS}.cross_attn.{b}.{{rest}}")
        for a, b in (("q", "q_proj"), ("k", "k_proj"), ("v", "v_proj"))
    ),
)

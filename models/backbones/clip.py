"""The image tower of CLIP through transformers, frame by frame; also reads OpenAI's weights."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from models import hub
from models.renaming import joined, split, to_ours, to_published

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from models.clip_format import ClipFormat


class CLIPFrames(nn.Module):
    """Every frame alone, in the space that CLIP shares with captions; the clip is their mean.

    Source: arXiv:2103.00020.

    Args:
        clip: Clips that its position table is made for; any number of frames.
        config: Settings of ``transformers.CLIPVisionConfig``.
    """

    drawn_by_constructor = True

    def __init__(
        self, *, clip: ClipFormat, config: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        super().__init__()
        own = dict(config)
        if own.get("vision_config"):  # of both towers
            joint = {"projection_dim": own["projection_dim"]} if "projection_dim" in own else {}
            own = {**own["vision_config"], **joint}
        own.pop("image_size", None)
        made = hub.settings("CLIPVisionConfig", own, image_size=clip.size_px)
        network = hub.library().CLIPVisionModelWithProjection(made)
        self.vision_model = network.vision_model
        self.visual_projection = network.visual_projection
        width = made.projection_dim
        self.widths: Mapping[str, int] = {"frames": width, "video": width}

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """``(batch, frames, 3, height, width)`` -> those of frames, their mean."""
        found = self.encode_frames(pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2])
        return self.combine_frames(found)

    def encode_frames(self, images: Tensor) -> Tensor:
        """``(n, 3, height, width)``, normalised -> ``(n, width)``."""
        made: Tensor = self.visual_projection(self.vision_model(pixel_values=images).pooler_output)
        return made

    def combine_frames(self, features: Tensor) -> tuple[Tensor, ...]:
        """What a call returns, from features ``(batch, frames, width)``."""
        return features, features.mean(1)

    def features(self, *made: Tensor) -> dict[str, Tensor]:
        """``frames`` (batch, frames, width), ``video`` (batch, width)."""
        frames, video = made
        return {"frames": frames, "video": video}

    def layers(self) -> Sequence[Iterable[nn.Parameter]]:
        """Patches with their positions, layer by layer, the projection."""
        net = self.vision_model
        first = [*net.embeddings.parameters(), *net.pre_layrnorm.parameters()]
        inside = [list(layer.parameters()) for layer in net.encoder.layers]
        last = [*net.post_layernorm.parameters(), *self.visual_projection.parameters()]
        return [first, *inside, last]


def rename(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of transformers' class as ours."""
    plain = {n.removeprefix("clip."): v for n, v in state.items()}
    return to_ours(plain, NAMES)


def publish(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The way back of :func:`rename`."""
    return to_published(state, NAMES)


def rename_openai(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of OpenAI's image tower as ours, as float32 (its files are float16)."""
    cut = split(split(state, ".attn.in_proj_weight", _WEIGHTS), ".attn.in_proj_bias", _BIASES)
    turned = {n: v.T if n == "visual.proj" else v for n, v in cut.items()}
    return {
        n: v.float() if v.is_floating_point() else v
        for n, v in to_ours(turned, NAMES_OPENAI).items()
    }


def publish_openai(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The way back of :func:`rename_openai`."""
    theirs = to_published(state, NAMES_OPENAI)
    whole = joined(joined(theirs, _WEIGHTS, ".attn.in_proj_weight"), _BIASES, ".attn.in_proj_bias")
    return {n: v.T if n == "visual.proj" else v for n, v in whole.items()}


_WEIGHTS = (".attn.q.weight", ".attn.k.weight", ".attn.v.weight")
_BIASES = (".attn.q.bias", ".attn.k.bias", ".attn.v.bias")
NAMES = (
    ("vision_model.{rest}", "trunk.vision_model.{rest}"),
    ("visual_projection.{rest}", "trunk.visual_projection.{rest}"),
)
_TOWER = "trunk.vision_model."
_LAYER = f"{_TOWER}encoder.layers.{{i}}."
NAMES_OPENAI = (
    ("visual.proj", "trunk.visual_projection.weight"),
    ("visual.class_embedding", f"{_TOWER}embeddings.class_embedding"),
    ("visual.positional_embedding", f"{_TOWER}embeddings.position_embedding.weight"),
    ("visual.conv1.weight", f"{_TOWER}embeddings.patch_embedding.weight"),
    ("visual.ln_pre.{rest}", f"{_TOWER}pre_layrnorm.{{rest}}"),
    ("visual.ln_post.{rest}", f"{_TOWER}post_layernorm.{{rest}}"),
    *(
        (f"visual.transformer.resblocks.{{i}}.{a}.{{rest}}", f"{_LAYER}{b}.{{rest}}")
        for a, b in (
            ("attn.q", "self_attn.q_proj"),
            ("attn.k", "self_attn.k_proj"),
            ("attn.v", "self_attn.v_proj"),
            ("attn.out_proj", "self_attn.out_proj"),
            ("ln_1", "layer_norm1"),
            ("ln_2", "layer_norm2"),
            ("mlp.c_fc", "mlp.fc1"),
            ("mlp.c_proj", "mlp.fc2"),
        )
    ),
)

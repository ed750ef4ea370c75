"""The video tower of X-CLIP through transformers."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from models import hub
from models.renaming import to_ours, to_published

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from models.clip_format import ClipFormat
    from models.grid_features import Grid


class XCLIPVideo(nn.Module):
    """CLIP's image tower with messages between frames, then a small transformer over frames.

    Source: arXiv:2208.02816. ``video`` is the mean of the frames after it, in the space shared with
    captions.

    Args:
        clip: Clips that its position tables are made for.
        config: Settings of ``transformers.XCLIPConfig``.
    """

    drawn_by_constructor = True

    def __init__(
        self, *, clip: ClipFormat, config: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        super().__init__()
        own = dict(config)
        vision = dict(own.pop("vision_config", {}) or {})
        vision |= {"num_frames": clip.frames, "image_size": clip.size_px}
        text = {**dict(own.pop("text_config", {}) or {}), "num_hidden_layers": 1}
        made = hub.settings("XCLIPConfig", own, vision_config=vision, text_config=text)
        network = hub.library().XCLIPModel(made)
        self.vision_model = network.vision_model
        self.visual_projection = network.visual_projection
        self.mit = network.mit
        side = clip.size_px // made.vision_config.patch_size
        self.grid: Grid = (clip.frames, side, side)
        self.widths: Mapping[str, int] = {
            "tokens": made.vision_config.hidden_size,
            "frames": made.projection_dim,
            "video": made.projection_dim,
        }

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """``(batch, frames, 3, height, width)`` -> frames after the small transformer, tokens."""
        made = self.vision_model(pixel_values=pixels.flatten(0, 1))
        frames = self.visual_projection(made.pooler_output).unflatten(0, pixels.shape[:2])
        tokens = made.last_hidden_state[:, 1:].unflatten(0, pixels.shape[:2]).flatten(1, 2)
        return self.mit(frames).last_hidden_state, tokens

    def features(self, *made: Tensor) -> dict[str, Tensor]:
        """``tokens`` (batch, cells, width), ``frames``, ``video`` (batch, width)."""
        frames, tokens = made
        return {"tokens": tokens, "frames": frames, "video": frames.mean(1)}

    def layers(self) -> Sequence[Iterable[nn.Parameter]]:
        """Patches with their positions, layer by layer, the projection, the small transformer."""
        net = self.vision_model
        first = [*net.embeddings.parameters(), *net.pre_layernorm.parameters()]
        inside = [list(layer.parameters()) for layer in net.encoder.layers]
        last = [*net.post_layernorm.parameters(), *self.visual_projection.parameters()]
        return [first, *inside, last, list(self.mit.parameters())]


def rename(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of transformers' class as ours."""
    plain = {n.removeprefix("x_clip.").removeprefix("xclip."): v for n, v in state.items()}
    return to_ours(plain, NAMES)


def publish(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The way back of :func:`rename`."""
    return to_published(state, NAMES)


NAMES = (
    ("vision_model.{rest}", "trunk.vision_model.{rest}"),
    ("visual_projection.{rest}", "trunk.visual_projection.{rest}"),
    ("mit.{rest}", "trunk.mit.{rest}"),
)

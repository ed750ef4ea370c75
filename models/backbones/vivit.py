"""ViViT through transformers."""

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


class ViViT(nn.Module):
    """Joint attention over tubelets (model 1 of the paper).

    Source: arXiv:2103.15691. The class token, after the last norm, is ``video``.

    Args:
        clip: Clips that its position table is made for.
        config: Settings of ``transformers.VivitConfig``.
    """

    drawn_by_constructor = True

    def __init__(
        self, *, clip: ClipFormat, config: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        super().__init__()
        own = {k: v for k, v in config.items() if k not in {"num_frames", "image_size"}}
        made = hub.settings("VivitConfig", own, num_frames=clip.frames, image_size=clip.size_px)
        self.network = hub.library().VivitModel(made, add_pooling_layer=False)
        self.frames = clip.frames
        steps, rows, columns = made.tubelet_size
        self.grid: Grid = (clip.frames // steps, clip.size_px // rows, clip.size_px // columns)
        self.widths: Mapping[str, int] = dict.fromkeys(
            ("tokens", "frames", "video"), made.hidden_size
        )

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """``(batch, frames, 3, height, width)`` -> ``(batch, 1 + cells, width)``, class first."""
        return (self.network(pixel_values=pixels).last_hidden_state,)

    def features(self, *made: Tensor) -> dict[str, Tensor]:
        """``tokens`` (batch, cells, width), ``frames`` (batch, frames, width), ``video``."""
        (tokens,) = made
        return of_tokens(tokens[:, 1:], self.grid, self.frames) | {"video": tokens[:, 0]}

    def layers(self) -> Sequence[Iterable[nn.Parameter]]:
        """Patches with their positions, layer by layer, the last norm."""
        net = self.network
        inside = [list(layer.parameters()) for layer in net.layers]
        return [list(net.embeddings.parameters()), *inside, list(net.layernorm.parameters())]


def rename(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of transformers' class with a head as ours."""
    return to_ours(state, NAMES)


def publish(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The way back of :func:`rename`."""
    return to_published(state, NAMES)


NAMES = (
    ("classifier.{rest}", "classifier.{rest}"),
    ("vivit.{rest}", "trunk.network.{rest}"),
)

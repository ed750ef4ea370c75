"""Any image network of timm, frame by frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from models.clip_format import ClipFormat

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class Frames(nn.Module):
    """Every frame alone, as the network pools it; the clip is their mean.

    Args:
        clip: Clips that it is built for.
        architecture: Name in timm.
    """

    drawn_by_constructor = True

    def __init__(self, *, clip: ClipFormat, architecture: str) -> None:
        super().__init__()
        timm = library()
        sizes = {"img_size": clip.size_px}
        try:
            self.network = timm.create_model(architecture, pretrained=False, num_classes=0, **sizes)
        except TypeError:  # a network that takes every size
            self.network = timm.create_model(architecture, pretrained=False, num_classes=0)
        width = self._probe(clip)
        self.widths: Mapping[str, int] = {"frames": width, "video": width}

    def _probe(self, clip: ClipFormat) -> int:
        was, device = self.training, next(self.network.parameters()).device
        self.eval()
        with torch.no_grad():
            found = self.encode_frames(torch.zeros(1, 3, clip.size_px, clip.size_px, device=device))
        self.train(was)
        return found.shape[1]

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """``(batch, frames, 3, height, width)`` -> those of frames, their mean."""
        found = self.encode_frames(pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2])
        return self.combine_frames(found)

    def encode_frames(self, images: Tensor) -> Tensor:
        """``(n, 3, height, width)``, normalised -> ``(n, width)``."""
        made: Tensor = self.network(images)
        return made

    def combine_frames(self, features: Tensor) -> tuple[Tensor, ...]:
        """What a call returns, from features ``(batch, frames, width)``."""
        return features, features.mean(1)

    def features(self, *made: Tensor) -> dict[str, Tensor]:
        """``frames`` (batch, frames, width), ``video`` (batch, width)."""
        frames, video = made
        return {"frames": frames, "video": video}

    def layers(self) -> Sequence[Iterable[nn.Parameter]]:
        """As timm groups them, from the input to the output."""
        group = library().models.group_parameters
        matcher = self.network.group_matcher(coarse=False)
        named = dict(self.network.named_parameters())
        groups = group(self.network, matcher, reverse=False)
        return [[named[name] for name in groups[key]] for key in sorted(groups)]


def library() -> Any:
    """The package, imported when the first network needs it.

    Raises:
        ModuleNotFoundError: It is not installed; says how to install it.
    """
    try:
        import timm
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "this model needs the package timm, which is not installed; "
            "pip install 'auxsweep[timm]'"
        ) from None
    return timm


def clip_of(architecture: str) -> ClipFormat:
    """Pictures that the default weights of an architecture were trained on, 8 to a clip.

    Raises:
        ValueError: timm knows no such architecture.
    """
    timm = library()
    if not timm.is_model(architecture):
        raise ValueError(f"timm {timm.__version__} has no model {architecture!r}")
    config = timm.get_pretrained_cfg(architecture)
    _, size_px, _ = config.input_size
    return ClipFormat(
        frames=8,
        size_px=size_px,
        mean=tuple(config.mean),
        std=tuple(config.std),
        resize=config.interpolation,
        crop_share=config.crop_pct,
    )


def rename(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of timm as ours: heads are called `head`, `fc` or `classifier` there."""
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        first, _, rest = name.partition(".")
        is_head = first in {"head", "fc", "classifier"} and rest in {
            "weight",
            "bias",
            "fc.weight",
            "fc.bias",
        }
        found[f"classifier.{rest.rpartition('.')[2]}" if is_head else f"trunk.network.{name}"] = (
            value
        )
    return found

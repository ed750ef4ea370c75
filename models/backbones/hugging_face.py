"""Any image network of transformers, frame by frame."""

from __future__ import annotations

from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from models import hub

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from models.clip_format import ClipFormat


class Frames(nn.Module):
    """Every frame alone; the clip is their mean.

    A frame's feature is what the network pools or, where it pools nothing, the mean of its last
    tokens or map.

    Args:
        clip: Clips that it is built for.
        config: What config.json holds, with its `model_type`.
    """

    drawn_by_constructor = True

    def __init__(
        self, *, clip: ClipFormat, config: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        super().__init__()
        transformers = hub.library()
        own = dict(config)
        made = transformers.AutoConfig.for_model(own.pop("model_type"), **own)
        towers = hasattr(made, "vision_config")
        made = made.vision_config if towers else made
        if hasattr(made, "image_size"):
            made.image_size = clip.size_px
        # the class that was saved: without a pooler where a head takes the tokens
        kind = hub.network_class((config.get("architectures") or [""])[0])
        if towers or kind is None:
            whole = transformers.AutoModel.from_config(made, dtype=torch.float32)
            self.network = getattr(whole, "vision_model", whole)
        else:
            whole = kind(made)
            self.network = getattr(whole, whole.base_model_prefix, whole)
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
        made = self.network(pixel_values=images)
        pooled: Tensor | None = getattr(made, "pooler_output", None)
        if pooled is not None:
            return pooled.flatten(1)
        last: Tensor = made.last_hidden_state
        return last.mean(1) if last.ndim == 3 else last.flatten(2).mean(2)

    def combine_frames(self, features: Tensor) -> tuple[Tensor, ...]:
        """What a call returns, from features ``(batch, frames, width)``."""
        return features, features.mean(1)

    def features(self, *made: Tensor) -> dict[str, Tensor]:
        """``frames`` (batch, frames, width), ``video`` (batch, width)."""
        frames, video = made
        return {"frames": frames, "video": video}

    def layers(self) -> Sequence[Iterable[nn.Parameter]]:
        """Block by block of its longest list of layers, what stands before and after it."""
        return in_order(self.network)


def in_order(network: nn.Module) -> list[list[nn.Parameter]]:
    """Parameters before, in and after the longest list of layers, in order of registration."""
    lists = [m for m in network.modules() if isinstance(m, (nn.ModuleList, nn.Sequential))]
    longest = max(lists, key=len, default=nn.ModuleList())
    blocks = [found for part in longest if (found := list(part.parameters()))]
    inside = {id(parameter) for block in blocks for parameter in block}
    before: list[nn.Parameter] = []
    after: list[nn.Parameter] = []
    seen = False
    for parameter in network.parameters():
        seen = seen or id(parameter) in inside
        if id(parameter) not in inside:
            (after if seen else before).append(parameter)
    return [part for part in (before, *blocks, after) if part]


def rename(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of a class with or without a head as ours.

    All weights of the network have one beginning; `classifier` is the head, and a linear layer
    inside of a sequence there, too.
    """
    if any(".vision_model." in f".{name}" for name in state):  # of two towers: the one of images
        return {
            f"trunk.network.{n.partition('vision_model.')[2]}": v
            for n, v in state.items()
            if "vision_model." in n
        }
    beginning = Counter(name.partition(".")[0] for name in state).most_common(1)[0][0]
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        first, _, rest = name.partition(".")
        if first == beginning:
            found[f"trunk.network.{rest}"] = value
        elif first == "classifier":
            found[f"classifier.{rest.rpartition('.')[2]}"] = value
        else:
            found[name] = value
    return found

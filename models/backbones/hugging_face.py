"""Any network of transformers: of images, frame by frame, or of clips."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from models import hub
from models.grid_features import over_frames

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from models.clip_format import ClipFormat


def network(*, clip: ClipFormat, config: Mapping[str, Any]) -> nn.Module:
    """A trunk of the network that config.json describes: of clips or, as most are, of images.

    Args:
        clip: Clips that it is built for.
        config: What config.json holds, with its `model_type`.
    """
    made, inside = _made(clip, config)
    takes = getattr(inside, "main_input_name", "pixel_values")
    return Clips(inside, made, clip) if takes == "pixel_values_videos" else Frames(inside, clip)


def _made(clip: ClipFormat, config: Mapping[str, Any]) -> tuple[Any, nn.Module]:
    """Configuration and network, of images where there are two towers."""
    transformers = hub.library()
    own = dict(config)
    made = transformers.AutoConfig.for_model(own.pop("model_type"), **own)
    towers = hasattr(made, "vision_config")
    made = made.vision_config if towers else made
    for name, value in (("image_size", clip.size_px), ("num_frames", clip.frames)):
        if hasattr(made, name):
            setattr(made, name, value)
    # the class that was saved: without a pooler where a head takes the tokens
    kind = hub.network_class((config.get("architectures") or [""])[0])
    if towers or kind is None:
        whole = transformers.AutoModel.from_config(made, dtype=torch.float32)
        return made, getattr(whole, "vision_model", whole)
    whole = kind(made)
    return made, getattr(whole, whole.base_model_prefix, whole)


class Clips(nn.Module):
    """A network of clips whose tokens lie step by step; the clip is their mean, or what it pools.

    Args:
        network: Called with ``pixel_values_videos`` (batch, frames, 3, height, width).
        config: Its configuration.
        clip: Clips that it is built for.
    """

    drawn_by_constructor = True

    def __init__(self, network: nn.Module, config: Any, clip: ClipFormat) -> None:
        super().__init__()
        self.network = network
        self.frames = clip.frames
        tubelet = getattr(config, "tubelet_size", 1)
        length = tubelet[0] if isinstance(tubelet, (list, tuple)) else tubelet
        self.steps = max(1, clip.frames // length)
        width = config.hidden_size
        self.widths: Mapping[str, int] = {"frames": width, "video": width}

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """``(batch, frames, 3, height, width)`` -> ``(batch, cells, width)``."""
        return (self.network(pixel_values_videos=pixels).last_hidden_state,)

    def features(self, *made: Tensor) -> dict[str, Tensor]:
        """``frames`` (batch, frames, width), ``video`` (batch, width)."""
        (tokens,) = made
        steps = tokens.unflatten(1, (self.steps, -1)).mean(2)
        return {"frames": over_frames(steps, self.frames), "video": tokens.mean(1)}

    def layers(self) -> Sequence[Iterable[nn.Parameter]]:
        """As in :class:`Frames`."""
        return in_order(self.network)


class Frames(nn.Module):
    """Every frame alone; the clip is their mean.

    A frame's feature is what the network pools or, where it pools nothing, the mean of its last
    tokens or map.

    Args:
        network: Called with ``pixel_values`` (images, 3, height, width).
        clip: Clips that it is built for.

    Raises:
        ValueError: It gives nothing of this kind for an image.
    """

    drawn_by_constructor = True

    def __init__(self, network: nn.Module, clip: ClipFormat) -> None:
        super().__init__()
        self.network = network
        width = self._probe(clip)
        self.widths: Mapping[str, int] = {"frames": width, "video": width}

    def _probe(self, clip: ClipFormat) -> int:
        was, device = self.training, next(self.network.parameters()).device
        self.eval()
        try:
            with torch.no_grad():
                image = torch.zeros(1, 3, clip.size_px, clip.size_px, device=device)
                found = self.encode_frames(image)
        except (AttributeError, RuntimeError, TypeError, ValueError) as error:
            kind = type(self.network).__name__
            raise ValueError(f"{kind} of transformers: not a network of images ({error})") from None
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
        """Block by block of its longest list of layers, with what stands before and after it."""
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

    Weights of the network have one beginning, or that of the images' tower of two; `classifier` is
    the head, and a linear layer inside of a sequence there, too. Others keep their names.
    """
    beginning = Counter(name.partition(".")[0] for name in state).most_common(1)[0][0]
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        first, _, rest = name.partition(".")
        if "vision_model." in name:
            found[f"trunk.network.{name.partition('vision_model.')[2]}"] = value
        elif first == beginning:
            found[f"trunk.network.{rest}"] = value
        elif first == "classifier":
            found[f"classifier.{rest.rpartition('.')[2]}"] = value
        else:
            found[name] = value
    return found

"""A video model put together: a trunk behind clips, heads on its features, a tower for captions."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from models.catalogue import HEADS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from models.clip_format import ClipFormat
    from models.interface import Part, Tokenizer


class Normalise(nn.Module):
    """Pixels of 0..1 as a checkpoint wants them: ``(x - mean) / std`` per colour."""

    mean: Tensor
    std: Tensor

    def __init__(self, clip: ClipFormat) -> None:
        super().__init__()
        # of the format, not of the weights: in no checkpoint
        self.register_buffer("mean", torch.tensor(clip.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(clip.std).view(3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """``(..., 3, height, width)`` -> the same shape."""
        return pixels.sub(self.mean).div(self.std)


class AssembledModel(nn.Module):
    """A :class:`models.interface.VideoModel` of a trunk, heads by name, and perhaps a text tower.

    Args:
        name: Of the catalogue's row, for messages.
        clip: Clips that the trunk was built for.
        trunk: A :class:`models.interface.Part` that reads normalised clips.
        heads: Row of ``models.catalogue.HEADS`` -> module; each reads and gives one feature, and
            is called by its row's ``part`` here.
        text: A part that reads numbers and mask of captions.
        tokenizer: Makes these numbers.
    """

    def __init__(
        self,
        *,
        name: str,
        clip: ClipFormat,
        trunk: nn.Module,
        heads: Mapping[str, nn.Module],
        text: nn.Module | None,
        tokenizer: Tokenizer | None,
    ) -> None:
        super().__init__()
        self.name = name
        self.clip = clip
        self.tokenizer = tokenizer if text is not None else None
        self.heads = tuple(heads)
        self.normalise = Normalise(clip)
        self.trunk = trunk
        for head, module in heads.items():
            self.add_module(HEADS[head].part, module)
        self.text = text
        self.shared: tuple[str, ...] = ("trunk",) if text is None else ("trunk", "text")
        widths = dict(self._trunk.widths)
        for head, module in heads.items():
            widths[HEADS[head].gives] = cast(int, module.out_features)
        if text is not None:
            widths |= cast("Part", text).widths
        self.widths: Mapping[str, int] = widths

    @property
    def grid(self) -> tuple[int, int, int] | None:
        """Steps, rows and columns of the feature ``tokens``; None where there are none."""
        found: tuple[int, int, int] | None = getattr(self.trunk, "grid", None)
        return found

    @property
    def _trunk(self) -> Part:
        return cast("Part", self.trunk)

    def encode_video(self, pixels: Tensor, keep: Tensor | None = None) -> dict[str, Tensor]:
        """Features of clips ``(batch, frames, 3, size_px, size_px)``, float in 0..1.

        Args:
            pixels: The clips.
            keep: int64 ``(batch, kept)``, numbers of the tokens that are seen; None = all.

        Raises:
            ValueError: Another shape of clip; ``keep`` for a trunk that sees every part of a clip.
        """
        expected = (self.clip.frames, 3, self.clip.size_px, self.clip.size_px)
        if pixels.ndim != 5 or tuple(pixels.shape[1:]) != expected:
            raise ValueError(
                f"{self.name}: clips of shape {tuple(pixels.shape)}, not (batch, "
                f"{', '.join(str(size) for size in expected)})"
            )
        inputs: tuple[Tensor, ...] = (self.normalise(pixels),)
        if keep is not None:
            if not getattr(self.trunk, "leaves_out", False):
                raise ValueError(f"{self.name}: has no tokens that could be left out (keep)")
            inputs = (*inputs, keep)
        return self.with_heads(self._trunk.features(*self._trunk(*inputs)))

    def with_heads(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Features of the trunk, and what the heads make of them."""
        for head in self.heads:
            row = HEADS[head]
            module = self.get_submodule(row.part)
            features[row.gives] = module(features[getattr(module, "reads", row.reads)])
        return features

    def encode_text(self, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Features of captions: int64 and bool ``(batch, words)``.

        Raises:
            ValueError: The model was built without words.
        """
        if self.text is None:
            raise ValueError(f"{self.name}: built without a text tower; build it with words=")
        tower = cast("Part", self.text)
        return tower.features(*tower(ids, mask))

    def layers(self) -> Sequence[Iterable[nn.Parameter]]:
        """Of the trunk, then the text tower as one, then the heads as one."""
        found = list(self._trunk.layers())
        if self.text is not None:
            tower = cast("Part", self.text).layers()
            found.append([parameter for layer in tower for parameter in layer])
        heads = [p for h in self.heads for p in self.get_submodule(HEADS[h].part).parameters()]
        return [*found, heads] if heads else found

    def forward(
        self,
        pixels: Tensor | None = None,
        *,
        caption_ids: Tensor | None = None,
        caption_mask: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Both encoders behind one call, as ``torch.func.functional_call`` needs it.

        Encodes whatever is given; the features of both are merged.
        """
        features: dict[str, Tensor] = {}
        if pixels is not None:
            features |= self.encode_video(pixels)
        if caption_ids is not None and caption_mask is not None:
            features |= self.encode_text(caption_ids, caption_mask)
        return features


class AssembledFramewise(AssembledModel):
    """One whose trunk encodes every frame alone: a :class:`models.interface.Framewise`.

    Its trunk has ``encode_frames`` (normalised images in) and ``combine_frames`` (what the
    trunk's call returns, from features of frames).
    """

    def encode_frames(self, images: Tensor) -> Tensor:
        """Features ``(n, width)`` of images ``(n, 3, size_px, size_px)``, float in 0..1."""
        found: Tensor = self.trunk.encode_frames(self.normalise(images))  # type: ignore[operator]
        return found

    def combine_frames(self, features: Tensor) -> dict[str, Tensor]:
        """What ``encode_video`` gives, from features ``(batch, frames, width)`` of the frames."""
        made = self.trunk.combine_frames(features)  # type: ignore[operator]
        return self.with_heads(self._trunk.features(*made))

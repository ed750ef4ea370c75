"""What every video model is, for those that train and test it (imports no torch).

Shapes: ``batch`` clips of ``frames`` frames, ``words`` words of a caption. Pixels are floats in
0..1, RGB, channels first; the model normalises them as its checkpoint wants it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Self

    import numpy as np
    from torch import Tensor, nn

    from models.clip_format import ClipFormat


class Tokenizer(Protocol):
    """Captions as numbers.

    Attributes:
        size: How many numbers there are; all are below it.
        pad: Stands where a caption has ended.
        mask: Stands for a hidden word; None = this tokenizer has no such number.
        length: Numbers per caption; longer captions are cut.
    """

    @property
    def size(self) -> int: ...
    @property
    def pad(self) -> int: ...
    @property
    def mask(self) -> int | None: ...
    @property
    def length(self) -> int: ...

    def encode(self, sentences: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Numbers int64 ``(N, length)``, and bool ``(N, length)``: True at words."""
        ...


class Part(Protocol):
    """An encoder of a model: the trunk behind clips, the tower behind captions. A torch module.

    A trunk may have ``heads``, row of ``models.catalogue.HEADS`` -> class used in place of that
    row's (which ``reads`` another feature, if it says so), and ``grid`` = (steps, rows, columns) of
    its feature ``tokens``. One that ``leaves_out`` tokens takes the numbers of those that are seen
    as a second argument.

    Attributes:
        widths: Feature -> its last axis.
    """

    @property
    def widths(self) -> Mapping[str, int]: ...

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """What it makes of normalised clips, or of numbers and mask of captions.

        The gradients of several losses are compared at the first of these tensors: all losses on a
        clip or caption run through it.
        """
        ...

    def features(self, *made: Tensor) -> dict[str, Tensor]:
        """Named features from what the call returned."""
        ...

    def layers(self) -> Sequence[Iterable[nn.Parameter]]:
        """Its parameters, each once, from the input to the output."""
        ...


class VideoModel(Protocol):
    """Clips and captions in, named features out. Every one is a torch module, too.

    Attributes:
        clip: Clips that it takes.
        tokenizer: Numbers that ``encode_text`` reads; None = it reads no captions.
        widths: Feature -> its last axis, for losses with parameters of their own.
        shared: Submodules whose (first) output all losses on a clip or caption share.
        training: Whether batch normalisation and dropout are in training mode.
    """

    clip: ClipFormat
    tokenizer: Tokenizer | None
    widths: Mapping[str, int]
    shared: tuple[str, ...]
    training: bool

    def encode_video(self, pixels: Tensor, keep: Tensor | None = None) -> dict[str, Tensor]:
        """Features of clips.

        Args:
            pixels: ``(batch, frames, 3, size_px, size_px)``, float in 0..1.
            keep: int64 ``(batch, kept)``, the tokens that are seen; None = all.

        Returns:
            Such as ``frames`` (batch, frames, width), ``video`` (batch, width), ``logits``
            (batch, classes), ``video_embed`` (batch, width), L2-normalised.

        Raises:
            ValueError: Another shape of clip; ``keep`` for a model that cannot leave out tokens.
        """
        ...

    def encode_text(self, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Features of captions; the amount of padding changes nothing.

        Args:
            ids: int64 ``(batch, words)``, from the model's tokenizer.
            mask: bool ``(batch, words)``, True at words.

        Returns:
            ``text_tokens`` (batch, words, width), zero at padding; ``text_embed`` (batch, width),
            L2-normalised.

        Raises:
            ValueError: The model reads no captions.
        """
        ...

    def layers(self) -> Sequence[Iterable[nn.Parameter]]:
        """All parameters, each once, from the input to the output: freezing, layer-wise rates."""
        ...

    # what is used of a torch module
    def train(self, mode: bool = True) -> Self: ...
    def eval(self) -> Self: ...
    def requires_grad_(self, requires_grad: bool = True) -> Self: ...
    def to(self, *args: Any, **kwargs: Any) -> Self: ...
    def modules(self) -> Iterator[nn.Module]: ...
    def get_submodule(self, target: str) -> nn.Module: ...
    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]: ...
    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]: ...
    def buffers(self, recurse: bool = True) -> Iterator[Tensor]: ...


@runtime_checkable
class Framewise(Protocol):
    """A model that encodes every frame alone: frames in another order need no new forward."""

    def encode_frames(self, images: Tensor) -> Tensor:
        """Features ``(n, width)`` of images ``(n, 3, size_px, size_px)``, float in 0..1."""
        ...

    def combine_frames(self, features: Tensor) -> dict[str, Tensor]:
        """What ``encode_video`` gives, from features ``(batch, frames, width)`` of the frames."""
        ...

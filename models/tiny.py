"""A small video-text model that learns motion on one CPU core within half a minute.

Feature maps keep the channels last in memory from the patches to the pooled grid, and temporal
convolutions run as 3x1 kernels over (time, place). On one core, forward and backward take about
0.75 of the same layers written as matrix products with shifts, with equal numbers.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.batchnorm import frozen_statistics

if TYPE_CHECKING:
    from collections.abc import Mapping

PATCH_PX = 4
WIDTH_STEM = 32
WIDTH_MAP = 64
WIDTH_FEATURE = 128
WIDTH_EMBED = 64
WIDTH_WORD = 64
GRID = 2
STRIDE_PX = PATCH_PX * 2 * 2 * GRID
"""Clips must be a multiple of this high and wide: patches, two halvings, then the 2x2 grid."""


class StepConvolution(nn.Module):
    """Zero-padded convolution over three steps, the same for every place of the grid."""

    def __init__(self, width: int, *, bias: bool) -> None:
        super().__init__()
        self.kernel = nn.Conv2d(width, width, (3, 1), padding=(1, 0), bias=bias)
        self.kernel.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve over the second axis.

        Args:
            x: ``(batch, steps, places, width)``.

        Returns:
            The same shape.
        """
        return self.kernel(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class PatchStem(nn.Module):
    """Linear map of 4x4 pixel patches, batch norm, ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, WIDTH_STEM, PATCH_PX, stride=PATCH_PX, bias=False)
        self.patch.to(memory_format=torch.channels_last)
        self.norm = nn.BatchNorm2d(WIDTH_STEM)

    def forward(self, images: Tensor) -> Tensor:
        """Cut ``(n, 3, height, width)`` into ``(n, 32, height / 4, width / 4)``, channels last."""
        images = images.contiguous(memory_format=torch.channels_last)
        return F.relu(self.norm(self.patch(images)))


class SpaceTimeBlock(nn.Module):
    """Halve the grid by a 3x3 convolution, then add what the neighbouring frames say."""

    def __init__(self, width_in: int) -> None:
        super().__init__()
        self.space = nn.Conv2d(width_in, WIDTH_MAP, 3, stride=2, padding=1, bias=False)
        self.space.to(memory_format=torch.channels_last)
        self.space_norm = nn.BatchNorm2d(WIDTH_MAP)
        self.time = StepConvolution(WIDTH_MAP, bias=False)
        self.time_norm = nn.BatchNorm1d(WIDTH_MAP)

    def forward(self, maps: Tensor, *, frames: int) -> Tensor:
        """Transform feature maps.

        Args:
            maps: ``(batch * frames, width_in, height, width)``, channels last in memory.
            frames: Frames per clip.

        Returns:
            ``(batch * frames, 64, height / 2, width / 2)``, channels last in memory.
        """
        maps = F.relu(self.space_norm(self.space(maps))).permute(0, 2, 3, 1)
        mixed = self.time(maps.reshape(-1, frames, maps.shape[1] * maps.shape[2], WIDTH_MAP))
        mixed = F.relu(self.time_norm(mixed.reshape(-1, WIDTH_MAP))).view(maps.shape)
        return (maps + mixed).permute(0, 3, 1, 2)


class VideoTrunk(nn.Module):
    """Clips to frame features and a clip feature.

    The two layer norms let several auxiliary losses share the trunk at learning rates of 2e-3:
    without them the model stays at chance for hundreds of steps.
    """

    def __init__(self, *, frames: int) -> None:
        super().__init__()
        self.frames = frames
        self.stem = PatchStem()
        self.blocks = nn.ModuleList([SpaceTimeBlock(WIDTH_STEM), SpaceTimeBlock(WIDTH_MAP)])
        self.frame = nn.Linear(WIDTH_MAP * GRID**2, WIDTH_FEATURE)
        self.frame_norm = nn.LayerNorm(WIDTH_FEATURE)
        self.time = StepConvolution(WIDTH_FEATURE, bias=True)
        self.clip = nn.Linear(frames * WIDTH_FEATURE, WIDTH_FEATURE)
        self.clip_norm = nn.LayerNorm(WIDTH_FEATURE)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Encode clips.

        Args:
            pixels: ``(batch, frames, 3, height, width)``, normalised.

        Returns:
            Frame features before the ReLU ``(batch, frames, 128)``; clip features ``(batch, 128)``.
        """
        maps = self.stem(pixels.flatten(0, 1))
        for block in self.blocks:
            maps = block(maps, frames=self.frames)
        n, width, height, columns = maps.shape
        cells = maps.permute(0, 2, 3, 1).reshape(
            n, GRID, height // GRID, GRID, columns // GRID, width
        )
        # flattened with the channel first, as after average pooling of a channels-first map
        grid = cells.mean(dim=(2, 4)).permute(0, 3, 1, 2).reshape(-1, self.frames, width * GRID**2)
        frames = self.frame_norm(self.frame(grid))
        mixed = F.relu(frames + F.relu(self.time(frames.unsqueeze(2)).squeeze(2)))
        return frames, self.clip_norm(self.clip(mixed.flatten(1)))


class WordVectors(nn.Embedding):
    """Word vectors that start small, with standard deviation .02 as in BERT and CLIP.

    All captions then begin almost equal, and the contrast of clips and captions leaves the trunk in
    peace until words mean something. Starting from N(0, 1) it delayed the moment at which the
    trunk finds motion by a hundred steps and more.
    """

    def reset_parameters(self) -> None:
        """Draw from N(0, .02^2)."""
        nn.init.normal_(self.weight, std=0.02)


class TextTower(nn.Module):
    """Word vectors, each with its two neighbours, averaged.

    The convolution over words is what makes word order count: a plain mean of word vectors
    cannot tell "from left to right" from "from right to left".
    """

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.words = WordVectors(vocabulary, WIDTH_WORD)
        self.order = StepConvolution(WIDTH_WORD, bias=True)
        self.project = nn.Linear(WIDTH_WORD, WIDTH_EMBED)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encode captions; the amount of padding changes nothing.

        Args:
            ids: ``(batch, words)``, word numbers.
            mask: ``(batch, words)``, True at words.

        Returns:
            Word features ``(batch, words, 64)``, zero at padding; L2-normalised caption
            embeddings ``(batch, 64)``.
        """
        keep = mask.unsqueeze(-1).to(self.words.weight.dtype)
        words = self.words(ids) * keep
        tokens = (words + F.gelu(self.order(words.unsqueeze(2)).squeeze(2))) * keep
        mean = tokens.sum(1) / keep.sum(1).clamp(min=1)
        return tokens, F.normalize(self.project(mean), dim=-1)


class TinyVideoText(nn.Module):
    """Clip features, frame features and class logits; with text also joint embeddings.

    Source: the recipe of this project's quickstart study. 296,904 parameters for 8 classes and
    8 frames without text.

    Args:
        classes: Number of classes, at least 1.
        frames: Frames per clip.
        size_px: Height and width of the clip in pixels, a multiple of 32.
        vocabulary: Number of word ids; needed with ``text``.
        text: Build the text tower and the projection of the clip feature beside it.

    Raises:
        ValueError: A size that the layers cannot take.
    """

    name = "tiny"
    shared_modules = ("trunk", "text")
    """Encoders whose (first) output all losses on a clip or caption share."""

    def __init__(
        self,
        *,
        classes: int,
        frames: int = 8,
        size_px: int = 64,
        vocabulary: int = 0,
        text: bool = False,
    ) -> None:
        super().__init__()
        if size_px < STRIDE_PX or size_px % STRIDE_PX:
            raise ValueError(f"{self.name}: size_px {size_px} is not a multiple of {STRIDE_PX}")
        if classes < 1 or frames < 1:
            raise ValueError(
                f"{self.name}: classes {classes} and frames {frames} must be at least 1"
            )
        if text and vocabulary < 1:
            raise ValueError(
                f"{self.name}: a text tower needs vocabulary of at least 1, not {vocabulary}"
            )
        self.frames = frames
        self.size_px = size_px
        self.vocabulary = vocabulary if text else 0
        self.trunk = self.build_trunk()
        self.classifier = nn.Linear(WIDTH_FEATURE, classes)
        self.projection = nn.Linear(WIDTH_FEATURE, WIDTH_EMBED) if text else None
        self.text = TextTower(vocabulary) if text else None

    def build_trunk(self) -> nn.Module:
        """The network between clips and features."""
        return VideoTrunk(frames=self.frames)

    def encode_clips(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Frame features before the ReLU ``(batch, frames, 128)``; clip features ``(batch, 128)``.

        Args:
            pixels: ``(batch, frames, 3, size_px, size_px)``, normalised.
        """
        found: tuple[Tensor, Tensor] = self.trunk(pixels)
        return found

    def dims(self) -> Mapping[str, int]:
        """Sizes of the features, for losses with parameters of their own; 0 = not provided."""
        has_text = self.text is not None
        return {
            "frames": WIDTH_FEATURE,
            "video": WIDTH_FEATURE,
            "embed": WIDTH_EMBED if has_text else 0,
            "word": WIDTH_WORD if has_text else 0,
            "vocabulary": self.vocabulary,
            "classes": self.classifier.out_features,
            "time": self.frames,
            "size_px": self.size_px,
        }

    def encode_video(self, pixels: Tensor, *, update_statistics: bool = True) -> dict[str, Tensor]:
        """Features of clips.

        Args:
            pixels: ``(batch, frames, 3, size_px, size_px)``, float, ``(x - .5) / .25`` of 0..1.
            update_statistics: Whether training mode moves the running statistics; only view A
                may (the other views are still normalised with their own batch statistics).

        Returns:
            ``frames`` (batch, frames, 128), at least 0; ``video`` (batch, 128); ``logits``
            (batch, classes); with text ``video_embed`` (batch, 64), L2-normalised.

        Raises:
            ValueError: Another shape of clip.
        """
        expected = (self.frames, 3, self.size_px, self.size_px)
        if pixels.ndim != 5 or tuple(pixels.shape[1:]) != expected:
            raise ValueError(
                f"{self.name}: clips of shape {tuple(pixels.shape)}, not (batch, "
                f"{', '.join(str(size) for size in expected)})"
            )
        with nullcontext() if update_statistics else frozen_statistics(self.trunk):
            frames, video = self.encode_clips(pixels)
        return self.features(frames, video)

    def features(self, frames: Tensor, video: Tensor) -> dict[str, Tensor]:
        """What ``encode_video`` returns, from frame and clip features."""
        found = {
            "frames": F.relu(frames),
            "video": video,
            "logits": self.classifier(F.relu(video)),
        }
        if self.projection is not None:
            found["video_embed"] = F.normalize(self.projection(video), dim=-1)
        return found

    def encode_text(self, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Features of captions.

        Args:
            ids: ``(batch, words)`` int64, below ``vocabulary``.
            mask: ``(batch, words)`` bool, True at words.

        Returns:
            ``text_tokens`` (batch, words, 64); ``text_embed`` (batch, 64), L2-normalised.

        Raises:
            ValueError: The model was built without text.
        """
        if self.text is None:
            raise ValueError(f"{self.name}: built without a text tower; build it with text=True")
        tokens, embed = self.text(ids, mask)
        return {"text_tokens": tokens, "text_embed": embed}

    def forward(
        self,
        pixels: Tensor | None = None,
        *,
        caption_ids: Tensor | None = None,
        caption_mask: Tensor | None = None,
        update_statistics: bool = True,
    ) -> dict[str, Tensor]:
        """Both encoders behind one call, as ``torch.func.functional_call`` needs it.

        Encodes whatever is given; the features of both are merged.
        """
        features: dict[str, Tensor] = {}
        if pixels is not None:
            features |= self.encode_video(pixels, update_statistics=update_statistics)
        if caption_ids is not None and caption_mask is not None:
            features |= self.encode_text(caption_ids, caption_mask)
        return features

"""A small video-text model that sees every frame alone and averages over time.

The twin of ``models.tiny`` without anything that joins frames: what it knows of a clip does not
depend on the order of its frames, and features of a frame can be used again wherever it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.batchnorm import frozen_statistics
from models.tiny import (
    GRID,
    STRIDE_PX,
    WIDTH_EMBED,
    WIDTH_FEATURE,
    WIDTH_MAP,
    WIDTH_STEM,
    WIDTH_WORD,
    PatchStem,
    TextTower,
)


class SpaceBlock(nn.Module):
    """Halve the grid by a 3x3 convolution, batch norm, ReLU."""

    def __init__(self, width_in: int) -> None:
        super().__init__()
        self.space = nn.Conv2d(width_in, WIDTH_MAP, 3, stride=2, padding=1, bias=False)
        self.space.to(memory_format=torch.channels_last)
        self.norm = nn.BatchNorm2d(WIDTH_MAP)

    def forward(self, maps: Tensor) -> Tensor:
        """Transform ``(n, width_in, height, width)`` to ``(n, 64, height / 2, width / 2)``."""
        return F.relu(self.norm(self.space(maps)))


class FrameTrunk(nn.Module):
    """Images to features: patches, two halvings of the grid, a 2x2 grid of means."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = PatchStem()
        self.blocks = nn.Sequential(SpaceBlock(WIDTH_STEM), SpaceBlock(WIDTH_MAP))
        self.frame = nn.Linear(WIDTH_MAP * GRID**2, WIDTH_FEATURE)
        self.norm = nn.LayerNorm(WIDTH_FEATURE)

    def forward(self, images: Tensor) -> Tensor:
        """Encode ``(n, 3, height, width)``, normalised, as ``(n, 128)``."""
        maps = F.adaptive_avg_pool2d(self.blocks(self.stem(images)), GRID)
        return self.norm(self.frame(maps.flatten(1)))


class TinyFrames(nn.Module):
    """Frame features, their mean over time, class logits; with text also joint embeddings.

    Source: this project.

    Args:
        classes: Number of classes, at least 1.
        frames: Frames per clip.
        size_px: Height and width of the clip in pixels, a multiple of 32.
        vocabulary: Number of word ids; needed with ``text``.
        text: Build the text tower and the projection of the clip feature beside it.

    Raises:
        ValueError: A size that the layers cannot take.
    """

    framewise = True
    """Frames are encoded alone: ``encode_frames``, then ``combine_frames``."""

    shared_modules = ("trunk", "text")
    """Encoders whose output all losses on a clip or caption share."""

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
            raise ValueError(f"tiny_frames: size_px {size_px} is not a multiple of {STRIDE_PX}")
        if classes < 1 or frames < 1:
            raise ValueError(
                f"tiny_frames: classes {classes} and frames {frames} must be at least 1"
            )
        if text and vocabulary < 1:
            raise ValueError(
                f"tiny_frames: a text tower needs vocabulary of at least 1, not {vocabulary}"
            )
        self.frames = frames
        self.size_px = size_px
        self.vocabulary = vocabulary if text else 0
        self.trunk = FrameTrunk()
        self.classifier = nn.Linear(WIDTH_FEATURE, classes)
        self.projection = nn.Linear(WIDTH_FEATURE, WIDTH_EMBED) if text else None
        self.text = TextTower(vocabulary) if text else None

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

    def encode_frames(self, images: Tensor) -> Tensor:
        """Features ``(n, 128)`` of images ``(n, 3, size_px, size_px)``, normalised as clips are."""
        return self.trunk(images)

    def combine_frames(self, features: Tensor) -> dict[str, Tensor]:
        """What ``encode_video`` gives, from features ``(batch, frames, 128)`` of the frames."""
        video = features.mean(1)
        found = {
            "frames": F.relu(features),
            "video": video,
            "logits": self.classifier(F.relu(video)),
        }
        if self.projection is not None:
            found["video_embed"] = F.normalize(self.projection(video), dim=-1)
        return found

    def encode_video(self, pixels: Tensor, *, update_statistics: bool = True) -> dict[str, Tensor]:
        """Features of clips.

        Args:
            pixels: ``(batch, frames, 3, size_px, size_px)``, float, ``(x - .5) / .25`` of 0..1.
            update_statistics: Whether training mode moves the running statistics.

        Returns:
            ``frames`` (batch, frames, 128), at least 0; ``video`` (batch, 128); ``logits``
            (batch, classes); with text ``video_embed`` (batch, 64), L2-normalised.

        Raises:
            ValueError: Another shape of clip.
        """
        expected = (self.frames, 3, self.size_px, self.size_px)
        if pixels.ndim != 5 or tuple(pixels.shape[1:]) != expected:
            raise ValueError(
                f"tiny_frames: clips of shape {tuple(pixels.shape)}, not (batch, "
                f"{', '.join(str(size) for size in expected)})"
            )
        with nullcontext() if update_statistics else frozen_statistics(self.trunk):
            features = self.encode_frames(pixels.flatten(0, 1))
        return self.combine_frames(features.unflatten(0, pixels.shape[:2]))

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
            raise ValueError("tiny_frames: built without a text tower; build it with text=True")
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
        """Both encoders behind one call, as ``torch.func.functional_call`` needs it."""
        features: dict[str, Tensor] = {}
        if pixels is not None:
            features |= self.encode_video(pixels, update_statistics=update_statistics)
        if caption_ids is not None and caption_mask is not None:
            features |= self.encode_text(caption_ids, caption_mask)
        return features

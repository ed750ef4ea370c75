"""A small video-text model that learns motion on one CPU core within half a minute.

Feature maps keep the channels last in memory from the patches to the pooled grid, and temporal
convolutions run as 3x1 kernels over (time, place). On one core, forward and backward take about
0.75 of the same layers written as matrix products with shifts, with equal numbers.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.heads import RectifiedClasses

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from models.clip_format import ClipFormat
    from models.interface import Tokenizer

PATCH_PX = 4
WIDTH_STEM = 32
WIDTH_MAP = 64
WIDTH_FEATURE = 128
WIDTH_EMBED = 64
WIDTH_WORD = 64
GRID = 2


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

    Source: the recipe of this project's quickstart study. With a head for 8 classes it has
    296,904 parameters at 8 frames.
    """

    widths: Mapping[str, int] = MappingProxyType({"frames": WIDTH_FEATURE, "video": WIDTH_FEATURE})
    heads: Mapping[str, type[nn.Module]] = MappingProxyType({"classes": RectifiedClasses})

    def __init__(self, *, clip: ClipFormat) -> None:
        super().__init__()
        self.frames = frames = clip.frames
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

    def features(self, *made: Tensor) -> dict[str, Tensor]:
        """``frames`` (batch, frames, 128), at least 0; ``video`` (batch, 128)."""
        frames, video = made
        return {"frames": F.relu(frames), "video": video}

    def layers(self) -> Sequence[Iterable[nn.Parameter]]:
        """Stem, blocks, what makes a frame's feature, what makes a clip's."""
        frame = [*self.frame.parameters(), *self.frame_norm.parameters()]
        clip = [*self.time.parameters(), *self.clip.parameters(), *self.clip_norm.parameters()]
        blocks = [list(block.parameters()) for block in self.blocks]
        return [list(self.stem.parameters()), *blocks, frame, clip]


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

    widths: Mapping[str, int] = MappingProxyType(
        {"text_tokens": WIDTH_WORD, "text_embed": WIDTH_EMBED}
    )

    def __init__(self, *, words: Tokenizer) -> None:
        super().__init__()
        self.words = WordVectors(words.size, WIDTH_WORD)
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

    def features(self, *made: Tensor) -> dict[str, Tensor]:
        """``text_tokens`` (batch, words, 64); ``text_embed`` (batch, 64), L2-normalised."""
        tokens, embed = made
        return {"text_tokens": tokens, "text_embed": embed}

    def layers(self) -> Sequence[Iterable[nn.Parameter]]:
        """Word vectors, their neighbours, the projection."""
        return [list(part.parameters()) for part in (self.words, self.order, self.project)]

"""Training batches: which clips, which views, which words - each a pure function of (seed, step).

Nothing here keeps a random state, so a resumed trial sees exactly the batches of an uninterrupted
one, and every cell of a study sees the same clips in the same views (common random numbers).
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from sweep.data.ahead import loaders
from sweep.runtime import ranks
from sweep.runtime.seeds import generator
from sweep.training.frame_masks import MOTION_POLICIES, frame_mask
from sweep.training.raw_clips import RawClips, Reader

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Set

    from models.interface import Tokenizer
    from sweep.data.sources import ClipSource
    from sweep.settings.train import TrainSettings

#: What hidden frames show: mid-grey, the same for every model.
GREY = 0.5


@dataclass(frozen=True)
class Clips:
    """The training clips of a trial, as the sampler needs them.

    Attributes:
        source: Where frames are read from, all training clips of the data set.
        rows: int64 ``(N,)``, these clips in ``source``.
        time: Frames that the model sees, uniform over the stored ones.
        labels: int64 ``(N,)``; -1 where the label is not given to the trainer.
        captions: int64 ``(N, captions per clip, words)``, padded; empty without captions.
        said: bool like ``captions``: True at words.
        hidden: Number that stands for a hidden word; None = there is none.
    """

    source: ClipSource
    rows: np.ndarray
    time: int
    labels: np.ndarray
    captions: np.ndarray
    said: np.ndarray
    hidden: int | None = None

    def part(self, places: np.ndarray) -> Clips:
        """Some of the clips, by their place among these; no frame is read or copied."""
        return replace(
            self,
            rows=self.rows[places],
            labels=self.labels[places],
            captions=self.captions[places],
            said=self.said[places],
        )


class Batches:
    """Batch number ``step`` of a trial, as a dict of the data features that are asked for.

    Half of a batch (``labelled_share``) comes from the labelled clips, the rest from all clips,
    in two independent streams that are shuffled anew every epoch. Without a loss that reads labels
    (``supervised``), all clips are alike.

    With ``train.perturb``, a share of the clips is perturbed before anything else, by the severity
    table ``ladder``. View A, its masked copy and the teacher see the same perturbed clip; view B
    draws its own.
    """

    def __init__(
        self,
        clips: Clips,
        *,
        seed: int,
        settings: TrainSettings,
        needs: Set[str],
        device: torch.device | str = "cpu",
        supervised: bool = True,
        ladder: str = "paper_fixed",
    ) -> None:
        self.clips = clips
        self.ladder = ladder
        self.seed = seed
        self.settings = settings
        self.needs = needs
        self.device = torch.device(device)
        self._labelled = np.flatnonzero((clips.labels >= 0) | (not supervised))
        if len(self._labelled) == 0:
            raise ValueError("no labelled training clip: cross-entropy has nothing to learn from")
        if "caption_ids_masked" in needs and clips.hidden is None:
            raise ValueError(
                "a loss hides words of captions, and the tokenizer of this model has no number for "
                "a hidden word"
            )
        share = 1.0 if len(self._labelled) == len(clips.labels) else settings.labelled_share
        self._from_labelled = max(1, round(settings.batch * share))
        self._permutation = lru_cache(maxsize=4)(self._draw_permutation)
        self._raw = RawClips(
            source=clips.source,
            time=clips.time,
            seed=seed,
            mix=settings.perturb,
            probability=settings.perturb_probability,
            ladder=ladder,
            has_b="pixels_b" in needs and settings.perturb != "none",
        )
        self._reader: Reader | None = None
        #: What went wrong in reading without ending the trial; taken away by who reports it.
        self.warnings: list[str] = []

    @contextmanager
    def read_ahead(self, workers: int | None) -> Iterator[None]:
        """Within the block, batches in order are read ahead, if reading means decoding.

        Args:
            workers: As `data.workers`.
        """
        if not self.clips.source.is_stream or (count := loaders(workers)) == 0:
            yield
            return
        self._reader = Reader(
            self._raw,
            self._mine,
            stop=self.settings.steps,
            workers=count,
            pin=self.device.type == "cuda",
            lost=self.warnings.append,
        )
        try:
            yield
        finally:
            self._reader.close()
            self._reader = None

    def _mine(self, step: int) -> np.ndarray:
        """Clips of the source that this rank reads in a step."""
        rows = self.rows(step)
        return self.clips.rows[rows[ranks.part(len(rows))]]

    def _draw_permutation(self, name: str, epoch: int, size: int) -> np.ndarray:
        order = torch.randperm(size, generator=generator(self.seed, "order", name, epoch))
        return order.numpy()

    def _take(self, name: str, pool: np.ndarray, step: int, count: int) -> np.ndarray:
        positions = np.arange(step * count, (step + 1) * count)
        epochs, places = positions // len(pool), positions % len(pool)
        picks = [
            self._permutation(name, int(epoch), len(pool))[place]
            for epoch, place in zip(epochs, places, strict=True)
        ]
        return pool[np.asarray(picks, dtype=np.int64)]

    def rows(self, step: int) -> np.ndarray:
        """Rows of the training set in batch ``step``."""
        rest = self.settings.batch - self._from_labelled
        parts = [self._take("labelled", self._labelled, step, self._from_labelled)]
        if rest:
            parts.append(self._take("all", np.arange(len(self.clips.labels)), step, rest))
        return np.concatenate(parts)

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Data features of batch ``step`` on the device; view pixels under their suffix.

        ``pixels`` (view A) and ``labels`` are always there. In a trial of several ranks the
        pixels are those of this rank's part of the batch, everything else is of the whole batch.
        """
        rows = self.rows(step)
        mine = ranks.part(len(rows))
        raw = self._raw((step, self._mine(step))) if self._reader is None else self._reader(step)
        clips = raw["view_a"].to(self.device, non_blocking=True)
        views = self.settings.views
        labels = torch.from_numpy(self.clips.labels[rows]).to(self.device)
        pixels = self._view(clips, len(rows), step, "view_a", noise=0.0)
        batch = {"labels": labels, "pixels": pixels}
        if "pixels_b" in self.needs:
            own = raw["view_b"].to(self.device) if "view_b" in raw else clips
            batch["pixels_b"] = self._view(own, len(rows), step, "view_b", noise=views.noise_b)
        if {"pixels_masked", "frame_mask"} & self.needs:
            mask = self._frame_mask(rows, clips, step)
            batch["frame_mask"] = mask
            batch["pixels_masked"] = pixels.masked_fill(mask[mine][:, :, None, None, None], GREY)
        if any(name.startswith("caption") for name in self.needs):
            batch |= self._words(rows, step)
        return batch

    def _view(self, clips: Tensor, size: int, step: int, name: str, *, noise: float) -> Tensor:
        """Shift, channel gain, exposure, optional noise; float in 0..1.

        Draws for all ``size`` clips of the batch, of which ``clips`` are this rank's.
        """
        views = self.settings.views
        rng = generator(self.seed, name, step)
        mine = ranks.part(size)
        _, time, chan, height, width = clips.shape
        shift = torch.randint(-views.shift_px, views.shift_px + 1, (2, size), generator=rng)
        gain = 1 + views.gain * (2 * torch.rand(size, 1, chan, 1, 1, generator=rng) - 1)
        gain = gain * (1 + views.exposure * (2 * torch.rand(size, 1, 1, 1, 1, generator=rng) - 1))
        rows = (torch.arange(height) + shift[0][mine, None]).clamp(0, height - 1)
        columns = (torch.arange(width) + shift[1][mine, None]).clamp(0, width - 1)
        index = (rows[:, :, None] * width + columns[:, None, :]).view(len(clips), 1, 1, -1)
        index = index.to(self.device).expand(len(clips), time, chan, -1)
        moved = clips.flatten(3).gather(3, index).view(clips.shape)
        x = moved.float().mul_(gain[mine].to(self.device) / 255)
        if noise:
            std = noise * torch.rand(size, 1, 1, 1, 1, generator=rng)
            drawn = torch.randn(size, *clips.shape[1:], generator=rng)
            x += std[mine].to(self.device) * drawn[mine].to(self.device)
        return x.clamp_(0, 1)

    def _frame_mask(self, rows: np.ndarray, clips: Tensor, step: int) -> Tensor:
        """Hidden frames of the whole batch, of which ``clips`` are this rank's part."""
        if len(clips) < len(rows) and self.settings.views.mask_policy in MOTION_POLICIES:
            clips = self._raw.view(self.clips.rows[rows], step, "view_a")
        rng = generator(self.seed, "frame_mask", step)
        return frame_mask(len(rows), clips, self.settings.views, rng).to(self.device)

    def _words(self, rows: np.ndarray, step: int) -> Mapping[str, Tensor]:
        """One caption per clip, drawn anew; its masked copy and the words to be found."""
        rng = generator(self.seed, "words", step)
        captions, said = (torch.from_numpy(x[rows]) for x in (self.clips.captions, self.clips.said))
        pick = torch.randint(captions.shape[1], (len(rows),), generator=rng)
        ids = captions[torch.arange(len(rows)), pick]
        mask = said[torch.arange(len(rows)), pick]
        score = torch.rand(ids.shape, generator=rng).masked_fill(~mask, 2.0)
        chosen = (score < self.settings.views.mask_words) | (score == score.amin(1, keepdim=True))
        chosen &= mask
        features = {
            "caption_ids": ids,
            "caption_mask": mask,
            "caption_targets": ids.masked_fill(~chosen, -1),
        }
        if self.clips.hidden is not None:
            features["caption_ids_masked"] = ids.masked_fill(chosen, self.clips.hidden)
        return {name: value.to(self.device) for name, value in features.items()}


def encode_captions(
    captions: tuple[tuple[str, ...], ...], tokenizer: Tokenizer
) -> tuple[np.ndarray, np.ndarray]:
    """int64 ``(N, captions per clip, words)`` and bool: True at words.

    Clips with fewer captions repeat theirs.
    """
    most = max((len(c) for c in captions), default=0)
    rows = [[c[i % len(c)] if c else "" for i in range(most)] for c in captions]
    shape = len(captions), most, tokenizer.length
    ids, said = tokenizer.encode([text for row in rows for text in row])
    return ids.reshape(shape), said.reshape(shape)

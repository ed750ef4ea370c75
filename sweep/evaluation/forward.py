"""How a model is run on clips: whole clips, and frames of models that encode each alone."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from models.interface import Framewise
from sweep.runtime import heartbeat, ranks
from sweep.runtime.device import mixed_precision

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from torch import Tensor

    from models.interface import VideoModel
    from sweep.data.prepare import ClipSet
    from sweep.evaluation.bench import TestBench
    from sweep.records.condition import Condition

#: Feature -> float32 ``(N, ...)``, in the order of the clips.
Features = dict[str, np.ndarray]


@dataclass(frozen=True)
class Forward:
    """A model, and how it is run.

    Attributes:
        model: Trained; in any mode, in which it is left.
        precision: See ``mixed_precision``.
        device: Of the model.
        batch: Clips per forward.
    """

    model: VideoModel
    precision: str
    device: torch.device
    batch: int

    def video(self, frames: np.ndarray) -> dict[str, Tensor]:
        """All features of uint8 clips ``(n, T, C, H, W)``."""
        with mixed_precision(self.precision, self.device):
            made: dict[str, Tensor] = self.model.encode_video(self._pixels(frames))
        return made

    def frames(self, images: np.ndarray) -> Tensor:
        """Features of uint8 images ``(n, C, H, W)``, of a frame-wise model."""
        assert isinstance(self.model, Framewise)
        with mixed_precision(self.precision, self.device):
            made: Tensor = self.model.encode_frames(self._pixels(images))
        return made

    def clips(self, features: Tensor) -> dict[str, Tensor]:
        """All features of clips from those of their frames ``(n, T, D)``."""
        assert isinstance(self.model, Framewise)
        with mixed_precision(self.precision, self.device):
            made: dict[str, Tensor] = self.model.combine_frames(features.to(self.device))
        return made

    def text(self, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """All features of captions: int64 ``(n, words)``, and True where there is a word."""
        with mixed_precision(self.precision, self.device):
            made: dict[str, Tensor] = self.model.encode_text(ids, mask)
        return made

    @property
    def is_framewise(self) -> bool:
        """Whether the model encodes every frame alone."""
        return isinstance(self.model, Framewise)

    def _pixels(self, frames: np.ndarray) -> Tensor:
        """In 0..1, as models take them."""
        return torch.from_numpy(frames).to(self.device).float().div_(255)

    @contextmanager
    def testing(self) -> Iterator[None]:
        """The model in evaluation mode, without gradients."""
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():
                yield
        finally:
            self.model.train(was_training)


def encode(
    forward: Forward, frames: np.ndarray, features: Collection[str], *, shared: bool = True
) -> Features:
    """Features of every clip.

    Args:
        forward: The model.
        frames: uint8 ``(N, T, C, H, W)``.
        features: What ``encode_video`` calls them, such as `logits`.
        shared: Whether all ranks have these clips: each then encodes a part of them.
    """
    found = []
    mine = ranks.part(len(frames)) if shared else slice(0, len(frames))
    with forward.testing():
        for start in range(mine.start, mine.stop, forward.batch):
            heartbeat.beat()
            part = np.array(frames[start : min(start + forward.batch, mine.stop)])
            found.append(kept(forward.video(part), features))
    parts = ranks.gather_objects(found) if shared else [found]
    return joined([made for part in parts for made in part])


def encode_condition(
    forward: Forward,
    bench: TestBench,
    known: FrameFeatures | None,
    condition: Condition,
    frames: np.ndarray,
    features: Collection[str],
    *,
    shared: bool = True,
) -> tuple[Features, dict[str, int]]:
    """Features of the clips of a condition, and how they came about, as ``Encoders.forwards``.

    Args:
        forward: The model.
        bench: The test clips.
        known: Features of single frames of a frame-wise model.
        condition: What ``frames`` show.
        frames: uint8 ``(N, T, C, H, W)``.
        features: What is wanted.
        shared: See ``encode``.
    """
    shown = bench.shown(condition) if known is not None else None
    if known is None or shown is None:
        return encode(forward, frames, features, shared=shared), {"evaluate": len(frames)}
    found, fresh = known.of_clips(condition, shown, features)
    run = math.ceil(fresh / shown.shape[1])
    return found, {"evaluate": run, "gathered": len(frames) - run}


class FrameFeatures:
    """Features of single frames of the test clips, for a model that encodes every frame alone."""

    def __init__(self, forward: Forward, bench: TestBench) -> None:
        self.forward = forward
        self.bench = bench
        #: Clip set -> (clip, stored frame) -> row of the features, -1 = not encoded yet.
        self._rows: dict[str, np.ndarray] = {}
        self._features: dict[str, Tensor] = {}

    def of_clips(
        self, condition: Condition, shown: np.ndarray, features: Collection[str]
    ) -> tuple[Features, int]:
        """Features of clips made of stored frames, and how many frames were encoded for them.

        Args:
            condition: Says which clips.
            shown: int64 ``(N, T)`` stored frame at each time.
            features: What ``combine_frames`` calls them.
        """
        clip_set = self.bench.prepared.evaluation[condition.clips]
        count, stored = clip_set.source.shape[:2]
        chosen = self.bench.rows(condition)
        clips = (np.arange(count) if chosen is None else chosen)[:, None]
        rows = self._rows.setdefault(condition.clips, np.full((count, stored), -1))
        needed = np.zeros_like(rows, dtype=bool)
        needed[clips, shown] = True
        where = np.argwhere(needed & (rows < 0))
        with self.forward.testing():
            if len(where):
                fresh = self._encode(clip_set, where)
                known = self._features.get(condition.clips)
                first = 0 if known is None else len(known)
                rows[where[:, 0], where[:, 1]] = np.arange(first, first + len(where))
                every = fresh if known is None else torch.cat([known, fresh])
                self._features[condition.clips] = every
            known = self._features[condition.clips]
            parts = np.array_split(rows[clips, shown], math.ceil(len(clips) / self.forward.batch))
            found = [kept(self.forward.clips(known[part]), features) for part in parts]
        return joined(found), len(where)

    def _encode(self, clip_set: ClipSet, where: np.ndarray) -> Tensor:
        at_once = self.forward.batch * self.bench.frames
        found = []
        for start in range(0, len(where), at_once):
            heartbeat.beat()
            clips, frames = where[start : start + at_once].T
            images = clip_set.source.frames(clips, frames[:, None])[:, 0]
            found.append(self.forward.frames(images).cpu())
        return torch.cat(found)


def kept(made: dict[str, Tensor], features: Collection[str]) -> Features:
    """What is wanted and there, on the CPU."""
    return {n: value.float().cpu().numpy() for n, value in made.items() if n in features}


def joined(parts: Sequence[Features]) -> Features:
    """The clips of all parts, one after the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

"""What a trained model says of the tested clips and captions; equal pixels share a forward."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from models.interface import Framewise
from sweep.evaluation.conditions import (
    Condition,
)
from sweep.runtime import heartbeat, ranks
from sweep.runtime.device import mixed_precision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.interface import FramewiseModel, Tokenizer, VideoModel
    from sweep.data.prepare import ClipSet
from typing import TYPE_CHECKING

from sweep.evaluation.bench import TestBench

if TYPE_CHECKING:
    from sweep.evaluation.bench import TestBench
    from sweep.evaluation.conditions import Condition
from sweep.evaluation.captions import perturbed


@torch.inference_mode()
def encode(
    model: VideoModel,
    frames: np.ndarray,
    *,
    feature: str,
    batch: int,
    precision: str,
    device: torch.device,
) -> np.ndarray:
    """One feature of every clip, float32 ``(N, ...)``; the model is left in the mode it was in.

    Each rank encodes a part of the clips.

    Args:
        model: In any mode.
        frames: uint8 ``(N, T, C, H, W)``.
        feature: What ``encode_video`` calls it, such as `logits`.
        batch: Clips per forward.
        precision: Of the forward, see ``mixed_precision``.
        device: Of the model.
    """
    was_training = model.training
    model.eval()
    found = []
    mine = ranks.part(len(frames))
    for start in range(mine.start, mine.stop, batch):
        heartbeat.beat()
        clip = torch.from_numpy(np.array(frames[start : min(start + batch, mine.stop)])).to(device)
        pixels = clip.float().div_(255)
        with mixed_precision(precision, device):
            made = model.encode_video(pixels)[feature]
        found.append(made.float().cpu().numpy())
    model.train(was_training)
    return np.concatenate([made for part in ranks.gather_objects(found) for made in part])


class Encoder:
    """One feature of the clips of every condition, for a trained model.

    Conditions whose tested frames are equal byte for byte share one forward. A model that encodes
    every frame alone (``Framewise``) encodes each frame once: conditions that show the frames of
    the clips in another order or again are put together from what is known.

    Args:
        model: The trained model.
        bench: Its test clips.
        feature: What ``encode_video`` calls it, such as `logits`.
        precision: Of the forward.
        device: Of the model.

    Attributes:
        forwards: Clips forwarded (`evaluate`), not forwarded for equal pixels (`avoided`), and put
            together from known frames (`gathered`, of frame-wise models).
    """

    def __init__(
        self,
        model: VideoModel,
        bench: TestBench,
        *,
        feature: str,
        precision: str,
        device: torch.device,
    ) -> None:
        self.bench = bench
        self.forwards = {"evaluate": 0, "avoided": 0}
        self._forward = partial(
            encode,
            model,
            feature=feature,
            batch=bench.settings.batch,
            precision=precision,
            device=device,
        )
        self._known: dict[str, np.ndarray] = {}
        self._frames: FrameFeatures | None = None
        if isinstance(model, Framewise):
            self._frames = FrameFeatures(
                model, bench, feature=feature, precision=precision, device=device
            )
            self.forwards["gathered"] = 0

    def __call__(self, condition: Condition) -> tuple[np.ndarray, str]:
        """The feature, float32 ``(N, ...)``, and the hash of the tested pixels."""
        tested = self.bench.clips(condition)
        known = self._known.get(tested.pixels)
        if known is None:
            known = self._known[tested.pixels] = self._encode(condition, tested.frames)
        else:
            self.forwards["avoided"] += len(known)
        return known, tested.pixels

    def _encode(self, condition: Condition, frames: np.ndarray) -> np.ndarray:
        shown = self.bench.shown(condition) if self._frames is not None else None
        if self._frames is None or shown is None:
            self.forwards["evaluate"] += len(frames)
            return self._forward(frames)
        found, fresh = self._frames.of_clips(condition, shown)
        run = math.ceil(fresh / shown.shape[1])
        self.forwards["evaluate"] += run
        self.forwards["gathered"] += len(found) - run
        return found


class FrameFeatures:
    """Features of single frames of the test clips, for a model that encodes every frame alone.

    Args:
        model: Has ``encode_frames`` and ``combine_frames``.
        bench: Its test clips.
        feature: What ``combine_frames`` calls the wanted feature.
        precision: Of the forward.
        device: Of the model.
    """

    def __init__(
        self,
        model: FramewiseModel,
        bench: TestBench,
        *,
        feature: str,
        precision: str,
        device: torch.device,
    ) -> None:
        self.model = model
        self.bench = bench
        self.feature = feature
        self.precision = precision
        self.device = device
        #: Clip set -> (clip, stored frame) -> row of the features, -1 = not encoded yet.
        self._rows: dict[str, np.ndarray] = {}
        self._features: dict[str, torch.Tensor] = {}

    @torch.inference_mode()
    def of_clips(self, condition: Condition, shown: np.ndarray) -> tuple[np.ndarray, int]:
        """The feature of clips made of stored frames, and how many frames were encoded for it.

        Args:
            condition: Says which clips.
            shown: int64 ``(N, T)`` stored frame at each time.
        """
        was_training = self.model.training
        self.model.eval()
        clip_set = self.bench.prepared.evaluation[condition.clips]
        count, stored = clip_set.frames.shape[:2]
        chosen = self.bench.rows(condition)
        clips = (np.arange(count) if chosen is None else chosen)[:, None]
        rows = self._rows.setdefault(condition.clips, np.full((count, stored), -1))
        needed = np.zeros_like(rows, dtype=bool)
        needed[clips, shown] = True
        where = np.argwhere(needed & (rows < 0))
        if len(where):
            fresh = self._encode(clip_set, where)
            known = self._features.get(condition.clips)
            first = 0 if known is None else len(known)
            rows[where[:, 0], where[:, 1]] = np.arange(first, first + len(where))
            self._features[condition.clips] = fresh if known is None else torch.cat([known, fresh])
        features = self._features[condition.clips]
        found = []
        for part in np.array_split(rows[clips, shown], self._parts(len(clips))):
            with mixed_precision(self.precision, self.device):
                made = self.model.combine_frames(features[part].to(self.device))[self.feature]
            found.append(made.float().cpu().numpy())
        self.model.train(was_training)
        return np.concatenate(found), len(where)

    def _encode(self, clip_set: ClipSet, where: np.ndarray) -> torch.Tensor:
        at_once = self.bench.settings.batch * self.bench.frames
        found = []
        for start in range(0, len(where), at_once):
            heartbeat.beat()
            clips, frames = where[start : start + at_once].T
            images = torch.from_numpy(clip_set.frames[clips, frames]).to(self.device)
            with mixed_precision(self.precision, self.device):
                made = self.model.encode_frames(images.float().div_(255))
            found.append(made.cpu())
        return torch.cat(found)

    def _parts(self, clips: int) -> int:
        return math.ceil(clips / self.bench.settings.batch)


#: Captions of a test set with this end fit several of its clips; any of them counts as found.
SHARED_CAPTIONS = "-known"


class CaptionEncoder:
    """Embeddings of the test captions, perturbed or not; each is computed once.

    Args:
        model: The trained model.
        bench: Its test clips.
        vocabulary: Of the training captions; other words are unknown ones.
        precision: Of the forward.
        device: Of the model.
    """

    def __init__(
        self,
        model: VideoModel,
        bench: TestBench,
        vocabulary: Tokenizer,
        *,
        precision: str,
        device: torch.device,
    ) -> None:
        self.model = model
        self.bench = bench
        self.vocabulary = vocabulary
        self.precision = precision
        self.device = device
        self._known: dict[tuple[str, str, int], tuple[np.ndarray, str]] = {}

    def __call__(self, condition: Condition) -> tuple[np.ndarray, str]:
        """Embeddings float32 ``(M, D)`` and the hash of the captions."""
        key = condition.clips, condition.text, condition.text_severity
        if key not in self._known:
            captions = perturbed(self.bench, condition)
            digest = hashlib.blake2b("\n".join(captions).encode(), digest_size=8).hexdigest()
            self._known[key] = self._encode(captions), digest
        return self._known[key]

    @torch.inference_mode()
    def _encode(self, captions: Sequence[str]) -> np.ndarray:
        was_training = self.model.training
        self.model.eval()
        ids, mask = (torch.from_numpy(x).to(self.device) for x in self.vocabulary.encode(captions))
        batch = self.bench.settings.batch
        found = []
        for part, words in zip(ids.split(batch), mask.split(batch), strict=True):
            with mixed_precision(self.precision, self.device):
                made = self.model.encode_text(part, words)["text_embed"]
            found.append(made.float().cpu().numpy())
        self.model.train(was_training)
        return np.concatenate(found)

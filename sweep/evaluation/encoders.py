"""What a trained model says of the tested clips and captions; equal pixels share a forward."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from sweep.data.sampling import uniform_center
from sweep.evaluation.bench import make_together
from sweep.evaluation.by_clip import test_by_clip
from sweep.evaluation.captions import perturbed
from sweep.evaluation.forward import (
    Features,
    Forward,
    FrameFeatures,
    encode,
    encode_condition,
    joined,
    kept,
)
from sweep.runtime import ranks

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from models.interface import Tokenizer, VideoModel
    from sweep.data.prepare import ClipSet
    from sweep.evaluation.bench import TestBench
    from sweep.records.condition import Condition


@dataclass(frozen=True)
class Encoded:
    """One feature of the clips or captions of a condition.

    Attributes:
        values: float32 ``(N, ...)``.
        pixels: Hash of what was encoded.
    """

    values: np.ndarray
    pixels: str


class Encoders:
    """What one model says: features of clips and captions, each computed once.

    Conditions whose tested frames are equal byte for byte share one forward. A model that encodes
    every frame alone encodes each frame once: conditions that show the frames of the clips in
    another order or again are put together from what is known.

    Args:
        model: The trained model.
        bench: Its test clips.
        features: What will be asked for, such as `logits`; one forward gives all of them.
        tokenizer: Makes numbers of captions, as in training.
        precision: Of the forward.
        device: Of the model.
        workers: Processes that decode a stream of test clips, as `data.workers`.

    Attributes:
        forwards: Clips forwarded (`evaluate`), not forwarded for equal pixels (`avoided`), and put
            together from known frames (`gathered`, of frame-wise models); of a stream, test clips
            decoded (`decoded`).
    """

    def __init__(
        self,
        model: VideoModel,
        bench: TestBench,
        *,
        features: Collection[str],
        tokenizer: Tokenizer | None = None,
        precision: str,
        device: torch.device,
        workers: int | None = None,
    ) -> None:
        self.bench = bench
        self._workers = workers
        self.forwards = {"evaluate": 0, "avoided": 0}
        self._features = frozenset(features)
        self._tokenizer = tokenizer
        self._forward = Forward(model, precision, device, bench.plan.settings.batch)
        self._clips: dict[str, Features] = {}
        #: Hash of the pixels of conditions that were tested ahead, clip by clip.
        self._pixels: dict[str, str] = {}
        self._captions: dict[tuple[str, str, int], tuple[Features, str]] = {}
        self._training: Features = {}
        self._frames: FrameFeatures | None = None
        if self._forward.is_framewise:
            self._frames = FrameFeatures(self._forward, bench)
            self.forwards["gathered"] = 0

    def prepare(self, rows: Sequence[Condition]) -> None:
        """Have ready what the conditions need, with all ranks at work on it.

        Stored sets: their perturbed clips, which trials share. Sets that are decoded on demand:
        features, clip by clip, so that each clip is decoded once for all conditions.
        """
        streamed = [row for row in rows if self._set(row).source.is_stream]
        make_together(self.bench, [row for row in rows if row not in streamed])
        fresh = [row for row in streamed if row.name not in self._pixels]
        for name in dict.fromkeys(row.clips for row in fresh):
            mine = [row for row in fresh if row.clips == name]
            found = test_by_clip(
                self.bench, self._forward, mine, self._features, workers=self._workers
            )
            for row in mine:
                features, self._pixels[row.name] = found.conditions[row.name]
                self._clips.setdefault(self._pixels[row.name], features)
            for kind, count in found.forwards.items():
                self.forwards[kind] = self.forwards.get(kind, 0) + count

    def _set(self, condition: Condition) -> ClipSet:
        return self.bench.prepared.evaluation[condition.clips]

    def video(self, condition: Condition, feature: str) -> Encoded:
        """A feature of the clips of a condition, and the hash of their pixels."""
        if (pixels := self._pixels.get(condition.name)) is not None:
            return Encoded(self._clips[pixels][feature], pixels)
        tested = self.bench.clips(condition)
        known = self._clips.setdefault(tested.pixels, {})
        if feature in known:
            self.forwards["avoided"] += len(tested.frames)
        else:
            known |= self._of_clips(condition, tested.frames, self._features | {feature})
        return Encoded(known[feature], tested.pixels)

    def text(self, condition: Condition, feature: str) -> Encoded:
        """A feature of the captions of a condition, and the hash of their words."""
        key = condition.clips, condition.text, condition.text_severity
        if key not in self._captions or feature not in self._captions[key][0]:
            captions = perturbed(self.bench, condition)
            digest = hashlib.blake2b("\n".join(captions).encode(), digest_size=8).hexdigest()
            self._captions[key] = self._of_captions(captions, self._features | {feature}), digest
        made, digest = self._captions[key]
        return Encoded(made[feature], digest)

    def training(self, feature: str) -> np.ndarray:
        """A feature of the training clips as they are, float32 ``(N, ...)``, in their order."""
        if feature not in self._training:
            clip_set = self.bench.prepared.train
            picks = uniform_center(clip_set.source.shape[1], self.bench.frames)
            wanted, size = self._features | {feature}, ranks.count() * self._forward.batch
            parts = []
            for start in range(0, len(clip_set.ids), size):  # never all clips in memory
                rows = np.arange(start, min(start + size, len(clip_set.ids)))
                frames = clip_set.source.frames(rows, picks)
                parts.append(encode(self._forward, frames, wanted))
            self._training |= joined(parts)
            self.forwards["evaluate"] += len(clip_set.ids)
        return self._training[feature]

    def _of_clips(
        self, condition: Condition, frames: np.ndarray, features: Collection[str]
    ) -> Features:
        found, counts = encode_condition(
            self._forward, self.bench, self._frames, condition, frames, features
        )
        for kind, count in counts.items():
            self.forwards[kind] += count
        return found

    def _of_captions(self, captions: Sequence[str], features: Collection[str]) -> Features:
        assert self._tokenizer is not None, "a task that reads captions has a tokenizer"
        device, size = self._forward.device, self._forward.batch
        ids, mask = (torch.from_numpy(x).to(device) for x in self._tokenizer.encode(captions))
        with self._forward.testing():
            parts = zip(ids.split(size), mask.split(size), strict=True)
            return joined([kept(self._forward.text(*part), features) for part in parts])

"""Testing a trained model: clean, under data shift and under every perturbation.

Perturbed clips depend on the data and the perturbation alone, not on the trial: they are made
once per node, kept as memory-mapped uint8 and shared by all trials.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from perturb.apply import apply, frame_map, unavailable
from perturb.catalogue import PERTURBATIONS
from sweep import heartbeat, metrics, ranks
from sweep.conditions import (
    MAX_STORED_BYTES,
    TEMPORAL_CHECKS,
    Condition,
    conditions,
    ladder,
    table,
)
from sweep.config import CODE_EPOCH, EvaluateSettings
from sweep.fidelity import estimate
from sweep.record import Outcomes, Score
from sweep.training.batches import MEAN, STD, uniform_center
from sweep.training.learner import mixed_precision

if TYPE_CHECKING:
    from sweep.data.prepare import ClipSet, Prepared

log = logging.getLogger(__name__)

#: Clips perturbed at a time.
CHUNK = 32


@dataclass(frozen=True)
class TestClips:
    """The frames of one condition, ready for the model.

    Attributes:
        frames: uint8 ``(N, T, C, H, W)``.
        pixels: Hash of the bytes.
    """

    frames: np.ndarray
    pixels: str


class TestBench:
    """Frames of every condition for a model of T frames; one per trial, files shared per node.

    Attributes:
        table: Which clips each perturbation cell is tested on; None = all.
    """

    def __init__(
        self,
        prepared: Prepared,
        settings: EvaluateSettings,
        *,
        frames: int,
        task: str = "classification",
    ) -> None:
        self.prepared = prepared
        self.settings = settings
        self.frames = frames
        self.ladder = ladder(settings)
        shifts = [name for name in prepared.evaluation if name != "clean"]
        every = conditions(settings, shifts, task)
        self.table = table(settings, every, len(prepared.evaluation["clean"].ids))

    def rows(self, condition: Condition) -> np.ndarray | None:
        """int64 rows of the clip set that the condition is tested on; None = all."""
        return None if self.table is None else self.table.rows.get(condition.name)

    def clips(self, condition: Condition) -> TestClips:
        """Frames of one condition, from the store if it is there.

        Concurrent trials wait for the one that makes them.
        """
        clip_set = self.prepared.evaluation[condition.clips]
        clean = not condition.perturbation
        rows = self.rows(condition)
        tested = len(clip_set.ids) if rows is None else len(rows)
        size = tested * self.frames * int(np.prod(clip_set.frames.shape[2:]))
        if not self.settings.keep_perturbed or size > MAX_STORED_BYTES:
            frames = select(clip_set, self.frames) if clean else self._perturb(clip_set, condition)
            return TestClips(frames, _hash(frames))
        folder = self.prepared.cache_dir / "conditions" / self._key(condition)
        name = condition.name.replace("/", "-")
        path, note = folder / f"{name}.npy", folder / f"{name}.json"
        if not note.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            with heartbeat.locked(folder / f"{name}.lock", f"making {condition.name}"):
                if not note.is_file():
                    frames = (
                        select(clip_set, self.frames)
                        if clean
                        else self._perturb(clip_set, condition)
                    )
                    if not _store(path, note, frames):
                        return TestClips(frames, _hash(frames))
        return TestClips(np.load(path, mmap_mode="r"), json.loads(note.read_text())["pixels"])

    def _key(self, condition: Condition) -> str:
        content: list[Any] = [
            self.prepared.fingerprint, condition.name, self.ladder, self.settings.seed,
            self.frames, CODE_EPOCH,
        ]  # fmt: skip
        rows = self.rows(condition)
        if rows is not None:
            content.append(rows.tolist())
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def shown(self, condition: Condition) -> np.ndarray | None:
        """int64 ``(N, T)``: which stored frame the model sees at each time; None if pixels change.

        Maps are built on the stored time line, then the model's frames are picked.
        """
        clip_set = self.prepared.evaluation[condition.clips]
        stored = clip_set.frames.shape[1]
        picks = np.array(uniform_center(stored, self.frames))
        chosen = self.rows(condition)
        ids = np.asarray(clip_set.ids, dtype=object)
        names = (ids if chosen is None else ids[chosen]).tolist()
        if not condition.perturbation:
            return np.broadcast_to(picks, (len(names), len(picks)))
        if not PERTURBATIONS[condition.perturbation].temporal:
            return None
        index = frame_map(
            condition.perturbation,
            condition.severity,
            stored,
            clip_ids=names,
            seed=self.settings.seed,
            ladder=self.ladder,
        )
        return index.numpy()[:, picks]

    def _perturb(self, clip_set: ClipSet, condition: Condition) -> np.ndarray:
        stored = clip_set.frames.shape[1]
        picks = uniform_center(stored, self.frames)
        chosen = self.rows(condition)
        shown = self.shown(condition)
        chunks = []
        for start in range(0, len(clip_set.ids) if chosen is None else len(chosen), CHUNK):
            part = slice(start, start + CHUNK) if chosen is None else chosen[start : start + CHUNK]
            heartbeat.beat()
            ids = np.asarray(clip_set.ids, dtype=object)[part].tolist()
            frames = clip_set.frames[part]
            options: Any = {"clip_ids": ids, "seed": self.settings.seed, "ladder": self.ladder}
            if shown is not None:
                rows = np.arange(len(ids))[:, None]
                chunks.append(frames[rows, shown[start : start + CHUNK]])
            else:
                clip = torch.from_numpy(np.ascontiguousarray(frames[:, picks]))
                made = apply(clip, condition.perturbation, condition.severity, **options)
                chunks.append(made.numpy())
        return np.concatenate(chunks)


def select(clip_set: ClipSet, frames: int) -> np.ndarray:
    """uint8 ``(N, T, C, H, W)``: the model's frames, uniform over the stored ones."""
    return np.ascontiguousarray(
        clip_set.frames[:, uniform_center(clip_set.frames.shape[1], frames)]
    )


def _hash(frames: np.ndarray) -> str:
    return hashlib.blake2b(np.ascontiguousarray(frames).data, digest_size=8).hexdigest()


def _store(path: Path, note: Path, frames: np.ndarray) -> bool:
    """Whether there was room. The note is written last: it means that the array is whole."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.npy")
    try:
        np.save(temporary, frames)
        temporary.replace(path)
        text = json.dumps({"pixels": _hash(frames), "shape": list(frames.shape)})
        temporary = note.with_name(f".{note.name}.{os.getpid()}")
        temporary.write_text(text)
        temporary.replace(note)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        log.warning("%s cannot be kept, it is made again in every trial: %s", path, error)
        return False
    return True


@torch.inference_mode()
def encode(
    model: nn.Module,
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
        pixels = clip.float().div_(255).sub_(MEAN).div_(STD)
        with mixed_precision(precision, device):
            made = model.encode_video(pixels, update_statistics=False)[feature]  # type: ignore[operator]
        found.append(made.float().cpu().numpy())
    model.train(was_training)
    return np.concatenate([made for part in ranks.gather_objects(found) for made in part])


class Encoder:
    """One feature of the clips of every condition, for a trained model.

    Conditions whose tested frames are equal byte for byte share one forward. A model that encodes
    every frame alone (``framewise``) encodes each frame once: conditions that show the frames of
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
        model: nn.Module,
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
        if getattr(model, "framewise", False):
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
        model: Any,
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
                made = self.model.encode_frames(images.float().div_(255).sub_(MEAN).div_(STD))
            found.append(made.cpu())
        return torch.cat(found)

    def _parts(self, clips: int) -> int:
        return math.ceil(clips / self.bench.settings.batch)


@dataclass(frozen=True)
class Evaluation:
    """What testing one model gives.

    Attributes:
        scores: One row per condition.
        outcomes: Per clip.
        forwards: Clips forwarded and avoided; where cells are tested on few clips, `thinned`
            counts the forwards that all clips would have cost beyond that.
        probabilities: See ``TrialRecord``.
    """

    scores: tuple[Score, ...]
    outcomes: Outcomes
    forwards: Mapping[str, int]
    probabilities: Mapping[str, Mapping[str, float]]


def evaluate(
    model: nn.Module,
    bench: TestBench,
    rows: Sequence[Condition],
    *,
    precision: str,
    device: torch.device,
) -> Evaluation:
    """Classify every clip under every condition."""
    scores: list[Score] = []
    predictions: dict[str, np.ndarray] = {}
    confidence: dict[str, np.ndarray] = {}
    probabilities: dict[str, Mapping[str, float]] = {}
    labels = {c.clips: bench.prepared.evaluation[c.clips].labels for c in rows}
    encoder = Encoder(model, bench, feature="logits", precision=precision, device=device)
    thinned = 0
    tested_rows: dict[str, np.ndarray] = {}
    clean: np.ndarray | None = None
    if ranks.count() > 1:  # each rank makes some of the stored clips, then all find them there
        for condition in rows[ranks.index() :: ranks.count()]:
            bench.clips(condition)
        ranks.gather_objects(None)
    for number, condition in enumerate(rows, start=1):
        heartbeat.beat(f"testing {number}/{len(rows)}")
        logits, pixels = encoder(condition)
        if condition.name == "clean":
            clean = logits
        found = predictions[condition.name] = logits.argmax(1).astype(np.int16)
        confidence[condition.name] = _confidence(logits)
        truth, before = labels[condition.clips], clean
        chosen = bench.rows(condition)
        if chosen is not None:
            tested_rows[condition.name] = chosen
            thinned += len(truth) - len(chosen)
            truth, before = truth[chosen], None if clean is None else clean[chosen]
        if condition.clips != "clean":
            before = None
        probabilities[condition.name] = _probabilities(logits, truth, before)
        correct = found == truth
        scores.append(
            Score(
                condition=condition.name,
                category=condition.category,
                accuracy=100.0 * float(correct.mean()),
                clips=len(found),
                level=level(condition, bench),
                pixels=pixels,
            )
        )
    sets = list(dict.fromkeys(c.clips for c in rows))
    outcomes = Outcomes(
        conditions=tuple(c.name for c in rows),
        clips={c.name: c.clips for c in rows},
        ids={name: tuple(bench.prepared.evaluation[name].ids) for name in sets},
        labels={name: labels[name] for name in sets},
        predictions=predictions,
        rows=tested_rows,
        confidence=confidence,
    )
    forwards = encoder.forwards | ({"thinned": thinned} if tested_rows else {})
    return Evaluation(tuple(scores), outcomes, forwards, probabilities)


def _confidence(logits: np.ndarray) -> np.ndarray:
    """uint8 ``(N,)``: largest class probability in steps of 1/255; 0 where a model diverged."""
    largest = torch.from_numpy(logits).softmax(1).amax(1)
    return largest.nan_to_num(0.0).mul(255).round().to(torch.uint8).numpy()


def _probabilities(
    logits: np.ndarray, labels: np.ndarray, clean: np.ndarray | None
) -> dict[str, float]:
    """Calibration of a condition and how far its class rankings are from the clean ones.

    Args:
        logits: ``(N, V)``.
        labels: ``(N,)``.
        clean: Logits of the same clips as they are; None for another clip set.
    """
    chance = torch.from_numpy(logits).double().softmax(1).numpy()
    found = asdict(metrics.calibration(chance, labels))
    if clean is not None and np.isfinite(logits).all() and np.isfinite(clean).all():
        pair = np.stack([clean, logits], axis=1)
        for kind in ("zipf", "top5"):
            found[kind] = metrics.rank_distance(pair, kind=kind, against="first")  # type: ignore[arg-type]
    return {name: round(value, 6) for name, value in found.items()}


def estimates(rows: Sequence[Condition], outcomes: Outcomes) -> dict[str, dict[str, float]]:
    """What thinned tests say about the grid, its categories and perturbations; {} at `full`.

    Order-destroying controls are no part of the grid.
    """
    cells = [c for c in rows if c.name in outcomes.rows and c.perturbation not in TEMPORAL_CHECKS]
    if not cells:
        return {}
    groups: dict[str, list[str]] = {"grid": []}
    for cell in cells:
        groups["grid"].append(cell.name)
        groups.setdefault(f"category/{cell.category}", []).append(cell.name)
    for cell in cells:
        groups.setdefault(f"perturbation/{cell.perturbation}", []).append(cell.name)
    found = estimate(
        {c.name: outcomes.correct(c.name) for c in cells},
        outcomes.rows,
        outcomes.correct("clean"),
        groups,
    )
    return {
        name: {
            "mean": e.mean, "low": e.low, "high": e.high, "cells": e.cells, "pairs": e.pairs,
        }
        for name, e in found.items()
    }  # fmt: skip


def level(condition: Condition, bench: TestBench) -> str:
    """The constants of a severity as they were applied to these frames, for people."""
    spec = PERTURBATIONS.get(condition.perturbation)
    if spec is None or not spec.has_severity:
        return ""
    stored = bench.prepared.evaluation[condition.clips].frames.shape
    return spec.describe(
        condition.severity,
        bench.ladder,
        short_side_px=min(stored[-2:]),
        frames=stored[1] if spec.temporal else bench.frames,
    )


def runnable(rows: Sequence[Condition]) -> tuple[list[Condition], dict[str, str]]:
    """Conditions that can run on this machine, and why the others cannot (a missing codec)."""
    kept, skipped = [], {}
    for condition in rows:
        reason = unavailable(condition.perturbation) if condition.perturbation else None
        if reason is None:
            kept.append(condition)
        else:
            skipped[condition.name] = reason
    return kept, skipped

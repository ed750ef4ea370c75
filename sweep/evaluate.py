"""Testing a trained model: clean, under data shift and under every perturbation.

Perturbed clips depend on the data and the perturbation alone, not on the trial: they are made
once per node, kept as memory-mapped uint8 and shared by all trials.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from filelock import FileLock
from torch import nn

from perturb.apply import apply, frame_map, unavailable
from perturb.catalogue import PERTURBATIONS
from sweep.batches import MEAN, STD, uniform_center
from sweep.conditions import Condition, ladder
from sweep.config import CODE_EPOCH, EvaluateSettings
from sweep.learner import mixed_precision
from sweep.record import Outcomes, Score

if TYPE_CHECKING:
    from sweep.data.prepare import ClipSet, Prepared

#: Perturbed clips above this many bytes per condition are made on the fly, not stored.
MAX_STORED_BYTES = 512 * 2**20
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
    """Frames of every condition for a model of T frames; one per trial, files shared per node."""

    def __init__(self, prepared: Prepared, settings: EvaluateSettings, *, frames: int) -> None:
        self.prepared = prepared
        self.settings = settings
        self.frames = frames
        self.ladder = ladder(settings)

    def clips(self, condition: Condition) -> TestClips:
        """Frames of one condition, from the store if it is there.

        Concurrent trials wait for the one that makes them.
        """
        clip_set = self.prepared.evaluation[condition.clips]
        clean = not condition.perturbation
        size = len(clip_set.ids) * self.frames * int(np.prod(clip_set.frames.shape[2:]))
        if not self.settings.keep_perturbed or size > MAX_STORED_BYTES:
            frames = select(clip_set, self.frames) if clean else self._perturb(clip_set, condition)
            return TestClips(frames, _hash(frames))
        folder = self.prepared.cache_dir / "conditions" / self._key(condition)
        name = condition.name.replace("/", "-")
        path, note = folder / f"{name}.npy", folder / f"{name}.json"
        if not note.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / f"{name}.lock"):
                if not note.is_file():
                    frames = (
                        select(clip_set, self.frames)
                        if clean
                        else self._perturb(clip_set, condition)
                    )
                    _store(path, note, frames)
        return TestClips(np.load(path, mmap_mode="r"), json.loads(note.read_text())["pixels"])

    def _key(self, condition: Condition) -> str:
        content = [
            self.prepared.fingerprint, condition.name, self.ladder, self.settings.seed,
            self.frames, CODE_EPOCH,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def _perturb(self, clip_set: ClipSet, condition: Condition) -> np.ndarray:
        spec = PERTURBATIONS[condition.perturbation]
        stored = clip_set.frames.shape[1]
        picks = uniform_center(stored, self.frames)
        chunks = []
        for start in range(0, len(clip_set.ids), CHUNK):
            ids = clip_set.ids[start : start + CHUNK]
            frames = clip_set.frames[start : start + CHUNK]
            options: Any = {"clip_ids": ids, "seed": self.settings.seed, "ladder": self.ladder}
            if spec.temporal:
                # maps are built on the stored time line, then the model's frames are picked
                index = frame_map(condition.perturbation, condition.severity, stored, **options)
                rows = np.arange(len(ids))[:, None]
                chunks.append(frames[rows, index.numpy()[:, picks]])
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


def _store(path: Path, note: Path, frames: np.ndarray) -> None:
    """The note is written last: its presence means that the array is whole."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.npy")
    np.save(temporary, frames)
    temporary.replace(path)
    text = json.dumps({"pixels": _hash(frames), "shape": list(frames.shape)})
    temporary = note.with_name(f".{note.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(note)


@torch.inference_mode()
def predict(
    model: nn.Module, frames: np.ndarray, *, batch: int, precision: str, device: torch.device
) -> np.ndarray:
    """int16 ``(N,)`` predicted classes; the model is left in the mode it was in."""
    was_training = model.training
    model.eval()
    found = []
    for start in range(0, len(frames), batch):
        clip = torch.from_numpy(np.array(frames[start : start + batch])).to(device)
        pixels = clip.float().div_(255).sub_(MEAN).div_(STD)
        with mixed_precision(precision, device):
            logits = model.encode_video(pixels, update_statistics=False)["logits"]  # type: ignore[operator]
        found.append(logits.argmax(1).to(torch.int16).cpu().numpy())
    model.train(was_training)
    return np.concatenate(found)


def evaluate(
    model: nn.Module,
    bench: TestBench,
    rows: Sequence[Condition],
    *,
    precision: str,
    device: torch.device,
) -> tuple[list[Score], Outcomes, Mapping[str, int]]:
    """Scores, per-clip outcomes and the number of clips forwarded and avoided.

    Conditions whose tested frames are equal byte for byte share one forward.
    """
    scores: list[Score] = []
    predictions: dict[str, np.ndarray] = {}
    by_pixels: dict[str, np.ndarray] = {}
    labels = {c.clips: bench.prepared.evaluation[c.clips].labels for c in rows}
    forwards = {"evaluate": 0, "avoided": 0}
    for condition in rows:
        tested = bench.clips(condition)
        found = by_pixels.get(tested.pixels)
        if found is None:
            found = predict(
                model,
                tested.frames,
                batch=bench.settings.batch,
                precision=precision,
                device=device,
            )
            by_pixels[tested.pixels] = found
            forwards["evaluate"] += len(found)
        else:
            forwards["avoided"] += len(found)
        predictions[condition.name] = found
        correct = found == labels[condition.clips]
        scores.append(
            Score(
                condition=condition.name,
                category=condition.category,
                accuracy=100.0 * float(correct.mean()),
                clips=len(found),
                level=_level(condition, bench),
                pixels=tested.pixels,
            )
        )
    sets = list(dict.fromkeys(c.clips for c in rows))
    outcomes = Outcomes(
        conditions=tuple(c.name for c in rows),
        clips={c.name: c.clips for c in rows},
        ids={name: tuple(bench.prepared.evaluation[name].ids) for name in sets},
        labels={name: labels[name] for name in sets},
        predictions=predictions,
    )
    return scores, outcomes, forwards


def _level(condition: Condition, bench: TestBench) -> str:
    """The constants of a severity as they were applied to these frames, for people."""
    spec = PERTURBATIONS.get(condition.perturbation)
    if spec is None or not spec.has_severity:
        return ""
    stored = bench.prepared.evaluation[condition.clips].frames.shape
    level = spec.arguments(
        condition.severity,
        bench.ladder,
        short_side_px=min(stored[-2:]),
        frames=stored[1] if spec.temporal else bench.frames,
    )
    return ", ".join(f"{name} {value:g}" for name, value in level.items())


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

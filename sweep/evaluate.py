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
from sweep.conditions import TEMPORAL_CHECKS, Condition, conditions, ladder, table
from sweep.config import CODE_EPOCH, EvaluateSettings
from sweep.fidelity import estimate
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
    """Frames of every condition for a model of T frames; one per trial, files shared per node.

    Attributes:
        table: Which clips each perturbation cell is tested on; None = all.
    """

    def __init__(self, prepared: Prepared, settings: EvaluateSettings, *, frames: int) -> None:
        self.prepared = prepared
        self.settings = settings
        self.frames = frames
        self.ladder = ladder(settings)
        shifts = [name for name in prepared.evaluation if name != "clean"]
        every = conditions(settings, shifts)
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
        content: list[Any] = [
            self.prepared.fingerprint, condition.name, self.ladder, self.settings.seed,
            self.frames, CODE_EPOCH,
        ]  # fmt: skip
        rows = self.rows(condition)
        if rows is not None:
            content.append(rows.tolist())
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def _perturb(self, clip_set: ClipSet, condition: Condition) -> np.ndarray:
        spec = PERTURBATIONS[condition.perturbation]
        stored = clip_set.frames.shape[1]
        picks = uniform_center(stored, self.frames)
        chosen = self.rows(condition)
        chunks = []
        for start in range(0, len(clip_set.ids) if chosen is None else len(chosen), CHUNK):
            part = slice(start, start + CHUNK) if chosen is None else chosen[start : start + CHUNK]
            ids = np.asarray(clip_set.ids, dtype=object)[part].tolist()
            frames = clip_set.frames[part]
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
def classify(
    model: nn.Module, frames: np.ndarray, *, batch: int, precision: str, device: torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """int16 ``(N,)`` predicted classes and uint8 ``(N,)`` confidences in steps of 1/255.

    The model is left in the mode it was in.
    """
    was_training = model.training
    model.eval()
    found, certain = [], []
    for start in range(0, len(frames), batch):
        clip = torch.from_numpy(np.array(frames[start : start + batch])).to(device)
        pixels = clip.float().div_(255).sub_(MEAN).div_(STD)
        with mixed_precision(precision, device):
            logits = model.encode_video(pixels, update_statistics=False)["logits"]  # type: ignore[operator]
        found.append(logits.argmax(1).to(torch.int16).cpu().numpy())
        confidence = logits.float().softmax(1).amax(1)
        # a model that diverged has none: it counts as 0
        scaled = confidence.nan_to_num(0.0).mul(255).round()
        certain.append(scaled.to(torch.uint8).cpu().numpy())
    model.train(was_training)
    return np.concatenate(found), np.concatenate(certain)


def predict(
    model: nn.Module, frames: np.ndarray, *, batch: int, precision: str, device: torch.device
) -> np.ndarray:
    """int16 ``(N,)`` predicted classes; the model is left in the mode it was in."""
    return classify(model, frames, batch=batch, precision=precision, device=device)[0]


def evaluate(
    model: nn.Module,
    bench: TestBench,
    rows: Sequence[Condition],
    *,
    precision: str,
    device: torch.device,
) -> tuple[list[Score], Outcomes, Mapping[str, int]]:
    """Scores, per-clip outcomes and the number of clips forwarded and avoided.

    Conditions whose tested frames are equal byte for byte share one forward. Where cells are
    tested on few clips, `thinned` counts the forwards that all clips would have cost beyond that.
    """
    scores: list[Score] = []
    predictions: dict[str, np.ndarray] = {}
    confidence: dict[str, np.ndarray] = {}
    by_pixels: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    labels = {c.clips: bench.prepared.evaluation[c.clips].labels for c in rows}
    forwards = {"evaluate": 0, "avoided": 0}
    tested_rows: dict[str, np.ndarray] = {}
    for condition in rows:
        tested = bench.clips(condition)
        made = by_pixels.get(tested.pixels)
        if made is None:
            made = classify(
                model,
                tested.frames,
                batch=bench.settings.batch,
                precision=precision,
                device=device,
            )
            by_pixels[tested.pixels] = made
            forwards["evaluate"] += len(made[0])
        else:
            forwards["avoided"] += len(made[0])
        found, confidence[condition.name] = made
        predictions[condition.name] = found
        truth = labels[condition.clips]
        chosen = bench.rows(condition)
        if chosen is not None:
            tested_rows[condition.name] = chosen
            forwards["thinned"] = forwards.get("thinned", 0) + len(truth) - len(chosen)
            truth = truth[chosen]
        correct = found == truth
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
        rows=tested_rows,
        confidence=confidence,
    )
    return scores, outcomes, forwards


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


def _level(condition: Condition, bench: TestBench) -> str:
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

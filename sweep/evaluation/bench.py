"""The clips of every test: clean, shifted, perturbed; made once per node and shared.

Perturbed clips depend on the data and the perturbation alone, not on the trial: they are made
once per node, kept as memory-mapped uint8 and shared by all trials.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from perturb.apply import apply, frame_map, unavailable
from perturb.catalogue import PERTURBATIONS
from sweep.data.sampling import uniform_center
from sweep.data.sources import StoredClips
from sweep.evaluation.conditions import MAX_STORED_BYTES
from sweep.runtime import heartbeat, ranks
from sweep.settings.trial import CODE_EPOCH

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sweep.data.prepare import ClipSet, Prepared
    from sweep.evaluation.conditions import TestPlan
    from sweep.records.condition import Condition


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

    Args:
        prepared: The data set.
        plan: What is tested.
        frames: T.
        held: int64, rows of the sets of the plan that ``prepared`` holds; None = all.
    """

    def __init__(
        self, prepared: Prepared, plan: TestPlan, *, frames: int, held: np.ndarray | None = None
    ) -> None:
        self.prepared = prepared
        self.plan = plan
        self.settings = plan.settings
        self.frames = frames
        self.held = held

    def rows(self, condition: Condition) -> np.ndarray | None:
        """int64 rows of the clip set that the condition is tested on; None = all."""
        table = self.plan.table
        chosen = None if table is None else table.rows.get(condition.name)
        if chosen is None or self.held is None:
            return chosen
        return np.flatnonzero(np.isin(self.held, chosen))

    def part(self, name: str, rows: np.ndarray, frames: np.ndarray) -> TestBench:
        """The same tests of some clips of a set, whose frames are in memory.

        Args:
            name: Of the set.
            rows: int64 ``(n,)``, which clips.
            frames: uint8 ``(n, S, C, H, W)``, all frames of their time lines.
        """
        clips = replace(self.prepared.evaluation[name].part(rows), source=StoredClips(frames))
        one = replace(self.prepared, evaluation=MappingProxyType({name: clips}))
        return TestBench(one, self.plan, frames=self.frames, held=rows)

    def clips(self, condition: Condition) -> TestClips:
        """Frames of one condition, from the store if it is there.

        Concurrent trials wait for the one that makes them.
        """
        clip_set = self.prepared.evaluation[condition.clips]
        clean = not condition.perturbation
        rows = self.rows(condition)
        tested = len(clip_set.ids) if rows is None else len(rows)
        size = tested * self.frames * int(np.prod(clip_set.source.shape[2:]))
        is_kept = self.settings.keep_perturbed and self.held is None
        if not is_kept or size > MAX_STORED_BYTES:
            frames = select(clip_set, self.frames) if clean else self._perturb(clip_set, condition)
            return TestClips(frames, hash_of(frames))
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
                        return TestClips(frames, hash_of(frames))
        return TestClips(np.load(path, mmap_mode="r"), json.loads(note.read_text())["pixels"])

    def _key(self, condition: Condition) -> str:
        content: list[Any] = [
            self.prepared.fingerprint, condition.name, self.plan.ladder, self.settings.seed,
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
        stored = clip_set.source.shape[1]
        picks = uniform_center(stored, self.frames)
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
            ladder=self.plan.ladder,
        )
        return index.numpy()[:, picks]

    def _perturb(self, clip_set: ClipSet, condition: Condition) -> np.ndarray:
        stored = clip_set.source.shape[1]
        picks = uniform_center(stored, self.frames)
        chosen = self.rows(condition)
        shown = self.shown(condition)
        rows = np.arange(len(clip_set.ids)) if chosen is None else chosen
        chunks = []
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK]
            heartbeat.beat()
            ids = [clip_set.ids[row] for row in part]
            options: Any = {"clip_ids": ids, "seed": self.settings.seed, "ladder": self.plan.ladder}
            if shown is not None:
                chunks.append(clip_set.source.frames(part, shown[start : start + CHUNK]))
            else:
                clip = torch.from_numpy(clip_set.source.frames(part, picks))
                made = apply(clip, condition.perturbation, condition.severity, **options)
                chunks.append(made.numpy())
        return np.concatenate(chunks)


def select(clip_set: ClipSet, frames: int) -> np.ndarray:
    """uint8 ``(N, T, C, H, W)``: the model's frames, uniform over the stored ones."""
    picks = uniform_center(clip_set.source.shape[1], frames)
    return clip_set.source.frames(np.arange(len(clip_set.ids)), picks)


def hash_of(frames: np.ndarray) -> str:
    """Of the bytes, sixteen hex digits."""
    return hashlib.blake2b(np.ascontiguousarray(frames).data, digest_size=8).hexdigest()


def _store(path: Path, note: Path, frames: np.ndarray) -> bool:
    """Whether there was room. The note is written last: it means that the array is whole."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.npy")
    try:
        np.save(temporary, frames)
        temporary.replace(path)
        text = json.dumps({"pixels": hash_of(frames), "shape": list(frames.shape)})
        temporary = note.with_name(f".{note.name}.{os.getpid()}")
        temporary.write_text(text)
        temporary.replace(note)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        log.warning("%s cannot be kept, it is made again in every trial: %s", path, error)
        return False
    return True


def level(condition: Condition, bench: TestBench) -> str:
    """The constants of a severity as they were applied to these frames, for people."""
    spec = PERTURBATIONS.get(condition.perturbation)
    if spec is None or not spec.has_severity:
        return ""
    stored = bench.prepared.evaluation[condition.clips].source.shape
    return spec.describe(
        condition.severity,
        bench.plan.ladder,
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


def make_together(bench: TestBench, rows: Sequence[Condition]) -> None:
    """Of several ranks each makes some of the stored clips, then all find them there."""
    if ranks.count() > 1:
        for condition in rows[ranks.index() :: ranks.count()]:
            bench.clips(condition)
        ranks.gather_objects(None)

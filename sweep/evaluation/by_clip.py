"""Tests of clips that are decoded on demand: a few clips at a time, under all conditions at once.

Condition by condition, as stored clips are tested, every clip would be decoded once per condition.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sweep.data.ahead import HungError, loaders, read_ahead
from sweep.data.decoding.errors import DecodeError
from sweep.evaluation.forward import FrameFeatures, encode_condition, joined
from sweep.runtime import heartbeat, ranks

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from torch import Tensor

    from sweep.data.prepare import ClipSet
    from sweep.data.sources import ClipSource
    from sweep.evaluation.bench import TestBench
    from sweep.evaluation.forward import Features, Forward
    from sweep.records.condition import Condition

#: Clips that are in memory at a time at most, and bytes of them.
CLIPS, BYTES = 32, 64 * 2**20


@dataclass
class Found:
    """What a model says of a set.

    Attributes:
        conditions: Name -> features of its clips, and the hash of their pixels.
        forwards: As ``Encoders.forwards``.
    """

    conditions: dict[str, tuple[Features, str]] = field(default_factory=dict)
    forwards: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Whole:
    """All frames of some clips; what a process that reads ahead makes."""

    source: ClipSource

    def __call__(self, rows: np.ndarray) -> dict[str, Tensor]:
        every = np.arange(self.source.shape[1])
        return {"frames": torch.from_numpy(self.source.frames(rows, every))}


def test_by_clip(
    bench: TestBench,
    forward: Forward,
    rows: Sequence[Condition],
    features: Collection[str],
    *,
    workers: int | None,
) -> Found:
    """Features of all clips of one set under all of its conditions; each clip is decoded once.

    Every rank decodes and encodes a part of the clips. Within the clips at hand, conditions of
    equal pixels share a forward.

    Args:
        bench: The test clips.
        forward: The model.
        rows: Conditions of one set.
        features: What is kept of the model.
        workers: See ``ahead.loaders``.

    Raises:
        DecodeError: A test clip can no longer be read: which clips are tested is fixed before.
    """
    clip_set = bench.prepared.evaluation[rows[0].clips]
    parts = [_Part() for _ in rows]
    counts: dict[str, int] = {"decoded": 0}
    mine = ranks.part(len(clip_set.ids))
    chunks = _chunks(mine, clip_set.source.shape[1:])
    made = read_ahead(_Whole(clip_set.source), chunks, clip_set.source, workers=loaders(workers))
    for chunk, clips in zip(chunks, _read(made, clip_set), strict=True):
        heartbeat.beat(f"testing clip {chunk[-1] + 1 - mine.start}/{mine.stop - mine.start}")
        counts["decoded"] += len(chunk)
        part = bench.part(rows[0].clips, chunk, clips["frames"].numpy())
        for kind, count in _test(part, forward, rows, features, parts).items():
            counts[kind] = counts.get(kind, 0) + count
    return _gathered(rows, parts, counts)


class _Part:
    """What this rank knows of a condition."""

    def __init__(self) -> None:
        self.features: list[Features] = []
        self.digest = hashlib.blake2b(digest_size=8)


def _test(
    part: TestBench,
    forward: Forward,
    rows: Sequence[Condition],
    features: Collection[str],
    parts: Sequence[_Part],
) -> dict[str, int]:
    """Encode the clips at hand under every condition; how the features came about."""
    frame_features = FrameFeatures(forward, part) if forward.is_framewise else None
    known: dict[str, Features] = {}
    counts: dict[str, int] = {}
    for row, own in zip(rows, parts, strict=True):
        chosen = part.rows(row)
        if chosen is not None and len(chosen) == 0:
            continue
        tested = part.clips(row)
        own.digest.update(np.ascontiguousarray(tested.frames).data)
        if tested.pixels in known:
            fresh = {"avoided": len(tested.frames)}
        else:
            known[tested.pixels], fresh = encode_condition(
                forward, part, frame_features, row, tested.frames, features, shared=False
            )
        own.features.append(known[tested.pixels])
        for kind, count in fresh.items():
            counts[kind] = counts.get(kind, 0) + count
    return counts


def _gathered(rows: Sequence[Condition], parts: Sequence[_Part], counts: dict[str, int]) -> Found:
    """Of all ranks, in the order of the clips."""
    told: list[Any] = ranks.gather_objects(
        ([(part.features, part.digest.hexdigest()) for part in parts], counts)
    )
    found = Found()
    for number, row in enumerate(rows):
        features = [made for (rank, _) in told for made in rank[number][0]]
        pixels = [rank[number][1] for (rank, _) in told]
        # one rank has the hash that stored clips have; the bytes of several are on no one's side
        whole = pixels[0] if len(pixels) == 1 else _hash("".join(pixels))
        found.conditions[row.name] = joined(features), whole
    for _, own in told:
        for kind, count in own.items():
            found.forwards[kind] = found.forwards.get(kind, 0) + count
    return found


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _chunks(rows: slice, shape: Sequence[int]) -> list[np.ndarray]:
    size = max(1, min(CLIPS, BYTES // int(np.prod(shape))))
    return [np.arange(s, min(s + size, rows.stop)) for s in range(rows.start, rows.stop, size)]


def _read(made: Any, clip_set: ClipSet) -> Any:
    """The clips in order; one that hangs is named."""
    try:
        yield from made
    except HungError as error:
        name = "" if error.row is None else f"{clip_set.name}/{clip_set.ids[error.row]}: "
        raise DecodeError(
            f"{name}a test clip can no longer be read ({error}); the test set was fixed when the "
            "data was indexed: mend the file, or index again in a new sweep"
        ) from error

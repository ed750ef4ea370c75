"""Per-clip outcomes of a trial, the material of paired tests."""

from __future__ import annotations

import base64
import json
import os
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
from sweep.records.patterns import RECALLS


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Per-clip outcomes, the material of paired tests.

    Attributes:
        conditions: Names, in the order of the rows.
        clips: For each condition the name of its clip set (`clean`, `appearance`, ...).
        ids: Clip set -> clip ids.
        labels: Clip set -> int64 labels.
        predictions: Condition -> int16 predicted classes, in the order of ``ids``.
        rows: Condition -> which of the ``ids`` were tested, int64; absent = all of them.
        confidence: Condition -> largest class probability in steps of 1/255, uint8, in the order
            of the predictions; empty if it was not kept. The rounding (at most 1/510) concerns
            calibration alone, predictions are exact.
        ranks: Retrieval: `t2v:<condition>` and `v2t:<condition>` -> rank from 0 of what belongs to
            the caption (or video) of every clip, int32. ``labels`` then are places in the gallery
            and ``predictions`` the places of the videos that first captions find first.
        queries: Retrieval with every caption of a clip: clip set -> clip of each caption, int64.
            Ranks of text to video are then per caption.

    Conditions may be named with a recall before them, as in `t2v_R5:clean`.
    """

    conditions: tuple[str, ...]
    clips: Mapping[str, str]
    ids: Mapping[str, tuple[str, ...]]
    labels: Mapping[str, np.ndarray]
    predictions: Mapping[str, np.ndarray]
    rows: Mapping[str, np.ndarray] = field(default_factory=dict)
    confidence: Mapping[str, np.ndarray] = field(default_factory=dict)
    ranks: Mapping[str, np.ndarray] = field(default_factory=dict)
    queries: Mapping[str, np.ndarray] = field(default_factory=dict)

    def clip_set(self, condition: str) -> str:
        """Clip set of a condition, which may be named with a recall."""
        return self.clips[condition.rpartition(":")[2]]

    def holds(self, condition: str) -> bool:
        """Whether there are outcomes of a condition, by the recall that may stand before it."""
        metric, _, name = condition.rpartition(":")
        return f"{metric[:3]}:{name}" in self.ranks if metric else name in self.predictions

    def tested(self, condition: str) -> np.ndarray:
        """int64 rows of the clip set that were tested."""
        import numpy as np

        every = np.arange(len(self.labels[self.clips[condition]]))
        return self.rows.get(condition, every)

    def correct(self, condition: str) -> np.ndarray:
        """Bool per tested clip; of retrieval, whether its rank is below the cut-off.

        Where every caption is a query, a clip has the captions that found it over the mean number
        of captions per clip, float64: the mean over clips is the recall over captions.
        """
        import numpy as np

        metric, _, name = condition.rpartition(":")
        if self.ranks:
            direction, _, cut = (metric or RECALLS[0]).partition("_R")
            found = self.ranks[f"{direction}:{name}"] < int(cut)
            owners = self.queries.get(self.clips[name]) if direction == "t2v" else None
            if owners is None:
                return found
            clips = len(self.labels[self.clips[name]])
            return np.bincount(owners, found, clips) * (clips / len(owners))
        labels = self.labels[self.clips[condition]]
        if condition in self.rows:
            labels = labels[self.rows[condition]]
        return self.predictions[condition] == labels

    def pack(self) -> str:
        """Base64 text small enough to travel in a report (2 bytes per clip, compressed)."""
        content = {
            "conditions": self.conditions,
            "clips": dict(self.clips),
            "ids": {name: list(ids) for name, ids in self.ids.items()},
            "labels": {name: array.tolist() for name, array in self.labels.items()},
            "predictions": {name: array.tolist() for name, array in self.predictions.items()},
            "rows": {name: array.tolist() for name, array in self.rows.items()},
            "confidence": {name: array.tolist() for name, array in self.confidence.items()},
            "ranks": {name: array.tolist() for name, array in self.ranks.items()},
            "queries": {name: array.tolist() for name, array in self.queries.items()},
        }
        return base64.b64encode(zlib.compress(json.dumps(content).encode(), 6)).decode()

    @classmethod
    def unpack(cls, text: str) -> Outcomes:
        """Inverse of ``pack``."""
        import numpy as np

        content = json.loads(zlib.decompress(base64.b64decode(text)))
        return cls(
            conditions=tuple(content["conditions"]),
            clips=content["clips"],
            ids={name: tuple(ids) for name, ids in content["ids"].items()},
            labels={name: np.asarray(v, dtype=np.int64) for name, v in content["labels"].items()},
            predictions={name: _places(v) for name, v in content["predictions"].items()},
            rows={
                name: np.asarray(v, dtype=np.int64) for name, v in content.get("rows", {}).items()
            },
            confidence={
                name: np.asarray(v, dtype=np.uint8)
                for name, v in content.get("confidence", {}).items()
            },
            ranks={
                name: np.asarray(v, dtype=np.int32) for name, v in content.get("ranks", {}).items()
            },
            queries={
                name: np.asarray(v, dtype=np.int64)
                for name, v in content.get("queries", {}).items()
            },
        )

    def save(self, path: Path) -> None:
        """Write `.npz` without pickle, atomically."""
        import numpy as np

        arrays: dict[str, Any] = {
            "conditions": np.asarray(self.conditions, dtype=np.str_),
            "clips": np.asarray([self.clips[c] for c in self.conditions], dtype=np.str_),
        }
        for name, ids in self.ids.items():
            arrays[f"ids/{name}"] = np.asarray(ids, dtype=np.str_)
            arrays[f"labels/{name}"] = np.asarray(self.labels[name], dtype=np.int64)
        for name, array in self.predictions.items():
            arrays[f"predictions/{name}"] = _places(array)
        for name, array in self.rows.items():
            arrays[f"rows/{name}"] = np.asarray(array, dtype=np.int64)
        for name, array in self.confidence.items():
            arrays[f"confidence/{name}"] = np.asarray(array, dtype=np.uint8)
        for name, array in self.ranks.items():
            arrays[f"ranks/{name}"] = np.asarray(array, dtype=np.int32)
        for name, array in self.queries.items():
            arrays[f"queries/{name}"] = np.asarray(array, dtype=np.int64)
        temporary = path.with_name(f".{path.stem}.{os.getpid()}.npz")
        np.savez_compressed(temporary, **arrays)
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> Outcomes:
        """Read what ``save`` wrote."""
        import numpy as np

        with np.load(path, allow_pickle=False) as arrays:
            conditions = tuple(str(c) for c in arrays["conditions"])
            sets = [name.removeprefix("ids/") for name in arrays.files if name.startswith("ids/")]
            return cls(
                conditions=conditions,
                clips=dict(zip(conditions, map(str, arrays["clips"]), strict=True)),
                ids={name: tuple(map(str, arrays[f"ids/{name}"])) for name in sets},
                labels={name: arrays[f"labels/{name}"] for name in sets},
                predictions={name: arrays[f"predictions/{name}"] for name in conditions},
                rows=_members(arrays, "rows"),
                confidence=_members(arrays, "confidence"),
                ranks=_members(arrays, "ranks"),
                queries=_members(arrays, "queries"),
            )


def _places(values: Any) -> np.ndarray:
    """int16, or int32 for a gallery that is too large for it."""
    import numpy as np

    array = np.asarray(values)
    wide = array.size and array.max() > np.iinfo(np.int16).max
    return array.astype(np.int32 if wide else np.int16)


def _members(arrays: Any, prefix: str) -> dict[str, np.ndarray]:
    """Arrays of an `.npz` below a prefix, by the rest of their name."""
    start = f"{prefix}/"
    return {n.removeprefix(start): arrays[n] for n in arrays.files if n.startswith(start)}

"""Per-clip outcomes of a trial, the material of paired tests."""

from __future__ import annotations

import base64
import json
import os
import zlib
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from sweep.records import older

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

#: How arrays are stored, by the name of their family; of other ones as they are given.
DTYPES: Mapping[str, str] = MappingProxyType(
    {
        "rows": "int64",
        "labels": "int64",
        "queries": "int64",
        "confidence": "uint8",
        "t2v_rank": "int32",
        "v2t_rank": "int32",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Per-clip outcomes, the material of paired tests.

    Attributes:
        ids: Clip set -> clip ids.
        clip_sets: Condition -> its clip set (`clean`, `appearance`, ...), in the order of the rows.
        values: Metric -> condition -> bool or float ``(N,)`` of the tested clips, 0 to 1: 100 times
            their mean is the score. The first metric is the headline.
        rows: Condition -> which of the ``ids`` were tested, int64; absent = all of them.
        kept: What the task keeps besides: name -> clip set or condition -> array.
            `labels` (clip set): int64 classes, of retrieval places in the gallery.
            `predictions` (condition): places in the list of classes, or of the videos that first
            captions find first; int16 if that suffices, in the order of the tested clips.
            `confidence` (condition): largest class probability in steps of 1/255, uint8. The
            rounding (at most 1/510) concerns calibration alone, predictions are exact.
            `t2v_rank`, `v2t_rank` (condition): rank from 0 of what belongs to the caption (or
            video) of every clip, int32.
            `queries` (clip set): with every caption of a clip as a query, clip of each caption,
            int64. Ranks of text to video are then per caption.

    Conditions may be named with a metric before them, as in `t2v_R5:clean`.
    """

    ids: Mapping[str, tuple[str, ...]]
    clip_sets: Mapping[str, str]
    values: Mapping[str, Mapping[str, np.ndarray]]
    rows: Mapping[str, np.ndarray] = field(default_factory=dict)
    kept: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names, in the order of the rows."""
        return tuple(self.clip_sets)

    @property
    def labels(self) -> Mapping[str, np.ndarray]:
        """Clip set -> labels; empty for a task that keeps none."""
        return self.kept.get("labels", {})

    @property
    def predictions(self) -> Mapping[str, np.ndarray]:
        """Condition -> predicted places; empty for a task that keeps none."""
        return self.kept.get("predictions", {})

    @property
    def confidence(self) -> Mapping[str, np.ndarray]:
        """Condition -> rounded largest probabilities; empty for a task that keeps none."""
        return self.kept.get("confidence", {})

    def clip_set(self, condition: str) -> str:
        """Clip set of a condition, which may be named with a metric."""
        return self.clip_sets[condition.rpartition(":")[2]]

    def holds(self, condition: str) -> bool:
        """Whether there are outcomes of a condition, by the metric that may stand before it."""
        metric, _, name = condition.rpartition(":")
        return name in self.values.get(metric or next(iter(self.values)), {})

    def tested(self, condition: str) -> np.ndarray:
        """int64 rows of the clip set that were tested."""
        import numpy as np

        every = np.arange(len(self.ids[self.clip_sets[condition]]))
        return self.rows.get(condition, every)

    def correct(self, condition: str) -> np.ndarray:
        """Whether each tested clip was right, or as far as its metric says, 0 to 1."""
        metric, _, name = condition.rpartition(":")
        return self.values[metric or next(iter(self.values))][name]

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything by flat names: `rows/<condition>`, `values/<metric>/<condition>` ..."""
        import numpy as np

        found = {"clip_sets": np.asarray(list(self.clip_sets.items()), dtype=np.str_)}
        for name, ids in self.ids.items():
            found[f"ids/{name}"] = np.asarray(ids, dtype=np.str_)
        for metric, by_condition in self.values.items():
            for name, array in by_condition.items():
                found[f"values/{metric}/{name}"] = np.asarray(array)
        for name, array in self.rows.items():
            found[f"rows/{name}"] = np.asarray(array, dtype=DTYPES["rows"])
        for family, members in self.kept.items():
            for name, array in members.items():
                found[f"kept/{family}/{name}"] = _as_stored(family, array)
        return found

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Outcomes:
        """Inverse of ``arrays``."""
        return cls(
            ids={name: tuple(map(str, ids)) for name, ids in _members(arrays, "ids").items()},
            clip_sets={str(name): str(clips) for name, clips in arrays["clip_sets"]},
            values=_families(arrays, "values"),
            rows=_members(arrays, "rows"),
            kept=_families(arrays, "kept"),
        )

    def pack(self) -> str:
        """Base64 text small enough to travel in a report (2 bytes per clip, compressed)."""
        content = {n: [array.dtype.str, array.tolist()] for n, array in self.arrays().items()}
        return base64.b64encode(zlib.compress(json.dumps(content).encode(), 6)).decode()

    @classmethod
    def unpack(cls, text: str) -> Outcomes:
        """Inverse of ``pack``."""
        import numpy as np

        content = json.loads(zlib.decompress(base64.b64decode(text)))
        return cls.of_arrays({n: np.asarray(v, dtype=kind) for n, (kind, v) in content.items()})

    def save(self, path: Path) -> None:
        """Write `.npz` without pickle, atomically."""
        import numpy as np

        temporary = path.with_name(f".{path.stem}.{os.getpid()}.npz")
        np.savez_compressed(temporary, **self.arrays())  # type: ignore[arg-type]
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> Outcomes:
        """Read what ``save`` wrote, by this program or an earlier one.

        Raises:
            OSError: It cannot be read, or is not there.
            ValueError: It is damaged; names it.
        """
        import numpy as np

        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            return cls.of_arrays(arrays if "clip_sets" in arrays else older.outcomes(arrays))
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 - a cut archive raises of zipfile, zlib, struct
            raise ValueError(f"{path} is damaged: {type(error).__name__}: {error}") from None


def _as_stored(family: str, array: np.ndarray) -> np.ndarray:
    import numpy as np

    array = np.asarray(array)
    if family == "predictions":  # a gallery may be too large for int16
        wide = array.size and array.max() > np.iinfo(np.int16).max
        return array.astype(np.int32 if wide else np.int16)
    return array.astype(DTYPES.get(family, array.dtype))


def _members(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Arrays below a prefix, by the rest of their name."""
    start = f"{prefix}/"
    return {n.removeprefix(start): a for n, a in arrays.items() if n.startswith(start)}


def _families(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, dict[str, np.ndarray]]:
    found: dict[str, dict[str, np.ndarray]] = {}
    for path, array in _members(arrays, prefix).items():
        family, _, name = path.partition("/")
        found.setdefault(family, {})[name] = array
    return found

"""What one trial leaves behind: ``result.json``, ``history.jsonl`` and ``outcomes.npz`` of a cell.

A record is plain JSON, readable without torch or Ray. Everything in it is a function of the cell
(config, seed, data) except the section ``run`` (times, host, attempt), so that two executions of
one cell can be compared by ``comparable``. Scores stay disaggregated: one row per condition.
"""

from __future__ import annotations

import base64
import json
import math
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

SCHEMA_VERSION = 2
#: Cut-offs of the recalls that retrieval is scored by.
CUTS = (1, 5, 10)
#: Text to video and back.
DIRECTIONS = ("t2v", "v2t")
#: Recalls in percent, by the name that they have in records and before the colon of a pattern.
RECALLS = tuple(f"{direction}_R{cut}" for direction in DIRECTIONS for cut in CUTS)
Status = Literal["done", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Top-1 accuracy, or R@1 of retrieval, under one condition.

    Attributes:
        condition: `clean`, a shift (`appearance`), `<perturbation>/<severity>`,
            `text_<perturbation>/<severity>` where captions are perturbed, or
            `<perturbation>+<perturbation of captions>/<severity>`.
        category: `clean`, `shift`, the perturbation's category (`noise`, `temporal`, ...),
            `captions` or `joint`.
        accuracy: Percent, 0..100. Of retrieval: captions that find their video first.
        clips: Number of clips tested.
        level: The perturbation's constant(s) at this severity, as shown to people; "" for others.
        pixels: Hash of the tested uint8 frames, and of captions where they are perturbed: scores
            are comparable only where it is equal.
        retrieval: `t2v_R1`, `t2v_R5`, `t2v_R10`, `t2v_MedR`, `t2v_MnR` and the same from video to
            text (`v2t_`); recalls in percent, ranks from 1. Empty for classification.
    """

    condition: str
    category: str
    accuracy: float
    clips: int
    level: str = ""
    pixels: str = ""
    retrieval: Mapping[str, float] = field(default_factory=dict)

    def value(self, metric: str = "") -> float:
        """A recall by name, in percent; ``accuracy`` without one. NaN where there is none."""
        return self.retrieval.get(metric, math.nan) if metric else self.accuracy


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """One finished cell.

    Attributes:
        key: Cell key (content address of ``config``).
        label: For people, such as `all - pixel`.
        status: `done` or `failed`.
        seed: Training seed.
        losses: Auxiliary losses, sorted; without the primary.
        combiner: Name of the combiner.
        config: The resolved ``TrialConfig`` as plain data.
        scores: One row per condition; empty if failed.
        final: End of training: `cross_entropy` (mean of the last 5 % of the steps, labelled clips),
            `unified_loss`, `trained` (cross-entropy below `train.trained_below`), `steps`,
            `parameters`.
        weights: Mean slope dM/dl of each loss (primary included) over the last tenth of training:
            what the loss finally weighed, comparable across combiners.
        diversity: How diverse the auxiliary losses are: `set` (known before training), `start`,
            `half` and `end`; see ``sweep.diversity.measure``. Empty without auxiliary losses.
        forwards: Clips forwarded: `train`, `evaluate`; not forwarded: `avoided` (equal pixels) and,
            for models that encode frames alone, `gathered` (known frames in another order).
        data: Counts of the data set (`n_used` ...) and its fingerprint.
        fidelity: Where cells were tested on few clips: `name`, `clips_per_cell`, `cells` and the
            hash `table` of the (cell, clip) pairs; empty = every clip.
        estimates: Where cells were tested on few clips: `grid`, `category/<name>` and
            `perturbation/<name>`, each with `mean`, `low`, `high` (percent, 95 %), `cells`,
            `pairs`; never equal to a mean of ``scores``, which are those of the tested clips.
        probabilities: Condition -> what the class probabilities of its tested clips say. Against
            the labels: `ece`, `mce`, `adaptive_ece`, `rms`, `brier`, `nll`; how far the ranking of
            the classes is from that of the same clips as they are: `zipf`, `top5`. Definitions in
            ``sweep.metrics``; empty in records made before it was kept.
        error: For a failed cell: `type`, `message`, `traceback`, `step`.
        run: Volatile: seconds per phase, CPU time, memory, host, attempt, versions, and
            `reused_from` for a cell of another sweep. Never part of a comparison.
    """

    key: str
    label: str
    status: Status
    seed: int
    losses: tuple[str, ...]
    combiner: str
    config: Mapping[str, Any]
    scores: tuple[Score, ...] = ()
    final: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    diversity: Mapping[str, Any] = field(default_factory=dict)
    forwards: Mapping[str, int] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    fidelity: Mapping[str, Any] = field(default_factory=dict)
    estimates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    probabilities: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None
    run: Mapping[str, Any] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    @property
    def accuracy(self) -> dict[str, float]:
        """Condition -> accuracy in percent."""
        return {score.condition: score.accuracy for score in self.scores}

    def to_json(self) -> dict[str, Any]:
        """Plain data; non-finite numbers become None, empty optional sections are left out."""
        content = plain(asdict(self))
        for name in ("diversity", "fidelity", "estimates", "probabilities"):
            if not content[name]:
                del content[name]
        for row in content["scores"]:
            if not row["retrieval"]:
                del row["retrieval"]
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TrialRecord:
        """Inverse of ``to_json``.

        Raises:
            ValueError: if the record was written by a newer schema.
        """
        if content.get("schema_version", 0) > SCHEMA_VERSION:
            raise ValueError(
                f"record {content.get('key')} has schema {content['schema_version']}, this program "
                f"reads up to {SCHEMA_VERSION}: use a newer auxsweep"
            )
        rows = tuple(Score(**row) for row in content.get("scores", ()))
        return cls(**{**content, "scores": rows, "losses": tuple(content["losses"])})


def comparable(content: Mapping[str, Any]) -> dict[str, Any]:
    """A record without what may differ between two executions of the same cell."""
    return {key: value for key, value in content.items() if key != "run"}


def plain(value: Any) -> Any:
    """Mappings and lists of what JSON knows; numbers that are not finite become None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


# ------------------------------------------------------------------------------------ outcomes


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


# ------------------------------------------------------------------------------- files of a cell


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically: a reader sees the old file or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_cell(
    folder: Path,
    record: TrialRecord,
    history: Sequence[Mapping[str, Any]],
    outcomes: Outcomes | None,
) -> None:
    """Store a cell; ``result.json`` comes last, so that its presence means "done".

    A failed cell gets ``failure.json`` instead and counts as not done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", record.to_json()["config"])
    lines = "".join(json.dumps(plain(dict(row))) + "\n" for row in history)
    temporary = folder / f".history.{os.getpid()}"
    temporary.write_text(lines, encoding="utf-8")
    temporary.replace(folder / "history.jsonl")
    if outcomes is not None:
        outcomes.save(folder / "outcomes.npz")
    if record.status == "done":
        write_json(folder / "result.json", record.to_json())
        (folder / "failure.json").unlink(missing_ok=True)
    else:
        write_json(folder / "failure.json", record.to_json())


def read_record(folder: Path) -> TrialRecord | None:
    """The record of a cell folder, done or failed; None if it has neither."""
    for name in ("result.json", "failure.json"):
        path = folder / name
        if path.is_file():
            try:
                return TrialRecord.from_json(json.loads(path.read_text(encoding="utf-8")))
            except (json.JSONDecodeError, KeyError, TypeError):
                continue  # a damaged file counts as absent: the cell runs again
    return None


def read_records(sweep: Path) -> list[TrialRecord]:
    """Records of the planned cells of a sweep folder, in the order of the plan.

    Without a plan those of all cells. A sweep that was extended may hold cells which are no part
    of its plan any more.
    """
    cells = sweep / "cells"
    folders = {path.name: path for path in sorted(cells.iterdir())} if cells.is_dir() else {}
    order = list(folders)
    plan = sweep / "plan.json"
    if plan.is_file():
        planned = json.loads(plan.read_text(encoding="utf-8"))["cells"]
        order = [key for key in dict.fromkeys(cell["key"] for cell in planned) if key in folders]
    records = (read_record(folders[key]) for key in order)
    return [record for record in records if record is not None]


def read_history(folder: Path) -> list[dict[str, Any]]:
    """Rows of ``history.jsonl``: step, unified, losses, slopes, lr, gradient_norm."""
    path = folder / "history.jsonl"
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def metric_of(pattern: str) -> str:
    """The recall that a pattern names, as in `t2v_R5:clean`; "" for accuracy or R@1."""
    return pattern.rpartition(":")[0]


def matching(conditions: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """Conditions that match any of the patterns (`gaussian_noise/*`), each once, in order.

    What a pattern says before a colon is kept: `t2v_R5:*` gives `t2v_R5:clean` and so on.
    """
    from fnmatch import fnmatchcase

    metrics = dict.fromkeys(metric_of(pattern) for pattern in patterns)
    globs = {m: [p.rpartition(":")[2] for p in patterns if metric_of(p) == m] for m in metrics}
    return [
        f"{metric}:{condition}" if metric else condition
        for condition in conditions
        for metric in metrics
        if any(fnmatchcase(condition, glob) for glob in globs[metric])
    ]


def clean_of(patterns: Sequence[str]) -> str:
    """What an outcome is to be divided by: the clean clips under its own recall."""
    metrics = {metric_of(pattern) for pattern in patterns} - {""}
    return f"{min(metrics)}:clean" if metrics else "clean"


def outcome(record: TrialRecord, patterns: Sequence[str]) -> float:
    """Mean accuracy (or recall) in percent over the matching conditions; NaN if there is none."""
    scores = {score.condition: score for score in record.scores}
    values = []
    for name in matching(scores, patterns):
        metric, _, condition = name.rpartition(":")
        values.append(scores[condition].value(metric))
    return sum(values) / len(values) if values else math.nan

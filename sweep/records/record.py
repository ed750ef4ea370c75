"""What one trial leaves behind, as plain data readable without torch or Ray.

Everything in a record is a function of the cell (config, seed, data) except the section ``run``
(times, host, attempt), so that two executions of one cell can be compared by ``comparable``. Scores
stay disaggregated: one row per condition.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from sweep.records import older

if TYPE_CHECKING:
    from sweep.records.condition import Condition
    from sweep.records.outcomes import Outcomes

SCHEMA_VERSION = 3
Status = Literal["done", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What a task measured under one condition.

    Attributes:
        condition: `clean`, a shift (`appearance`), `<perturbation>/<severity>`,
            `text_<perturbation>/<severity>` where captions are perturbed, or
            `<perturbation>+<perturbation of captions>/<severity>`.
        clips: Number of clips tested.
        metrics: Metric of the task -> value, the headline first. In percent, 0..100, but for ranks,
            which count from 1.
        category: `clean`, `shift`, the perturbation's category (`noise`, `temporal`, ...),
            `captions` or `joint`.
        level: The perturbation's constant(s) at this severity, as shown to people; "" for others.
        pixels: Hash of the tested uint8 frames, and of captions where they are perturbed: scores
            are comparable only where it is equal.
        perturbation: Of the videos; "" for clips as they are.
        severity: Of the videos, else of the captions; 0 for both as they are.
        text: Perturbation of the captions; "" for captions as they are.
        clip_set: The tested clips: `clean` or the shift.
    """

    condition: str
    clips: int
    metrics: Mapping[str, float]
    category: str
    level: str = ""
    pixels: str = ""
    perturbation: str = ""
    severity: int = 0
    text: str = ""
    clip_set: str = "clean"

    @classmethod
    def of(
        cls,
        condition: Condition,
        metrics: Mapping[str, float],
        *,
        clips: int,
        level: str = "",
        pixels: str = "",
    ) -> Score:
        """The score of a condition."""
        return cls(
            condition=condition.name,
            clips=clips,
            metrics=metrics,
            category=condition.category,
            level=level,
            pixels=pixels,
            perturbation=condition.perturbation,
            severity=condition.level,
            text=condition.text,
            clip_set=condition.clips,
        )

    @property
    def accuracy(self) -> float:
        """The headline of the task, in percent."""
        return next(iter(self.metrics.values()), math.nan)

    def value(self, metric: str = "") -> float:
        """A metric by name; ``accuracy`` without one. NaN where there is none."""
        return self.metrics.get(metric, math.nan) if metric else self.accuracy


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """One finished cell.

    Attributes:
        key: Cell key (content address of ``config``).
        label: For people, such as `all - pixel`.
        status: `done` or `failed`.
        task: What the model was tested by, a row of ``sweep.tasks.catalogue``; "" if failed.
        seed: Training seed.
        losses: Auxiliary losses, sorted; without the primary.
        combiner: Name of the combiner.
        config: The resolved ``TrialConfig`` as plain data.
        scores: One row per condition; empty if failed.
        validation: The same on the validation clips, of the conditions of
            `evaluate.on_validation`; a search chooses by these. Empty where nothing is chosen so.
        final: End of training: `cross_entropy` (mean of the last 5 % of the steps, labelled clips),
            `unified_loss`, `trained` (cross-entropy below `train.trained_below`, or where that is
            null below `trained_below` of this section), `steps`, `parameters`.
        weights: Mean slope dM/dl of each loss (primary included) over the last tenth of training:
            what the loss finally weighed, comparable across combiners.
        training: Of a combiner that is taught by the primary loss, `meta`: `steps`, `skipped` and
            `signal_to_noise`, loss -> mean over the standard deviation of one meta step of the
            derivative by which the loss is judged. Empty of others, and in records made before it
            was kept.
        diversity: How diverse the auxiliary losses are: `set` (known before training), `start`,
            `half` and `end`; see ``sweep.statistics.diversity.measure_history``. Empty without
            auxiliary losses.
        forwards: Clips forwarded: `train`, `evaluate`, and at the end of training `validation`; not
            forwarded: `avoided` (equal pixels) and, for models that encode frames alone, `gathered`
            (known frames in another order).
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
    task: str = ""
    scores: tuple[Score, ...] = ()
    validation: tuple[Score, ...] = ()
    final: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
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
        """Condition -> the headline of the task, in percent."""
        return {score.condition: score.accuracy for score in self.scores}

    @property
    def seconds(self) -> float | None:
        """How long the cell took; None where that is not stored, or damaged."""
        times = self.run.get("seconds")
        found = times.get("all") if isinstance(times, Mapping) else None
        return float(found) if isinstance(found, int | float) else None

    def to_json(self) -> dict[str, Any]:
        """Plain data; non-finite numbers become None, empty optional sections are left out."""
        content = plain(asdict(self))
        for name in (
            "validation", "training", "diversity", "fidelity", "estimates", "probabilities",
        ):  # fmt: skip
            if not content[name]:
                del content[name]
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TrialRecord:
        """Inverse of ``to_json``, of this program or an earlier one.

        Raises:
            ValueError: if the record was written by a newer schema.
            KeyError, TypeError: if it is damaged.
        """
        if content.get("schema_version", 0) > SCHEMA_VERSION:
            raise ValueError(
                f"record {content.get('key')} has schema {content['schema_version']}, this program "
                f"reads up to {SCHEMA_VERSION}: use a newer auxsweep"
            )
        if content.get("schema_version", 0) < SCHEMA_VERSION:
            content = older.record(content)
        for name, kind in _KINDS.items():
            if not isinstance(content.get(name, {} if kind is Mapping else None), kind):
                raise TypeError(f"{name}: {content.get(name)!r}")
        rows = {
            name: tuple(_score(row) for row in content.get(name, ()))
            for name in ("scores", "validation")
        }
        return cls(**{**content, **rows, "losses": tuple(content["losses"])})


#: What a damaged file must not put in the place of something else: everybody counts on these.
_KINDS: Mapping[str, Any] = {
    **dict.fromkeys(("key", "label", "status", "combiner"), str),
    "seed": int,
    **dict.fromkeys(("config", "final", "weights", "forwards", "data", "run"), Mapping),
}


def _score(row: Mapping[str, Any]) -> Score:
    known = {name: math.nan if v is None else v for name, v in row["metrics"].items()}
    if not all(isinstance(value, (int, float)) for value in known.values()):
        raise TypeError(f"metrics of {row.get('condition')}: {row['metrics']!r}")
    return Score(**{**row, "metrics": known})


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


@dataclass(frozen=True)
class TrialResult:
    """What a trial hands to the driver."""

    record: TrialRecord
    history: list[dict[str, Any]]
    outcomes: Outcomes | None

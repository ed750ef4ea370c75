"""What a W&B run of a cell says: name, config, history rows, summary, table. Plain data, no W&B.

All of it is a function of the study and the record, so that a run written live and a run rebuilt
from the ledger are the same.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sweep.records.files import read_json, validation_of
from sweep.records.patterns import clean_of, outcome

if TYPE_CHECKING:
    from pathlib import Path

    from sweep.records.record import TrialRecord
    from sweep.settings.study import StudyConfig

#: Most points of one metric in the history of a run.
MAX_POINTS = 1000
TABLE_COLUMNS = ("condition", "category", "level", "accuracy", "clips")
#: Paths of the user's machine: they do not change numbers and do not belong on a server.
_PRIVATE = frozenset({"data.root", "data.cache_dir"})
_MAX_TAG_CHARS = 64
_MAX_TEXT_CHARS = 4000


def identity(study: StudyConfig, config: Mapping[str, Any]) -> dict[str, Any]:
    """Name, job type and tags of a run, as keyword arguments of ``wandb.init``."""
    design = study.design.kind
    tags = [study.name, design, config["combiner"]["name"], config["model"]["name"], study.scale]
    return {
        "name": f"{study.name}/{config['label']}/s{config['seed']}",
        "job_type": "trial" if config["losses"] else "baseline",
        "tags": [tag[:_MAX_TAG_CHARS] for tag in dict.fromkeys([*tags, *study.track.tags]) if tag],
    }


def run_config(
    study: StudyConfig, config: Mapping[str, Any], *, key: str, sweep: Path, attempt: int
) -> dict[str, Any]:
    """Flat config of a run: dotted keys, scalar values (lists are hard to group by in the UI).

    Every loss of the study has `losses.<name>.on` and `.weight` (0 where it is off), so that runs
    with different loss sets share their columns.
    """
    rest = {k: v for k, v in config.items() if k not in ("losses", "combiner", "fingerprint")}
    flat = {name: value for name, value in _flatten(rest) if name not in _PRIVATE}
    for name in sorted({*study.losses, *config["losses"]}):
        settings = config["losses"].get(name)
        flat[f"losses.{name}.on"] = settings is not None
        flat[f"losses.{name}.weight"] = settings["weight"] if settings else 0.0
        flat.update(_flatten((settings or {}).get("knobs", {}), f"losses.{name}.knobs."))
    flat.update(_flatten(config["combiner"].get("knobs", {}), "combiner_knobs."))
    return flat | {
        "combiner": config["combiner"]["name"],
        "loss_set": "+".join(sorted(config["losses"])) or "none",
        "n_losses": len(config["losses"]),
        "study": study.name,
        "design": study.design.kind,
        "scale": study.scale,
        "sweep": sweep.name,
        "cell_key": key,
        "attempt": attempt,
        "data_fingerprint": config.get("fingerprint", ""),
        "engine_version": engine_version(),
        "git_sha": _git_sha(sweep),
    }


def summary(study: StudyConfig, record: TrialRecord) -> dict[str, Any]:
    """Final numbers of a run. Accuracies in percent, gammas as fractions.

    `gamma/absolute/<outcome>` = 1 - (clean - outcome) / 100 and `gamma/relative/<outcome>` =
    outcome / clean (arXiv:2207.01398, section 3): shares of the clean accuracy that survive. A
    model that never learned has good ones, hence `final/trained` beside them.
    """
    from sweep.metrics.robustness import absolute_robustness, relative_robustness

    found: dict[str, Any] = {"status": record.status}
    for name, value in record.accuracy.items():
        found[f"eval/{name}"] = value
    means = {name: outcome(record, patterns) for name, patterns in study.outcomes.items()}
    for score in record.scores:
        if len(score.metrics) > 1:
            metrics = score.metrics.items()
            found |= {f"{record.task}/{score.condition}/{name}": v for name, v in metrics}
    for name, value in means.items():
        found[f"final/{name}"] = value
        whole = clean_of(study.outcomes[name])
        clean = outcome(record, [whole])
        if study.outcomes[name] != [whole]:
            found[f"gamma/absolute/{name}"] = float(absolute_robustness(clean, value))
            found[f"gamma/relative/{name}"] = float(relative_robustness(clean, value))
    found |= {f"training/{name}": value for name, value in record.final.items()}
    if record.status == "done":
        found |= {f"weights/{name}": 0.0 for name in study.losses}
    found |= {f"weights/{name}": value for name, value in record.weights.items()}
    found |= dict(_flatten(record.diversity, "diversity/", "/"))
    found |= {f"forwards/{name}": value for name, value in record.forwards.items()}
    found |= dict(_flatten(record.data, "data/", "/"))
    found |= dict(_flatten(record.run.get("seconds", {}), "seconds/", "/"))
    for name in ("type", "message", "step", "traceback"):
        said = (record.error or {}).get(name)
        # the end of a traceback is the part that says what happened
        found[f"error/{name}"] = said[-_MAX_TEXT_CHARS:] if isinstance(said, str) else said
    return {name: value for name, value in found.items() if _is_shown(value)}


def stopped_summary(step: int, validation: Mapping[str, float]) -> dict[str, Any]:
    """Final numbers of a trial that early stopping ended; never `final/`, it was not finished."""
    return {
        "status": "stopped",
        "stopped/step": step,
        "stopped/clean": next(iter(validation.values())),
    }


def table(record: TrialRecord) -> list[list[Any]]:
    """Rows of `TABLE_COLUMNS`: every condition tested."""
    return [[getattr(score, name) for name in TABLE_COLUMNS] for score in record.scores]


def row(history_row: Mapping[str, Any]) -> dict[str, Any]:
    """A history row under the names used on W&B; `step` is the training step."""
    found: dict[str, Any] = {"step": history_row["step"]}
    for name in ("unified", "lr", "gradient_norm"):
        found[f"train/{name}"] = history_row.get(name)
    for source, target in (("losses", "train/loss"), ("slopes", "train/slope")):
        for name, value in (history_row.get(source) or {}).items():
            found[f"{target}/{name}"] = value
    found["validation/clean"] = next(iter(validation_of(history_row).values()), None)
    return {name: value for name, value in found.items() if _is_shown(value)}


class Thinner:
    """Keeps at most `MAX_POINTS` rows per metric, chosen by step alone.

    It needs no look-ahead, so that rows that arrive live are chosen exactly like stored ones. Rows
    that a restarted trial repeats fall out.
    """

    def __init__(self, steps: int) -> None:
        self._steps = max(1, steps)
        self._bucket: dict[str, int] = {}

    def keep(self, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """The part of a row that is worth a point, or None."""
        step = values["step"]
        bucket = min(step, self._steps) * MAX_POINTS // (self._steps + 1)
        kept = {
            name: value
            for name, value in values.items()
            if name != "step" and self._bucket.get(name, -1) < bucket
        }
        self._bucket.update(dict.fromkeys(kept, bucket))
        return {"step": step, **kept} if kept else None


def thin(history: Iterable[Mapping[str, Any]], steps: int) -> list[dict[str, Any]]:
    """Rows of a run's history, thinned, under the names used on W&B."""
    thinner = Thinner(steps)
    kept = (thinner.keep(row(history_row)) for history_row in history)
    return [values for values in kept if values is not None]


def points(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[int]]:
    """Metric -> steps at which it has a point."""
    found: dict[str, list[int]] = {}
    for values in rows:
        for name in values:
            if name != "step":
                found.setdefault(name, []).append(values["step"])
    return found


def engine_version() -> str:
    """Version of auxsweep, `source` when it runs without being installed."""
    try:
        return importlib.metadata.version("auxsweep")
    except importlib.metadata.PackageNotFoundError:
        return "source"


def _git_sha(sweep: Path) -> str:
    """Commit of the first driver of the sweep; "" if there is none."""
    return str((read_json(sweep / "environment.json") or {}).get("git") or "")


def _flatten(
    content: Mapping[str, Any], prefix: str = "", separator: str = "."
) -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}{separator}", separator)
        elif isinstance(value, (list, tuple)):
            yield f"{prefix}{name}", ",".join(map(_text, value))
        else:
            yield f"{prefix}{name}", value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _is_shown(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))

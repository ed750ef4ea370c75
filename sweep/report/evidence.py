"""Everything a report may know, read from a sweep folder: cells, seeds, failures, provenance.

A *cell* here is a configuration (loss set, weights, combiner) with one record per seed. Nothing is
dropped: what failed, what is missing and what did not train stays on its list.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from losses.catalogue import LOSSES
from losses.combine.catalogue import COMBINERS, held_out
from sweep.cells.designs.catalogue import DESIGNS, Design
from sweep.records.condition import Condition
from sweep.records.equal import Same, counted, equal_in, exact
from sweep.records.files import read_history, read_json, read_records, validation_of
from sweep.records.outcomes import Outcomes
from sweep.records.patterns import counted_in, matching, unmeasured
from sweep.records.patterns import outcome as outcome_of
from sweep.records.pixels import apart
from sweep.records.plan import SweepPlan
from sweep.settings.design import DesignSettings
from sweep.settings.section import keyed
from sweep.settings.trial import TrialConfig
from sweep.tasks.catalogue import TASKS
from sweep.training.trained import rule

if TYPE_CHECKING:
    from pathlib import Path

    from sweep.records.record import TrialRecord
    from sweep.tasks.catalogue import TaskSpec

logger = logging.getLogger(__name__)

_UNKNOWN = replace(DESIGNS["sets"], estimates="")
#: Parts of a config that must be equal in every cell for cells to be comparable.
_PROTOCOL = ("model", "data", "fingerprint", "train", "evaluate")


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """One configuration over its seeds.

    Attributes:
        name: Label, unique in the sweep.
        losses: Auxiliary losses, sorted.
        combiner: Name of the combiner.
        weights: Loss -> configured weight.
        records: Seed -> finished record.
        keys: Seed -> cell key, planned or run.
    """

    name: str
    losses: tuple[str, ...]
    combiner: str
    weights: Mapping[str, float]
    records: Mapping[int, TrialRecord]
    keys: Mapping[int, str]

    def values(self, patterns: list[str]) -> dict[int, float]:
        """Seed -> mean accuracy in percent over the matching conditions."""
        found = {seed: outcome_of(record, patterns) for seed, record in self.records.items()}
        return {seed: value for seed, value in found.items() if math.isfinite(value)}

    @property
    def untrained(self) -> tuple[int, ...]:
        """Seeds whose final primary loss stayed above the threshold."""
        return tuple(s for s, r in self.records.items() if r.final.get("trained") is False)


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A planned cell without a result: ``state`` is `missing`, `failed` or `stopped`."""

    key: str
    name: str
    seed: int
    state: str
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A sweep folder in memory.

    Attributes:
        folder: The sweep folder.
        study: ``sweep.yaml`` as plain data.
        plan: ``plan.json``.
        environment: ``environment.json``.
        cells: In the order of the plan.
        failures: Failed records.
        missing: Planned cells without a result, failed ones included.
        events: The ledger.
        tried: Of a search with promoted cells: the cells before. Its ``cells`` are those of the
            last stage, which share a fidelity and, once confirmed, seeds that the search never saw.
        finals: Of a search with confirmed winners: the cells at full fidelity before them.
        stage: Stage of the ``cells`` of a search: `confirm`, `final`, or "" before.
    """

    folder: Path
    study: Mapping[str, Any]
    plan: Mapping[str, Any]
    environment: Mapping[str, Any]
    cells: tuple[Cell, ...]
    failures: tuple[TrialRecord, ...]
    missing: tuple[Missing, ...]
    events: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    tried: tuple[Cell, ...] = ()
    finals: tuple[Cell, ...] = ()
    stage: str = ""

    # ------------------------------------------------------------------------------- the study

    @property
    def design(self) -> str:
        """Kind of the design, such as `loo`."""
        return str(self.study.get("design", {}).get("kind", "sets"))

    @property
    def row(self) -> Design:
        """Row of the design; for a kind that this version does not know, that of listed sets."""
        return DESIGNS.get(self.design, _UNKNOWN)

    @property
    def trend(self) -> bool:
        """Whether the question is a trend over loss sets, so that a single set is no answer."""
        return self.row.trend

    @property
    def claims(self) -> bool:
        """Whether cells may be compared: what was picked by its own luck may not."""
        return not self.row.picked or self.stage == "confirm"

    @property
    def design_settings(self) -> DesignSettings:
        """Settings of the design, defaults where the folder is older than a key."""
        known = DesignSettings.model_fields
        given = self.study.get("design") or {}
        return DesignSettings(**{key: value for key, value in given.items() if key in known})

    @cached_property
    def task(self) -> TaskSpec:
        """What models were tested by; the first row where no record says it."""
        name = next((r.task for r in self.records if r.task), next(iter(TASKS)))
        if name not in TASKS:
            raise ValueError(
                f"{self.folder}: the records were made by the task '{name}', which has no row in "
                f"sweep/tasks/catalogue.py here (there are: {', '.join(TASKS)})"
            )
        return TASKS[name]

    @property
    def score_name(self) -> str:
        """What the numbers called accuracy are."""
        return self.task.headline.label

    @cached_property
    def tested(self) -> dict[str, Condition]:
        """Condition by name, in the order of evaluation."""
        return {name: Condition.parse(name) for name in self.conditions}

    @property
    def losses(self) -> tuple[str, ...]:
        """Auxiliary losses of the study, sorted."""
        return tuple(sorted(self.study.get("losses") or {}))

    @cached_property
    def outcomes(self) -> dict[str, list[str]]:
        """Outcome -> patterns, headline first; outcomes that no record has are left out."""
        named = dict(self.study.get("outcomes") or {"clean": ["clean"]})
        order = [*self.headline_names, *(n for n in named if n not in self.headline_names)]
        return {n: list(named[n]) for n in order if matching(self.conditions, named[n])}

    @cached_property
    def unmeasured(self) -> dict[str, list[str]]:
        """Outcome -> patterns of those that the study names and no record has a number for."""
        return {name: list(self._named[name]) for name in unmeasured(self.records, self._named)}

    @property
    def headline_names(self) -> list[str]:
        """Outcomes of the answer as the study declares them."""
        return [n for n in self.study.get("headline") or ["clean"] if n in self._named]

    @property
    def headline(self) -> list[str]:
        """Outcomes of the answer that have data."""
        return [name for name in self.headline_names if name in self.outcomes]

    @property
    def primary_outcome(self) -> str | None:
        """The outcome whose comparisons are judged first, if the study names one."""
        name = self.study.get("primary_outcome")
        return name if name in self.headline else None

    @property
    def margins(self) -> dict[str, float]:
        """Outcome -> points within which a difference does not matter."""
        given = self.study.get("margins") or {}
        return {name: float(points) for name, points in given.items()}

    def caveat(self, loss: str, outcome: str) -> str:
        """What the study discloses on claims about this loss on this outcome; "" for nothing."""
        return " ".join(
            str(row["text"]).strip()
            for row in self.study.get("disclosures") or ()
            if isinstance(row, Mapping) and (row["loss"], row["outcome"]) == (loss, outcome)
        )

    @property
    def _named(self) -> Mapping[str, Any]:
        return self.study.get("outcomes") or {"clean": ["clean"]}

    # ------------------------------------------------------------------------------- the records

    @cached_property
    def records(self) -> list[TrialRecord]:
        """Finished records, cell by cell."""
        return [record for cell in self.cells for record in cell.records.values()]

    @cached_property
    def finished(self) -> tuple[Cell, ...]:
        """Cells with at least one finished seed."""
        return tuple(cell for cell in self.cells if cell.records)

    @property
    def combiners(self) -> list[str]:
        """Combiners of the cells that have losses to combine."""
        return list(dict.fromkeys(c.combiner for c in self.cells if c.losses))

    @cached_property
    def seeds(self) -> list[int]:
        """Seeds that occur in a finished record."""
        return sorted({record.seed for record in self.records})

    @cached_property
    def planned(self) -> int:
        """Cells times seeds, as planned or run."""
        return sum(len(cell.keys) for cell in (*self.cells, *self.tried, *self.finals))

    @cached_property
    def done(self) -> int:
        """Finished runs, those of earlier stages of a search included."""
        return sum(len(cell.records) for cell in (*self.cells, *self.tried, *self.finals))

    @cached_property
    def categories(self) -> dict[str, str]:
        """Condition -> category, in the order of evaluation."""
        found: dict[str, str] = {}
        for record in self.records:
            for score in record.scores:
                found.setdefault(score.condition, score.category)
        return found

    @property
    def conditions(self) -> list[str]:
        """All conditions of the finished records."""
        return list(self.categories)

    @cached_property
    def levels(self) -> dict[str, str]:
        """Condition -> the perturbation's constant at this severity."""
        found: dict[str, str] = {}
        for record in self.records:
            for score in record.scores:
                if score.level:
                    found.setdefault(score.condition, score.level)
        return found

    @cached_property
    def clips(self) -> dict[str, tuple[int, int]]:
        """Condition -> smallest and largest number of clips tested."""
        found: dict[str, list[int]] = {}
        for record in self.records:
            for score in record.scores:
                found.setdefault(score.condition, []).append(score.clips)
        return {name: (min(n), max(n)) for name, n in found.items()}

    @cached_property
    def fidelity(self) -> Mapping[str, Any]:
        """How thinned the perturbation tests are; empty if every clip was tested."""
        return self.records[0].fidelity if self.records else {}

    @cached_property
    def perturbations(self) -> dict[str, list[str]]:
        """Perturbation -> its conditions by severity."""
        found: dict[str, list[str]] = {}
        for condition in self.tested.values():
            if condition.is_perturbed:
                found.setdefault(condition.family, []).append(condition.name)
        return {n: sorted(rows, key=severity) for n, rows in found.items()}

    @cached_property
    def equal(self) -> dict[str, Same]:
        """Condition -> what it is equal to, clean or an earlier one; others are absent."""
        found: dict[str, Same] = {}
        for record in self.records:
            found = {**equal_in(record), **found}
        return {name: found[name] for name in self.conditions if name in found}

    @cached_property
    def distinct(self) -> frozenset[str]:
        """Conditions of frames of their own: what means over conditions take."""
        return frozenset(counted(self.conditions, exact(self.equal)))

    def group(self, condition: str) -> str:
        """Category of a condition; the order-destroying checks are a group of their own."""
        if self.tested[condition].is_control:
            return "order control"
        return self.categories[condition]

    def columns(self) -> dict[str, list[str]]:
        """Column of a heat map -> conditions: clean, shifts, then one per perturbation by group.

        Where cells were tested on few clips, perturbations of a single cell are left out.
        """
        least = 2 if self.fidelity else 1
        found = {name: [name] for name, c in self.tested.items() if not c.is_perturbed}
        found |= {name: rows for name, rows in self.perturbations.items() if len(rows) >= least}
        groups = list(dict.fromkeys(self.group(rows[0]) for rows in found.values()))
        groups.sort(key=lambda name: name == "order control")
        return dict(sorted(found.items(), key=lambda item: groups.index(self.group(item[1][0]))))

    def cell(self, name: str) -> Cell | None:
        """The cell of this name."""
        return next((cell for cell in self.cells if cell.name == name), None)

    def history(self, record: TrialRecord) -> list[dict[str, Any]]:
        """Training rows of a record, read once; empty where the file is absent."""
        if record.key not in self._histories:
            self._histories[record.key] = read_history(self.folder / "cells" / record.key)
        return self._histories[record.key]

    def outcome_table(self, record: TrialRecord) -> Outcomes | None:
        """Per-clip outcomes of a record, read once."""
        if record.key not in self._tables:
            path = self.folder / "cells" / record.key / "outcomes.npz"
            try:
                self._tables[record.key] = Outcomes.load(path)
            except FileNotFoundError as error:
                logger.debug("%s: no per-clip outcomes (%s)", record.key, error)
                self._tables[record.key] = None
            except (OSError, ValueError) as error:
                logger.warning("no outcomes of single clips: %s", error)
                self._tables[record.key] = None
        return self._tables[record.key]

    @cached_property
    def _tables(self) -> dict[str, Outcomes | None]:
        return {}

    @cached_property
    def _histories(self) -> dict[str, list[dict[str, Any]]]:
        return {}

    # ------------------------------------------------------------------------------- doubts

    @cached_property
    def untrained(self) -> list[TrialRecord]:
        """Finished records flagged "did not train"."""
        return [record for record in self.records if record.final.get("trained") is False]

    @cached_property
    def trained_below(self) -> tuple[float, float]:
        """Lowest and highest final primary loss from which on a record is flagged so."""
        given = (self.study.get("train") or {}).get("trained_below", 1.0)
        if given is not None:
            return float(given), float(given)
        found = [
            float(
                r.final.get("trained_below")  # by the rule
                or (r.config.get("train") or {}).get("trained_below")  # given, in a reused cell
                or 1.0  # what older records meant
            )
            for r in self.records
        ]
        return min(found, default=math.nan), max(found, default=math.nan)

    @property
    def trained_rule(self) -> str:
        """Where the thresholds come from, for people; "" if the study gives one."""
        if (self.study.get("train") or {}).get("trained_below", 1.0) is not None:
            return ""
        row = LOSSES.get(str(self.study.get("primary", "classification")))
        return rule(row) if row is not None else "its threshold"

    @cached_property
    def unequal_pixels(self) -> dict[str, dict[str, list[str]]]:
        """Condition -> pixel hash -> cells, where cells were tested on different pixels."""
        found: dict[str, dict[str, list[str]]] = {}
        for cell in self.cells:
            for record in cell.records.values():
                for score in record.scores:
                    if score.pixels:
                        groups = found.setdefault(score.condition, {})
                        groups.setdefault(score.pixels, []).append(
                            f"{cell.name} (seed {record.seed})"
                        )
        return {name: groups for name, groups in found.items() if len(groups) > 1}

    def made_with(self, condition: str) -> str:
        """What made the unequal pixels of a condition: `torch 2.11.0 against torch 2.15.0`."""
        groups: dict[str, list[TrialRecord]] = {}
        for record in self.records:
            for score in record.scores:
                if score.condition == condition and score.pixels:
                    groups.setdefault(score.pixels, []).append(record)
        return " against ".join(dict.fromkeys(apart(list(groups.values()))))

    @cached_property
    def seen_in_training(self) -> dict[str, dict[str, str]]:
        """Mix -> condition -> `condition` or `kind`: what models were trained on and tested by."""
        found: dict[str, dict[str, str]] = {}
        for record in self.records:
            seen = record.data.get("seen_in_training")
            if seen:
                mix = str((record.config.get("train") or {}).get("perturb", ""))
                found.setdefault(mix, {}).update(seen)
        return found

    @cached_property
    def unequal_protocol(self) -> list[str]:
        """Parts of the protocol that differ between finished cells, such as `train`."""
        differing = []
        space = (self.study.get("search") or {}).get("space") or {}
        searched = {path.partition(".")[0] for path in space}
        contents = [_with_withheld(keyed(TrialConfig, r.config)) for r in self.records]
        for part in (p for p in _PROTOCOL if p not in searched):
            seen = {_digest(content.get(part)) for content in contents}
            if len(seen) > 1:
                differing.append(part)
        return differing


def _with_withheld(content: dict[str, Any]) -> dict[str, Any]:
    """A config with the share of labelled clips left out, where its combiner says it."""
    combiner, train = content.get("combiner") or {}, content.get("train")
    if train is None or combiner.get("name") not in COMBINERS:
        return content
    judges = held_out(combiner["name"], combiner.get("knobs") or {})
    return content | {"train": {**train, "withheld_share": judges}} if judges else content


def _study(path: Path) -> dict[str, Any]:
    """``sweep.yaml`` as plain data, of whatever version."""
    try:
        study = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{path}: damaged: {error}") from None
    if not isinstance(study, dict):
        raise ValueError(f"{path}: damaged: a mapping of keys was expected")  # noqa: TRY004
    return study


def collect(sweep: Path) -> Evidence:
    """Read a sweep folder.

    Raises:
        FileNotFoundError: if it is not one.
        ValueError: if ``sweep.yaml`` is damaged, or its records differ in fidelity.
    """
    config = sweep / "sweep.yaml"
    if not config.is_file():
        raise FileNotFoundError(f"{sweep} is not a sweep folder: it has no sweep.yaml")
    study = _study(config)
    plan = _json(sweep / "plan.json")
    events = _events(sweep / "ledger.jsonl")
    records = read_records(sweep)
    done = [record for record in records if record.status == "done"]
    failures = tuple(record for record in records if record.status == "failed")
    planned = SweepPlan.from_json(plan)
    # a damaged row names no seed: its record, if there is one, counts all the same
    rows = [] if planned is None else [c.to_json() for c in planned.cells if c.seed is not None]
    stage = _last_stage(rows, done)
    recipe = any(path.startswith("train.") for path in (study.get("search") or {}).get("space", ()))
    groups: dict[str, tuple[Cell, ...]] = {}
    for name in ("", "final", "confirm"):
        here = [row for row in rows if _stage(row) == name]
        keys = {row["key"] for row in here}
        others = {row["key"] for row in rows} - keys
        mine = [r for r in records if r.key in keys or (not name and r.key not in others)]
        groups[name] = _cells(here, mine, recipe=recipe)
        if name == stage:
            _check_fidelity(sweep, [r for r in mine if r.status == "done"])
    cells = groups.pop(stage)
    missing = _missing(
        (*cells, *(c for group in groups.values() for c in group)), done, failures, events, sweep
    )
    return Evidence(
        folder=sweep,
        study=study,
        plan=plan,
        environment=_json(sweep / "environment.json"),
        cells=cells,
        failures=failures,
        missing=missing,
        events=events,
        tried=groups.get("", ()),
        finals=groups.get("final", ()),
        stage=stage,
    )


def _last_stage(rows: Iterable[Mapping[str, Any]], done: Iterable[TrialRecord]) -> str:
    """The last stage of a search that has a result; "" for other designs and before."""
    finished = {record.key for record in done}
    reached = {_stage(row) for row in rows if row["key"] in finished}
    return next((stage for stage in ("confirm", "final") if stage in reached), "")


def _stage(row: Mapping[str, Any]) -> str:
    """`final` and `confirm` of a search; "" for everything else."""
    stage = str(row.get("stage", ""))
    return stage if stage in {"final", "confirm"} else ""


def _check_fidelity(sweep: Path, records: Iterable[TrialRecord]) -> None:
    """Numbers from all clips and from a few, or from different few, share no column."""
    found: dict[str, str] = {}
    for record in records:
        name = (
            "{name} ({clips_per_cell} clips per cell, table {table})".format(**record.fidelity)
            if record.fidelity
            else "full"
        )
        found.setdefault(name, record.key)
    if len(found) > 1:
        shown = "; ".join(f"{name}, such as cell {key}" for name, key in found.items())
        raise ValueError(
            f"{sweep}: the records were tested at different fidelities, which do not compare: "
            f"{shown}. Put the cells of each fidelity into a folder of their own."
        )


def severity(condition: str) -> int:
    """Severity in a condition's name; 0 for clean and shifts."""
    return Condition.parse(condition).level


def _cells(
    planned: Iterable[Mapping[str, Any]], records: list[TrialRecord], *, recipe: bool = False
) -> tuple[Cell, ...]:
    """Records and planned cells grouped into configurations.

    Records of one label may differ in weights (search): they are told apart by their content, with
    ``recipe`` by their training settings, too, and all but the first get a number.
    """
    groups: dict[str, list[TrialRecord]] = {}
    for record in records:
        groups.setdefault(_content(record, recipe=recipe), []).append(record)
    rows = list(planned)
    known = {record.key: digest for digest, found in groups.items() for record in found}
    labels: dict[str, str] = {}
    order: list[str] = []
    members: dict[str, dict[int, str]] = {}
    about: dict[str, Mapping[str, Any]] = {}
    by_label: dict[str, str] = {}  # a planned cell that never ran joins its label's first group
    for row in rows:
        if row["key"] in known:
            by_label.setdefault(str(row["label"]), known[row["key"]])
    for row in rows:
        label = str(row["label"])
        digest = known.get(row["key"]) or by_label.setdefault(label, f"planned {label}")
        members.setdefault(digest, {})[int(row["seed"])] = str(row["key"])
        about.setdefault(digest, row)
        labels.setdefault(digest, label)
        if digest not in order:
            order.append(digest)
    for digest, found in groups.items():
        if digest not in order:
            order.append(digest)
        for record in found:
            members.setdefault(digest, {})[record.seed] = record.key
            labels.setdefault(digest, record.label)
    cells = []
    used: dict[str, int] = {}
    for digest in order:
        found = groups.get(digest, [])
        row = about.get(digest, {})
        label = labels[digest]
        used[label] = used.get(label, 0) + 1
        first = found[0] if found else None
        losses = first.losses if first else tuple(sorted(row.get("losses", ())))
        settings = first.config.get("losses", {}) if first else {}
        cells.append(
            Cell(
                name=label if used[label] == 1 else f"{label} #{used[label]}",
                losses=tuple(losses),
                combiner=first.combiner if first else str(row.get("combiner", "")),
                weights={n: _weight(settings.get(n)) for n in losses},
                records={
                    r.seed: r for r in sorted(found, key=lambda r: r.seed) if r.status == "done"
                },
                keys=dict(sorted(members[digest].items())),
            )
        )
    return tuple(cells)


def _weight(settings: Any) -> float:
    weight = settings.get("weight") if isinstance(settings, Mapping) else None
    return float(weight) if weight is not None else math.nan


def _content(record: TrialRecord, *, recipe: bool) -> str:
    """What the seeds of one cell share; of the protocol only the recipe, where that is searched."""
    apart = {"seed", *_PROTOCOL} - ({"train"} if recipe else set())
    content = keyed(TrialConfig, record.config)
    kept = {name: value for name, value in content.items() if name not in apart}
    return _digest({**kept, "losses": record.config.get("losses") or list(record.losses)})


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def over_budget(events: Iterable[Mapping[str, Any]]) -> str:
    """`7.6 of 8 GPU-hours spent` if the last driver ended by the budget, else nothing."""
    text = ""
    for event in events:
        if event.get("event") == "opened":
            text = ""
        elif event.get("event") == "over_budget":
            text = f"{event['spent']:.3g} of {event['limit']:.3g} {event['unit']} spent"
    return text


def _missing(
    cells: tuple[Cell, ...],
    done: list[TrialRecord],
    failures: tuple[TrialRecord, ...],
    events: tuple[Mapping[str, Any], ...],
    sweep: Path,
) -> tuple[Missing, ...]:
    finished = {record.key for record in done}
    failed = {record.key: record for record in failures}
    budget = over_budget(events)
    not_started = f"not started: over budget ({budget})" if budget else "not started"
    last = {event.get("key"): event for event in events if event.get("key")}
    rows = []
    for cell in cells:
        for seed, key in cell.keys.items():
            if key in finished:
                continue
            state, reason = "missing", not_started
            event = last.get(key, {})
            if key in failed:
                error = failed[key].error or {}
                state = "failed"
                reason = f"{error.get('type', 'error')}: {error.get('message', '')}"
            elif event.get("event") == "stopped":
                state, reason = "stopped", _stopped(event)
            elif event.get("event") in {"started", "interrupted"}:
                reason = f"{event['event']}, no result yet"
            rows.append(Missing(key=key, name=cell.name, seed=seed, state=state, reason=reason))
    known = {row.key for row in rows} | finished
    for event in last.values():
        key = str(event["key"])
        if event.get("event") == "stopped" and key not in known:
            config = _json(sweep / "cells" / key / "config.json")
            rows.append(
                Missing(
                    key=key,
                    name=str(config.get("label", key)),
                    seed=int(config.get("seed", 0)),
                    state="stopped",
                    reason=_stopped(event),
                )
            )
    return tuple(rows)


def _stopped(event: Mapping[str, Any]) -> str:
    accuracy = next(iter(validation_of(event).values()), math.nan)
    return f"early stopping at step {event.get('step')}, clean accuracy {accuracy:.1f} %"


def _json(path: Path) -> dict[str, Any]:
    return read_json(path) or {}


def _events(path: Path) -> tuple[Mapping[str, Any], ...]:
    """Ledger lines; a torn last line (driver killed while writing) is left out."""
    if not path.is_file():
        return ()
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return tuple(rows)


def outcome_arrays(
    evidence: Evidence, cells: Sequence[Sequence[TrialRecord]], patterns: list[str]
) -> list[list[np.ndarray]] | None:
    """Correctness of the records of some cells, for ``statistics.intervals.seeds_and_clips``.

    Args:
        evidence: The sweep.
        cells: Records of every cell, paired by position.
        patterns: Of an outcome.

    Returns:
        Per cell one array (pairs, conditions, clips) per set of clips. Conditions that test the
        same clips share an array, so that a clip moves with all its perturbations. None where a
        record has no per-clip outcomes or the clips differ. Where a condition was tested on some
        of the clips only, an untested clip counts as the mean of the tested ones and a tested
        one's distance from it is scaled up: the mean over clips is that of the tested ones, and
        redrawing clips gives its variance to first order.
    """
    found = [[evidence.outcome_table(record) for record in records] for records in cells]
    tables = [[table for table in row if table is not None] for row in found]
    if (
        not tables
        or not tables[0]
        or any(len(a) != len(b) for a, b in zip(found, tables, strict=True))
    ):
        return None
    first = tables[0][0]
    groups: dict[tuple[str, ...], list[str]] = {}
    for condition in counted_in(cells[0][0], patterns):
        groups.setdefault(first.ids[first.clip_set(condition)], []).append(condition)
    arrays: list[list[np.ndarray]] = [[] for _ in tables]
    for ids, conditions in groups.items():
        for row, into in zip(tables, arrays, strict=True):
            if any(
                not table.holds(c) or table.ids[table.clip_set(c)] != ids
                for table in row
                for c in conditions
            ):
                return None
            into.append(np.array([[_spread(table, c) for c in conditions] for table in row]))
    return arrays if groups else None


def _spread(table: Outcomes, condition: str) -> np.ndarray:
    """Correctness of all clips of the set, see ``outcome_arrays``."""
    correct = table.correct(condition)
    if condition not in table.rows:
        return correct
    clips = len(table.ids[table.clip_set(condition)])
    mean = float(correct.mean())
    whole = np.full(clips, mean)
    whole[table.rows[condition]] += (correct - mean) * clips / len(correct)
    return whole

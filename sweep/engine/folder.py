"""The folder of a sweep: opened, compared with what is stored there, refused."""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from sweep.records.files import has_plan, read_json, read_records, stored_plan
from sweep.records.ledger import Ledger, engine_flags
from sweep.records.plan import PlannedCell, SweepPlan
from sweep.records.reuse import not_growth
from sweep.runtime.program import program
from sweep.settings.section import ConfigError, difference, free_on_resume
from sweep.settings.study import StudyConfig
from sweep.studies.load import validate_study


def in_ray_job() -> bool:
    """Whether this process is the entry point of `ray job submit`."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def folder(study: StudyConfig, out: Path | None) -> Path:
    """Absolute folder of the sweep.

    Raises:
        ConfigError: for a relative folder inside a Ray job, whose working directory is thrown away.
    """
    if out is None:
        runs = os.environ.get("AUXSWEEP_RUNS")
        if runs:
            return Path(runs).expanduser().resolve() / study.name
        return (Path.home() / "auxsweep-runs" if in_ray_job() else Path.cwd() / "runs") / study.name
    out = out.expanduser()
    if in_ray_job() and not out.is_absolute():
        raise ConfigError(
            f"--out {out}: inside a Ray job the working directory is thrown away; give an absolute "
            "folder that outlives the job, such as --out /shared/runs/my-sweep"
        )
    return out.absolute()


def open_folder(sweep: Path) -> StudyConfig | None:
    """Make or check the folder; returns the study stored there, None for a new sweep.

    Raises:
        ConfigError: if it cannot be written, or holds something else.
    """
    stored = sweep / "sweep.yaml"
    try:
        sweep.mkdir(parents=True, exist_ok=True)
        found = [p.name for p in sweep.iterdir() if p.name not in _OWN_FILES]
        if found and not stored.is_file():
            raise ConfigError(
                f"{sweep}: not empty and not a sweep (holds {', '.join(sorted(found)[:3])} ...): "
                "give another folder with --out"
            )
        probe = sweep / f".probe-{os.getpid()}"
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"{sweep}: cannot write here ({error.strerror}): give another folder with --out"
        ) from None
    # without a plan nothing was ever started here: any study may begin
    return read_study(sweep) if has_plan(sweep) else None


def leave_no_trace(sweep: Path) -> None:
    """Remove what opening the folder made, when nothing could be started in it."""
    if has_plan(sweep) or (sweep / "cells").is_dir():
        return
    with contextlib.suppress(OSError):
        for name in ("sweep.yaml", "environment.json", *_OWN_FILES):
            (sweep / name).unlink(missing_ok=True)
        sweep.rmdir()


#: What a driver that died at its very start may leave in an otherwise empty folder.
_OWN_FILES = frozenset({".lock-guard", "driver.lock", ".id", "ledger.jsonl", "progress.json"})


def read_study(sweep: Path) -> StudyConfig:
    """The study of a sweep folder.

    Raises:
        ConfigError: if it is none.
    """
    path = sweep / "sweep.yaml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError:
        raise ConfigError(f"{sweep}: not a sweep folder (no readable sweep.yaml)") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: damaged: {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: damaged: a mapping of keys was expected")
    return validate_study(_as_it_meant(content), where=str(path))


def _as_it_meant(content: dict[str, Any]) -> dict[str, Any]:
    """A stored study with what its program did where it lacks a key whose default has changed."""
    design = content.get("design")
    if not isinstance(design, dict) or design.get("kind") != "search":
        return content
    older: dict[str, dict[str, Any]] = {
        "data": {"validation_share": 0.0}, "search": {"objective_on": "test"},
    }  # fmt: skip
    return content | {name: keys | (content.get(name) or {}) for name, keys in older.items()}


def check_same(
    stored: StudyConfig | None, given: StudyConfig, sweep: Path, *, extend: bool = False
) -> list[str]:
    """Refuse to mix two studies in one folder; returns by what an extended study grew.

    Raises:
        ConfigError: with every key that differs, old -> new.
    """
    if stored is None:
        return []
    old, new = stored.model_dump(mode="json"), given.model_dump(mode="json")
    lines = [line for line in difference(old, new) if not _is_harmless(line, given)]
    refused = not_growth(
        lines, old | {"seed_list": stored.seed_list}, new | {"seed_list": given.seed_list}
    )
    if extend and refused:
        shown = "\n  ".join(refused)
        raise ConfigError(
            f"{sweep}: --extend adds cells to a sweep (seeds, losses, combiners, sets); these "
            f"changes do something else (stored -> given):\n  {shown}\n"
            "Give another folder with --out; finished cells of equal content come along with "
            f"--reuse {sweep}."
        )
    if lines and not extend:
        shown = "\n  ".join(lines)
        more = "" if refused else ", or add the new cells to it with --extend"
        flags = engine_flags(Ledger(sweep).events())
        raise ConfigError(
            f"{sweep} holds a sweep with another configuration (stored -> given):\n  {shown}\n"
            "Give another folder with --out, or continue the stored one with "
            f"`{program('resume', sweep, *flags)}`{more}."
        )
    return lines


def _is_harmless(line: str, study: StudyConfig) -> bool:
    path = line.partition(":")[0]
    if study.design.kind == "search" and path.startswith("outcomes."):
        learned = {name.removeprefix("-") for name in study.search.objectives}
        name = path.split(".")[1]
        return name not in learned | set(study.search.constraints)
    return any(path == key or path.startswith(f"{key}.") for key in free_on_resume(StudyConfig))


def last_seen(sweep: Path) -> str | None:
    """When a driver last wrote its progress; None if none ever did."""
    content = read_json(sweep / "progress.json")
    if content is None:
        return None
    try:
        return datetime.fromtimestamp(content["time"], UTC).isoformat(timespec="milliseconds")
    except (OSError, ValueError, KeyError, TypeError):
        return None


def check_fingerprint(sweep: Path, fingerprint: str) -> None:
    """Refuse to go on with other data.

    Raises:
        ConfigError: if the plan was made for a data set of another fingerprint.
    """
    plan = read_plan(sweep)
    before = fingerprint if plan is None else plan.data.get("fingerprint", fingerprint)
    if before != fingerprint:
        raise ConfigError(
            f"{sweep}: the data set changed since the sweep began (fingerprint {before} -> "
            f"{fingerprint}); new cells would not compare with the finished ones. "
            "Give another folder with --out."
        )


def read_plan(sweep: Path) -> SweepPlan | None:
    """The plan of a sweep, else the cells that its ledger names, else those that have a record.

    None if there is none of these.
    """
    plan = stored_plan(sweep)
    if plan is not None and plan.is_whole:
        return plan
    # damaged or lost: the ledger knows the cells, too
    named = {"key", "label", "seed"}
    planned = [e for e in Ledger(sweep).events() if e["event"] == "planned" and e.keys() >= named]
    cells = {e["key"]: PlannedCell(key=e["key"], label=e["label"], seed=e["seed"]) for e in planned}
    if not cells:
        records = read_records(sweep)
        cells = {r.key: PlannedCell(key=r.key, label=r.label, seed=r.seed) for r in records}
    return SweepPlan(cells=tuple(cells.values())) if cells else None

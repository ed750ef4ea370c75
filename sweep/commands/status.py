"""`status`: what of a sweep is done, running, failed and still to come. Reads files only."""

from __future__ import annotations

import json
import statistics
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sweep.engine.board import SILENT_S
from sweep.engine.duration import duration
from sweep.engine.folder import read_plan, read_study
from sweep.engine.meter import spent
from sweep.records.files import read_json
from sweep.records.ledger import Ledger
from sweep.records.lock import holder_of
from sweep.records.patterns import unmeasured
from sweep.runtime.program import program
from sweep.settings.budget import NAMES, parse_budget

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sweep.records.plan import SweepPlan
    from sweep.records.record import TrialRecord
    from sweep.settings.resources import ResourceSettings

MAX_ROWS = 40
#: Lost attempts that are listed, the last ones.
MAX_LOST = 5
#: Cells that are named in one line.
MAX_NAMES = 8
STATES = ("done", "running", "failed", "stopped early", "pending")


def run(sweep: Path, *, as_json: bool = False) -> int:
    """Print the state of a sweep, while it runs or afterwards; returns the exit code 0."""
    found = look(sweep)
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        _show(Console(soft_wrap=True), found)
    return 0


def look(sweep: Path) -> dict[str, Any]:
    """The state of a sweep as plain data.

    Returns:
        `sweep` (folder), `study`, `title`, `scale`, `driver` (None = none at work), `counts` by
        state, `running`, `lost` (attempts that died), `failed`, `best`, `left_s`, `left_hours`,
        `engine` (of the last driver; "" = unknown), `used`, `budget` (None = no limit), `reused`,
        `not_planned`, `untrained` (cells), `unmeasured` (outcomes), `report`, `interrupted`. Hours
        are core-hours, or GPU-hours where trials have a GPU.

    Raises:
        ConfigError: if the folder holds no sweep.
    """
    study = read_study(sweep)
    plan = read_plan(sweep)
    holder = holder_of(sweep)
    at_work = holder if holder is not None and holder["alive"] else None
    report = sweep / "report" / "report.html"
    found: dict[str, Any] = {
        "sweep": str(sweep.absolute()),
        "study": study.name,
        "title": study.title,
        "scale": study.scale,
        "driver": at_work,
        "planned": 0 if plan is None else len(plan.cells),
        "report": str(report.absolute()) if report.is_file() else None,
    }
    if plan is None:
        return found
    ledger = Ledger(sweep)
    events = ledger.events()
    states = cell_states(sweep, plan, since=at_work["since"] if at_work else None)
    names = {cell.key: cell.name for cell in plan.cells}
    counts = Counter(states.values())
    records = [r for key in states if (r := ledger.result(key)) is not None]
    progress = _progress(sweep) if at_work else None
    used = _used(records, study.resources)
    return found | {
        "planned": len(states),
        "counts": {state: counts[state] for state in STATES},
        "running": _running(progress),
        "lost": _lost(events, names),
        "failed": [
            _failure(sweep, k, names[k]) for k, state in states.items() if state == "failed"
        ],
        "best": {} if progress is None else progress["best"],
        "left_s": _left_s(progress),
        "left_hours": used["hours_per_cell"] * (counts["pending"] + counts["failed"]),
        "engine": next((e["engine"] for e in reversed(events) if "engine" in e), ""),
        "used": used,
        "budget": _budget(sweep, study.resources, events, is_running=at_work is not None),
        "reused": dict(Counter(o["sweep"] for r in records if (o := r.run.get("reused_from")))),
        "not_planned": len(plan.not_planned),
        "untrained": [f"{r.label} s{r.seed}" for r in records if r.final.get("trained") is False],
        "unmeasured": unmeasured(records, study.outcomes),
        "interrupted": _interrupted(events) if at_work is None else "",
    }


def cell_states(sweep: Path, plan: SweepPlan, *, since: str | None) -> dict[str, str]:
    """Key -> one of ``STATES``.

    Args:
        sweep: Folder of the sweep.
        plan: Its plan.
        since: When the driver at work began; None if there is none. What an earlier driver
            started and did not end is pending.
    """
    ledger = Ledger(sweep)
    finished, failed = ledger.finished(), ledger.failed()
    last: dict[str, dict[str, Any]] = {}
    for event in ledger.events():
        if event["event"] in {"started", "finished", "failed", "stopped", "lost"}:
            last[event["key"]] = event
    states = {}
    for key in plan.keys:
        event = last.get(key, {"event": "planned", "time": ""})
        if key in finished:
            states[key] = "done"
        elif since is not None and event["event"] == "started" and event["time"] >= since:
            states[key] = "running"
        elif event["event"] == "stopped":
            states[key] = "stopped early"
        else:
            states[key] = "failed" if key in failed else "pending"
    return states


def _progress(sweep: Path) -> dict[str, Any] | None:
    return read_json(sweep / "progress.json")


def _running(progress: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Cells at work as the driver last wrote them, their times brought up to now."""
    if progress is None:
        return []
    age = max(0.0, time.time() - progress["time"])
    return [
        {
            **row,
            "seconds": row["seconds"] + age,
            "heard_s": None if row.get("heard_s") is None else row["heard_s"] + age,
        }
        for row in progress["running"]
    ]


def _left_s(progress: Mapping[str, Any] | None) -> float | None:
    if progress is None or progress["left_s"] is None:
        return None
    return max(0.0, progress["left_s"] - max(0.0, time.time() - progress["time"]))


def _lost(events: list[dict[str, Any]], names: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "key": event["key"],
            "cell": names.get(event["key"], event["key"]),
            "attempt": event.get("attempt"),
            "kind": event.get("kind", ""),
            "message": event.get("message", ""),
            "time": event["time"],
        }
        for event in events
        if event["event"] == "lost"
    ]


def _failure(sweep: Path, key: str, name: str) -> dict[str, Any]:
    stored = read_json(sweep / "cells" / key / "failure.json") or {}
    error = stored.get("error")
    error = error if isinstance(error, dict) else {}
    return {
        "key": key,
        "cell": name,
        "type": error.get("type", "failed"),
        "message": error.get("message", ""),
        "step": error.get("step"),
    }


def _used(records: list[TrialRecord], resources: ResourceSettings) -> dict[str, Any]:
    """Core- or GPU-hours of the cells that this sweep has run itself."""
    ran_here = (r for r in records if "reused_from" not in r.run)
    own = [r.seconds for r in ran_here if r.seconds is not None]
    per_hour = (resources.gpus or resources.cpus_per_trial) / 3600
    return {
        "cells": len(own),
        "hours": sum(own) * per_hour,
        "hours_per_cell": statistics.median(own) * per_hour if own else 0.0,
        "unit": "GPU-hours" if resources.gpus else "core-hours",
    }


def _budget(
    sweep: Path, resources: ResourceSettings, events: list[dict[str, Any]], *, is_running: bool
) -> dict[str, Any] | None:
    """The limit of a sweep, what its cells have held of it, lost attempts included."""
    if resources.budget is None:
        return None
    budget = parse_budget(resources.budget)
    now = time.time() if is_running else None
    names = [event["event"] for event in events if event["event"] in {"opened", "over_budget"}]
    return {
        "limit": budget.amount,
        "spent": spent(sweep, resources, now).spent(budget.unit, now),
        "unit": NAMES[budget.unit],
        "is_over": names[-1:] == ["over_budget"],
    }


def _interrupted(events: list[dict[str, Any]]) -> str:
    last = events[-1] if events else {}
    return str(last.get("message", "")) if last.get("event") == "interrupted" else ""


# ---------------------------------------------------------------------------------------- shown


def _show(console: Console, found: Mapping[str, Any]) -> None:
    def say(text: str) -> None:
        console.print(escape(text), highlight=False)

    console.print(f"[bold]{escape(found['title'])}[/bold]  ({found['study']}, {found['scale']})")
    holder, sweep = found["driver"], found["sweep"]
    if holder is not None:
        say(f"running: process {holder['pid']} on {holder['host']} since {holder['since']}")
    else:
        say("no driver is at work on it")
    if "counts" not in found:
        say("nothing planned" if holder is None else "no plan yet: the data is being prepared")
        return
    counts = found["counts"]
    say(", ".join(f"{count} {name}" for name, count in counts.items() if count))
    for origin, count in found["reused"].items():
        say(f"{count} of the done were taken over from {origin}")
    if found["not_planned"]:
        say(f"{found['not_planned']} finished cells are no part of the plan any more")
    if found["running"]:
        console.print(_table(found["running"]))
    for name, best in found["best"].items():
        say(f"best {name}: {best['value']:.1f} % ({best['cell']})")
    for row in found["lost"][-MAX_LOST:]:
        say(f"lost attempt {row['attempt']} of {row['cell']} ({row['kind']}): {row['message']}")
    if len(found["lost"]) > MAX_LOST:
        say(f"... and {len(found['lost']) - MAX_LOST} lost attempts before (ledger.jsonl)")
    for row in found["failed"]:
        at = "" if row["step"] is None else f" at step {row['step']}"
        say(f"failed: {row['cell']} ({row['key']}){at}: {row['type']}: {row['message']}")
    if names := found["untrained"]:
        more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        say(f"did not train: {', '.join(names[:MAX_NAMES])}{more}")
    for name in found["unmeasured"]:
        say(f"no number for outcome '{name}': no finished cell was tested on what it names")
    used = found["used"]
    if used["cells"]:
        say(f"used: {used['hours']:.3g} {used['unit']} by {used['cells']} cells")
    if (budget := found["budget"]) is not None:
        over = ": no further cell fits" if budget["is_over"] else ""
        say(f"budget: {budget['spent']:.3g} of {budget['limit']:.3g} {budget['unit']} spent{over}")
    if found["left_s"]:
        say(f"left: about {duration(found['left_s'])}")
    elif holder is None and found["left_hours"]:
        say(f"left: about {found['left_hours']:.3g} {used['unit']}")
    if found["interrupted"]:
        say(found["interrupted"])
    if found["report"]:
        say(f"report: {found['report']}")
    if holder is None and counts["pending"] + counts["failed"]:
        flags = ["--local"] if found["engine"] == "local" else []
        flags += ["--budget", "..."] if budget is not None and budget["is_over"] else []
        say(f"continue with: {program('resume', sweep, *flags)}")
    say(
        f"SWEEP_STATUS={sweep} done={counts['done']} failed={counts['failed']} "
        f"planned={found['planned']}"
    )


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("cell", "attempt", "at", "loss", "time", "last heard", "key"):
        table.add_column(heading)
    for row in rows[:MAX_ROWS]:
        heard = row["heard_s"]
        silent = heard is not None and heard > SILENT_S
        table.add_row(
            escape(row["cell"]),
            str(row["attempt"]),
            escape(row["at"] + (f" ({row['problem']})" if row.get("problem") else "")),
            "" if row["loss"] is None else f"{row['loss']:.3f}",
            duration(row["seconds"]),
            "" if heard is None else f"{duration(heard)} ago{' (silent)' if silent else ''}",
            row["key"],
        )
    if len(rows) > MAX_ROWS:
        table.add_row(f"... and {len(rows) - MAX_ROWS} more", "", "", "", "", "", "")
    return table

"""`status`: what of a sweep is done, running, failed and still to come. Reads files only."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sweep.driver import read_plan, read_study
from sweep.ledger import Ledger, driver
from sweep.progress import duration

MAX_ROWS = 40


def run(sweep: Path) -> int:
    """Print the state of a sweep, while it runs or afterwards; returns the exit code 0."""
    study = read_study(sweep)
    console = Console(soft_wrap=True)
    plan = read_plan(sweep)
    holder = driver(sweep)
    is_running = holder is not None and holder["alive"]
    console.print(f"[bold]{escape(study.title)}[/bold]  ({study.name}, {study.scale})")
    if is_running and holder is not None:
        console.print(
            f"running: process {holder['pid']} on {holder['host']} since {holder['since']}"
        )
    else:
        console.print("no driver is at work on it")
    if plan is None:
        console.print(
            "no plan yet: the data is being prepared" if is_running else "nothing planned"
        )
        return 0
    states = cell_states(sweep, plan, since=holder["since"] if is_running and holder else None)
    counts = {name: list(states.values()).count(name) for name in STATES}
    console.print(", ".join(f"{count} {name}" for name, count in counts.items() if count))
    if is_running:
        _running(console, sweep)
    _failed(console, sweep, (c for c in plan["cells"] if states[c["key"]] == "failed"))
    if not is_running and counts["pending"] + counts["failed"]:
        console.print(f"continue with: auxsweep resume {escape(str(sweep))}")
    line = f"done={counts['done']} failed={counts['failed']} planned={len(states)}"
    console.print(f"SWEEP_STATUS={escape(str(sweep.absolute()))} {line}", highlight=False)
    return 0


STATES = ("done", "running", "failed", "stopped early", "pending")


def cell_states(sweep: Path, plan: dict[str, Any], *, since: str | None) -> dict[str, str]:
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
        if event["event"] in {"started", "finished", "failed", "stopped"}:
            last[event["key"]] = event
    states = {}
    for key in dict.fromkeys(cell["key"] for cell in plan["cells"]):
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
    try:
        return json.loads((sweep / "progress.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _running(console: Console, sweep: Path) -> None:
    progress = _progress(sweep)
    if progress is None:
        return
    age = max(0.0, time.time() - progress["time"])
    if progress["running"]:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for heading in ("cell", "at", "loss", "time", "key"):
            table.add_column(heading)
        for row in progress["running"][:MAX_ROWS]:
            loss = "" if row["loss"] is None else f"{row['loss']:.3f}"
            table.add_row(
                escape(row["cell"]), row["at"], loss, duration(row["seconds"] + age), row["key"]
            )
        console.print(table)
    for name, best in progress["best"].items():
        console.print(f"best {name}: {best['value']:.1f} % ({escape(best['cell'])})")
    if progress["left_s"]:
        console.print(f"left: about {duration(max(0.0, progress['left_s'] - age))}")


def _failed(console: Console, sweep: Path, cells: Iterable[dict[str, Any]]) -> None:
    for cell in cells:
        path = sweep / "cells" / cell["key"] / "failure.json"
        try:
            error = json.loads(path.read_text(encoding="utf-8")).get("error") or {}
        except (OSError, ValueError):
            error = {}
        reason = f"{error.get('type', 'failed')}: {error.get('message', '')}"
        console.print(
            f"failed: {escape(cell['label'])} s{cell['seed']} ({cell['key']}): {escape(reason)}"
        )

"""`bench`: ours against the naive way, interleaved, equal outputs first."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

#: Name -> module:function; each returns a Row. Imported when asked for.
ROWS = {
    "shared-forward": "sweep.bench.training:shared_forward",
    "meta-step-3": "sweep.bench.training:meta_step_3",
    "meta-step": "sweep.bench.training:meta_step",
    "meta-step-8": "sweep.bench.training:meta_step_8",
    "gradient-cosines": "sweep.bench.gradients:gradient_cosine",
    "s2dtw-8": "sweep.bench.s2dtw:loss_8",
    "s2dtw-16": "sweep.bench.s2dtw:loss",
    "s2dtw-32": "sweep.bench.s2dtw:loss_32",
    "perturbations": "sweep.bench.perturbations:perturbations",
    "index-and-cache": "sweep.bench.decoding:index_and_cache",
    "stream": "sweep.bench.streaming:stream",
    "stream-decoder": "sweep.bench.streaming:decoder",
    "clip-cache": "sweep.bench.robustness:clip_cache",
    "robustness-grid": "sweep.bench.robustness:grid",
    "screen": "sweep.bench.fidelity:screen",
    "search": "sweep.bench.search:whole",
    "suggestion": "sweep.bench.search:suggestion",
    "driver-cost": "sweep.bench.driver_cost:per_result",
    "start-up": "sweep.bench.startup:startup",
    "trial-overhead": "sweep.bench.overhead:overhead",
}


def run(*, device: str, only: Sequence[str] | None, json_path: Path | None) -> int:
    """Print a table of ratios; 0 if every goal is met, 1 otherwise."""
    from sweep.settings.names import nearest
    from sweep.settings.section import ConfigError

    for name in only or ():
        if name not in ROWS:
            raise ConfigError(
                f"bench: unknown row '{name}'{nearest(name, ROWS)} (rows: {', '.join(ROWS)})"
            )
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    torch.set_num_threads(1)
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("bench: --device cuda, but torch sees no CUDA device")
    console = Console()
    rows = []
    for name in only or ROWS:
        console.print(f"[dim]measuring {name} ...[/dim]")
        module, function = ROWS[name].split(":")
        rows.append(getattr(importlib.import_module(module), function)(device))
    console.print(_table(rows))
    for row in rows:
        console.print(f"[dim]{row.name}:[/dim] against {row.peer}; {row.error}; {row.note}")
    if json_path is not None:
        json_path.write_text(json.dumps([dataclasses.asdict(row) for row in rows], indent=1) + "\n")
    missed = [row.name for row in rows if row.met is False]
    if missed:
        console.print(f"goal missed: {', '.join(missed)}")
    return 1 if missed else 0


def _table(rows: Sequence) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title, justify in (
        ("quantity", "left"), ("ours", "right"), ("peer", "right"), ("ratio", "right"),
        ("min..max", "right"), ("goal", "right"),
    ):  # fmt: skip
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    for row in rows:
        goal = "" if row.goal is None else f">= {row.goal:g}"
        mark = {True: "[green]met[/green] ", False: "[red]missed[/red] ", None: ""}[row.met]
        table.add_row(
            row.name,
            _seconds(row.ours_s),
            _seconds(row.peer_s),
            f"[bold]{row.ratio:.3g}x[/bold]",
            f"{row.low:.3g}..{row.high:.3g}",
            mark + goal,
        )
    return table


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.3g} ms"

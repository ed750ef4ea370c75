"""Tables for papers: cells and comparisons against outcomes, as `tabular` with `booktabs`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sweep.report.page import MINUS, number, signed
from sweep.statistics.intervals import mean_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sweep.report.effects import Effect
    from sweep.report.evidence import Cell, Evidence
    from sweep.report.findings import Findings

#: What TeX reads otherwise, or its fonts lack.
_ESCAPES: Mapping[str, str] = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    **{mark: f"${mark}$" for mark in "<>|"},
    MINUS: "$-$",
    "–": "--",
    "×": r"$\times$",
    "±": r"$\pm$",
    "γ": r"$\gamma$",
    "ρ": r"$\rho$",
    "→": r"$\rightarrow$",
    "†": r"$^{\dagger}$",
}
#: Grade of a claim -> its mark.
MARKS: Mapping[str, str] = {"holds": r"$^{\ast}$", "suggestive": r"$^{\circ}$", "unresolved": ""}


def write(found: Findings, folder: Path) -> list[Path]:
    """Write the tables below a folder; older ones in it are removed.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.tex"):
        path.unlink()
    written = []
    for name, text in tables(found).items():
        path = folder / f"{name}.tex"
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def tables(found: Findings) -> dict[str, str]:
    """File stem -> text; a table without rows is left out."""
    rows = {"cells": _cells(found.evidence), "comparisons": _comparisons(found)}
    return {name: text for name, text in rows.items() if text}


def _cells(evidence: Evidence) -> str:
    names = list(evidence.outcomes)
    body = [
        [_name(cell.name, cell.untrained), *(_accuracy(cell, evidence.outcomes[n]) for n in names)]
        for cell in evidence.finished
    ]
    n = len(evidence.seeds)
    caption = (
        f"{evidence.score_name[0].upper()}{evidence.score_name[1:]} in percent of every loss set: "
        f"mean ± half width of the 95 % t interval over {n} seed{'s' if n != 1 else ''}."
    )
    if evidence.untrained:
        caption += " † a run of it did not train."
    return _table(
        columns=["Loss set", *names],
        rows=body,
        caption=escaped(f"{caption} {_meanings(evidence, names)}"),
        label=_label(evidence, "cells"),
    )


def _accuracy(cell: Cell, patterns: list[str]) -> str:
    interval = mean_interval(cell.values(patterns).values())
    if interval.n == 0:
        return "--"
    half = f" \\pm {interval.half:.1f}" if interval.n > 1 else ""
    return f"${interval.mean:.1f}{half}$"


def _comparisons(found: Findings) -> str:
    evidence = found.evidence
    names = [n for n in evidence.outcomes if any(e.outcome == n for e in found.effects)]
    table = {(e.comparison.name, e.outcome): e for e in found.effects}
    shown = dict.fromkeys(e.comparison for e in found.effects if e.contrast.n)
    body = [
        [
            _name(comparison.name, comparison.untrained),
            *(_difference(table.get((comparison.name, name))) for name in names),
        ]
        for comparison in shown
    ]
    pairs = [e.contrast.n for e in found.effects if e.contrast.n]
    if not pairs:
        return ""
    most, fewest = max(pairs), min(pairs)
    n = str(most) if most == fewest else f"{fewest} to {most}"
    family = max((c.family for c in found.claims.values()), default=0)
    caption = (
        f"Differences in percentage points, paired by seed (n = {n}), with 95 % intervals over "
        "seeds and test clips where outcomes per clip were kept, else over seeds. "
    )
    marks = f"{MARKS['holds']} holds after Holm's correction over {family} tests; "
    marks += f"{MARKS['suggestive']} suggestive: its own interval excludes 0, the corrected test "
    marks += "does not; unmarked: not resolved"
    described = [name for name in names if name not in evidence.headline]
    if described:
        marks += f", or described and not judged ({escaped(', '.join(described))})"
    end = f". {_meanings(evidence, names)}"
    if any(e.comparison.untrained for e in found.effects):
        end += " † a run of either side did not train."
    return _table(
        columns=["Comparison", *names],
        rows=body,
        caption=f"{escaped(caption)}{marks}{escaped(end)}",
        label=_label(evidence, "comparisons"),
    )


def _difference(effect: Effect | None) -> str:
    """`$+29.0$ $[24.1, 33.9]$` with the mark of its grade."""
    if effect is None or not effect.contrast.n:
        return "--"
    mean = escaped(signed(effect.contrast.mean))
    mark = "" if effect.claim is None or effect.disagrees else MARKS[effect.claim.grade]
    low, high = (escaped(number(v)) for v in (effect.low, effect.high))
    interval = "" if "--" in (low, high) else f" [{low}, {high}]"
    return f"{mean}{mark}{interval}"


# ----------------------------------------------------------------------------------------- TeX


def escaped(text: str) -> str:
    """Text as TeX prints it."""
    return re.sub("|".join(map(re.escape, _ESCAPES)), lambda found: _ESCAPES[found[0]], text)


def _name(text: str, untrained: object = ()) -> str:
    """A name in the first column: a bracket behind a line's end would be its argument."""
    shown = escaped(text.replace("all - ", f"all {MINUS} ") + (" †" if untrained else ""))
    return f"{{{shown}}}" if shown[:1] in {"[", "*"} else shown


def _label(evidence: Evidence, what: str) -> str:
    name = str(evidence.study.get("name") or evidence.folder.name)
    return f"tab:{re.sub(r'[^A-Za-z0-9]+', '-', name)}-{what}"


def _meanings(evidence: Evidence, names: Sequence[str]) -> str:
    """What each outcome is a mean over."""
    over = {n: ", ".join(evidence.outcomes[n]) for n in names}
    return " ".join(f"{n}: mean over {text}." for n, text in over.items() if text != n)


def _table(
    *, columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str, label: str
) -> str:
    """One floating table; ``rows``, ``caption`` and ``label`` are TeX already."""
    if not rows:
        return ""
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "  \\centering",
        f"  \\caption{{{caption}}}",
        f"  \\label{{{label}}}",
        f"  \\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
        "    \\toprule",
        f"    {' & '.join(map(escaped, columns))} \\\\",
        "    \\midrule",
        *(f"    {' & '.join(row)} \\\\" for row in rows),
        "    \\bottomrule",
        "  \\end{tabular}",
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"

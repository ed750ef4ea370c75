"""Planted controls: what destroying the order of frames costs a model that should need it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweep.records.condition import ORDER_CONTROLS
from sweep.report.page import bracket, number, signed
from sweep.statistics.contrasts import Contrast, paired_contrast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweep.report.evidence import Evidence
    from sweep.report.findings import Findings

#: Accuracy that shuffled frames must cost for the control to count as passed, in points.
CONTROL_DROP = 5.0


@dataclass(frozen=True, kw_only=True)
class Control:
    """A planted control: accuracy on order-destroyed clips against clean ones."""

    name: str
    clean: float
    destroyed: float
    drop: Contrast
    worst_cell: str
    worst_drop: float


def find(evidence: Evidence) -> list[Control]:
    """Frame shuffle and reversal where they were tested, mean over cells paired by seed."""
    found = []
    for name in ORDER_CONTROLS:
        conditions = evidence.perturbations.get(name, [])
        cells = [c for c in evidence.finished if c.values(conditions)] if conditions else []
        if not cells:
            continue
        clean: dict[int, list[float]] = {}
        destroyed: dict[int, list[float]] = {}
        drops: dict[str, float] = {}
        for cell in cells:
            before, after = cell.values(["clean"]), cell.values(conditions)
            shared = sorted(set(before) & set(after))
            for seed in shared:
                clean.setdefault(seed, []).append(before[seed])
                destroyed.setdefault(seed, []).append(after[seed])
            if shared:
                drops[cell.name] = float(np.mean([before[s] - after[s] for s in shared]))
        if not drops:
            continue
        left = {seed: float(np.mean(v)) for seed, v in clean.items()}
        right = {seed: float(np.mean(v)) for seed, v in destroyed.items()}
        worst = min(drops, key=lambda n: drops[n])
        found.append(
            Control(
                name=name,
                clean=float(np.mean([*left.values()])),
                destroyed=float(np.mean([*right.values()])),
                drop=paired_contrast(left, right),
                worst_cell=worst,
                worst_drop=drops[worst],
            )
        )
    return found


def sentences(findings: Findings, controls: Sequence[Control]) -> list[str]:
    """Whether the models need the order of frames: what order-destroying controls cost."""
    if not controls:
        return []
    parts = []
    large, sure = True, True
    for control in controls:
        drop = control.drop
        spread = bracket(-drop.high, -drop.low)
        parts.append(
            f"{control.name} {number(control.clean)} → {number(control.destroyed)} % "
            f"({signed(-drop.mean)} points{f' {spread}' if spread else ''})"
        )
        if control.name == "frame_shuffle":
            large, sure = drop.mean >= CONTROL_DROP, not drop.low <= 0
    text = f"Planted control, mean over cells: {'; '.join(parts)}."
    if large and sure:
        return [f"**The models use the order of frames.** {text}"]
    if large:
        return [
            "**The models seem to use the order of frames**, which these seeds do not resolve. "
            + text
        ]
    return [
        f"**The order control failed: destroying the order hardly costs accuracy.** {text} "
        "Outcomes on temporal perturbations say little here."
    ]

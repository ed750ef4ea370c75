"""Sweeps without runs: outcomes of cells under no effect or a planted one, for calibration."""

from __future__ import annotations

import itertools

import numpy as np

from sweep.statistics.claims import candidate, grades
from sweep.statistics.contrasts import paired_contrast
from sweep.statistics.failures import among_trained

LOSSES = "abcd"
#: Accuracy of the headline outcomes in percent, as in the review that found the old rates.
LEVELS = {"clean": 76.0, "ood": 62.0, "noise": 48.0, "temporal": 60.0}


def loo(combiner=""):
    full = (LOSSES, combiner)
    rows = {f"{n}{combiner}": ([full], [(LOSSES.replace(n, ""), combiner)]) for n in LOSSES}
    return rows | {f"whole{combiner}": ([full], [("", "")])}


def loo_aoi():
    alone = {f"{n} alone": ([(n, "")], [("", "")]) for n in LOSSES}
    return loo() | alone


def two_combiners():
    sets = [LOSSES, *(LOSSES.replace(n, "") for n in LOSSES)]
    between = {f"one/two on {s}": ([(s, "1")], [(s, "2")]) for s in sets}
    return loo("1") | loo("2") | between


def factorial():
    sets = ["".join(s) for k in range(5) for s in itertools.combinations(LOSSES, k)]
    rows = {
        n: ([(s, "") for s in sets if n in s], [(s, "") for s in sets if n not in s])
        for n in LOSSES
    }
    for one, two in itertools.combinations(LOSSES, 2):
        same = [(s, "") for s in sets if (one in s) == (two in s)]
        rows[f"{one} x {two}"] = (same, [(s, "") for s in sets if (s, "") not in same])
    return rows | {"whole": ([(LOSSES, "")], [("", "")])}


DESIGNS = {
    "loo": loo,
    "loo+aoi": loo_aoi,
    "two combiners": two_combiners,
    "factorial": factorial,
}


def noise(rng, kind, size):
    """Mean 0, SD 1."""
    if kind == "skewed":
        return rng.exponential(size=size) - 1
    if kind == "heavy":
        return rng.standard_t(3, size=size) / np.sqrt(3)
    return rng.normal(size=size)


def outcomes(rng, cells, seeds, *, kind="normal", clips=240, effects=None, failing=None):
    """Outcome -> cell -> seed -> accuracy, and the (cell, seed) that did not train.

    Args:
        rng: Generator.
        cells: Names.
        seeds: Their number.
        kind: Of the noise: `normal`, `skewed`, `heavy`, `discrete` (answers on 40 clips).
        clips: Test clips; 0 leaves out the chance of answers.
        effects: (outcome, cell) -> points.
        failing: Cell -> probability that a run of it loses 40 points.
    """
    clips = 40 if kind == "discrete" else clips
    run = 3 * noise(rng, kind, (len(cells), seeds))
    lost = np.array(
        [[rng.random() < (failing or {}).get(c, 0) for _ in range(seeds)] for c in cells]
    )
    found = {}
    for name, level in LEVELS.items():
        planted = np.array([(effects or {}).get((name, c), 0.0) for c in cells])[:, None]
        value = level + planted + run + 2 * noise(rng, kind, run.shape)
        value = np.where(lost, value - 40, value)
        if clips:
            value = 100 * rng.binomial(clips, np.clip(value / 100, 0, 1)) / clips
        found[name] = {c: dict(enumerate(row)) for c, row in zip(cells, value, strict=True)}
    failed = {(c, s) for c, row in zip(cells, lost, strict=True) for s in np.flatnonzero(row)}
    return found, failed


def report(rng, design, seeds, *, primary=None, **kwargs):
    """Contrasts and claims of one report, in the same order."""
    rows = DESIGNS[design]()
    cells = sorted({c for sides in rows.values() for side in sides for c in side})
    values, failed = outcomes(rng, cells, seeds, **kwargs)
    contrasts, candidates = [], []
    for outcome, table in values.items():
        for name, sides in rows.items():
            treated, reference = (
                {s: float(np.mean([table[c][s] for c in side])) for s in range(seeds)}
                for side in sides
            )
            contrast = paired_contrast(treated, reference)
            lost = {s for c, s in failed if c in sides[0] or c in sides[1]}
            contrasts.append(contrast)
            candidates.append(
                candidate(name, outcome, contrast, trained=among_trained(contrast, lost))
            )
    return contrasts, grades(candidates, primary=primary)


def bound(share, n):
    """Three standard errors of a simulated share."""
    return 3 * np.sqrt(share * (1 - share) / n)

"""Sweeps of loss sets as records in memory, from a model with known effects: for error rates."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from sweep.records.record import Score, TrialRecord
from sweep.report import build as building
from sweep.report.evidence import Cell, Evidence
from tests.statistics.simulate import noise

#: Conditions of the outcome `stress`.
STRESSED = ("jumbling/1", "jumbling/3", "freezing/3")


def evidence_of(values, *, kind, losses, untrained=(), clips=240, diversity=None, design=None):
    """A finished sweep.

    Args:
        values: (loss set, combiner) -> seed -> condition -> accuracy in percent.
        kind: Of the design.
        losses: Of the study.
        untrained: (loss set, combiner, seed) of runs that did not train.
        clips: Tested per condition.
        diversity: Loss set -> section `diversity` of its records.
        design: Further settings of the design.
    """
    cells = []
    for (subset, combiner), by_seed in values.items():
        records = {
            seed: TrialRecord(
                key=f"{'+'.join(subset)}/{combiner}/{seed}", label="+".join(subset) or "none",
                status="done", seed=seed, losses=subset, combiner=combiner, config={},
                scores=tuple(
                    Score(condition=name, category="clean" if name == "clean" else "temporal",
                          clips=clips, metrics={"top1": value})
                    for name, value in scores.items()
                ),
                final={"trained": (subset, combiner, seed) not in untrained},
                diversity=(diversity or {}).get(subset, {}),
            )
            for seed, scores in by_seed.items()
        }  # fmt: skip
        cells.append(
            Cell(
                name=f"{'+'.join(subset) or 'none'} [{combiner}]", losses=subset, combiner=combiner,
                weights=dict.fromkeys(subset, 1.0), records=records,
                keys={seed: record.key for seed, record in records.items()},
            )
        )  # fmt: skip
    study = {
        "design": {"kind": kind, **(design or {})},
        "losses": {name: {} for name in losses},
        "outcomes": {"clean": ["clean"], "stress": ["jumbling/*", "freezing/*"]},
        "headline": ["stress", "clean"],
    }
    return Evidence(
        folder=Path(), study=study, plan={}, environment={}, cells=tuple(cells), failures=(),
        missing=(),
    )  # fmt: skip


def accuracies(
    rng, gain, *, kind="normal", seeds=1, clips=240, beyond=0.0, set_sd=6.0, seed_sd=5.0,
    steady=0.15, wobble=0.1,
):  # fmt: skip
    """Seed -> condition -> accuracy of one set.

    Clean accuracy is 70 + ``gain``; under stress the log odds are 1 lower, and higher by
    ``beyond``. Noise of the set is shared by its seeds.

    Args:
        rng: Generator.
        gain: Points.
        kind: Of the noise: `normal`, `heavy`, `skewed`, or `discrete` (answers on 40 clips).
        seeds: Number of runs.
        clips: Answers per condition; 0 leaves out the chance of answers.
        beyond: Log odds under stress beyond ability.
        set_sd: Of what the set adds of its own, in points.
        seed_sd: Of what each run adds, in points.
        steady: Of what the set adds to ``beyond``.
        wobble: Of what each run and condition adds to it.
    """
    clips = 40 if kind == "discrete" else clips
    own = set_sd * float(noise(rng, kind, ()))
    kept = steady * float(noise(rng, kind, ()))
    found = {}
    for seed in range(seeds):
        clean = np.clip(70 + gain + own + seed_sd * float(noise(rng, kind, ())), 2, 98) / 100
        odds = np.log(clean / (1 - clean)) - 1 + beyond + kept
        odds = odds + wobble * noise(rng, kind, (len(STRESSED),))
        share = np.array([clean, *(1 / (1 + np.exp(-odds)))])
        if clips:
            share = rng.binomial(clips, share) / clips
        found[seed] = dict(zip(("clean", *STRESSED), (100 * share).tolist(), strict=True))
    return found


def sets_of(losses, counts, each, rng):
    """Loss sets: `each` of every number, or all there are."""
    found = []
    for k in counts:
        every = list(itertools.combinations(losses, k))
        chosen = rng.choice(len(every), min(each, len(every)), replace=False)
        found += [every[i] for i in sorted(chosen)]
    return found


def found_in(evidence):
    """Findings of a sweep with all claims graded; nothing is drawn."""
    return building._findings(evidence, lambda *_: "<svg/>")


def answer_of(evidence):
    """The sentences of its answer."""
    return building._answer(found_in(evidence))

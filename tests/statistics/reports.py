"""Whole reports of built-in studies without a run: made-up records, real plans, real sentences.

Every run has a level of its own that all its outcomes share (SD 3 points) and noise per outcome (SD
2); every test clip is as hard in all runs. Nothing depends on the losses unless it is planted.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from scipy import stats

from losses.diversity import set_measures
from sweep.cells.resolve import cells
from sweep.data.catalogue import DATASETS
from sweep.evaluation.conditions import TestPlan
from sweep.records.outcomes import Outcomes
from sweep.records.patterns import matching
from sweep.records.record import Score, TrialRecord
from sweep.report import build
from sweep.report.evidence import Cell, Evidence
from sweep.studies.load import load_study
from tests.statistics.simulate import noise

#: Accuracy in percent, as in the review that found the old rates.
LEVELS = {"clean": 76.0, "ood": 62.0, "noise": 48.0, "temporal": 60.0}
RUN_SD, OWN_SD = 3.0, 2.0
#: Share of the variance of a clip's answer that is the clip's own difficulty.
CLIP_SHARE = 0.4
CLIPS = 240


class Reports:
    """Reports of one study."""

    def __init__(self, name, overrides=()):
        self.study = load_study(name, overrides=overrides)
        self.content = json.loads(self.study.model_dump_json())
        self.trials = cells(self.study)
        spec = DATASETS[self.study.data.dataset]
        rows = TestPlan.of(self.study.evaluate, spec.shifts, ("video",), CLIPS).rows
        named = {row.name: row for row in rows}
        self.outcome_of = {}
        for outcome, patterns in self.study.outcomes.items():
            for condition in matching(list(named), patterns)[:2]:
                self.outcome_of[condition] = outcome
        self.conditions = [named[name] for name in self.outcome_of]

    def evidence(self, rng, *, kind="normal", planted=None, failing=()):
        """A finished sweep.

        Args:
            rng: Source of chance.
            kind: Of the noise of runs: `normal`, `skewed`, `heavy`, `discrete`.
            planted: (losses, outcome) -> points.
            failing: Labels of cells whose runs do not train with a probability of .15.
        """
        hard = {c.clips: rng.normal(size=CLIPS) for c in self.conditions}
        groups, tables = {}, {}
        for trial in self.trials:
            level = RUN_SD * noise(rng, kind, ())
            failed = trial.label in failing and rng.random() < 0.15
            own = {outcome: OWN_SD * noise(rng, kind, ()) for outcome in self.study.outcomes}
            right, scores = {}, []
            for condition in self.conditions:
                outcome = self.outcome_of[condition.name]
                points = LEVELS[outcome] + level + own[outcome]
                if planted is not None:
                    points += planted(tuple(trial.losses), outcome)
                points = 15.0 if failed else points
                threshold = stats.norm.ppf(np.clip(points, 0.5, 99.5) / 100)
                drawn = np.sqrt(CLIP_SHARE) * hard[condition.clips]
                drawn = drawn + np.sqrt(1 - CLIP_SHARE) * rng.normal(size=CLIPS)
                right[condition.name] = drawn < threshold
                scores.append(
                    Score(
                        condition=condition.name,
                        clips=CLIPS,
                        metrics={"top1": 100 * float(right[condition.name].mean())},
                        category=condition.category,
                        clip_set=condition.clips,
                    )
                )
            tables[trial.key] = Outcomes(
                ids={name: tuple(map(str, range(CLIPS))) for name in hard},
                clip_sets={c.name: c.clips for c in self.conditions},
                values={"top1": right},
            )
            weights = {name: loss.weight for name, loss in trial.losses.items()}
            record = TrialRecord(
                key=trial.key,
                label=trial.label,
                status="done",
                task="classification",
                seed=trial.seed,
                losses=tuple(trial.losses),
                combiner=trial.combiner.name,
                config={},
                scores=tuple(scores),
                final={"cross_entropy": 0.5, "trained": not failed},
                weights={"cross_entropy": 1.0, **weights},
                diversity={"set": set_measures(sorted(weights), weights)} if weights else {},
            )
            groups.setdefault(trial.label, []).append(record)
        made = Evidence(
            folder=Path("simulated"),
            study=self.content,
            plan={},
            environment={},
            cells=tuple(_cell(records) for records in groups.values()),
            failures=(),
            missing=(),
        )
        made._tables.update(tables)
        return made


def _cell(records):
    first = records[0]
    return Cell(
        name=first.label,
        losses=first.losses,
        combiner=first.combiner,
        weights={n: first.weights[n] for n in first.losses},
        records={r.seed: r for r in records},
        keys={r.seed: r.key for r in records},
    )


def found(evidence):
    """What the report of a sweep finds, nothing drawn."""
    return build._findings(evidence, lambda *_: "")


def answer(findings):
    """Its answer."""
    return build._answer(findings)


def claims(findings):
    """Names of what holds."""
    return [at for at, claim in findings.claims.items() if claim.grade == "holds"]

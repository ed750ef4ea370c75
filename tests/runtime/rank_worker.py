"""One rank of a data-parallel trial, for test_ranks.py; with one rank also the reference.

usage: python rank_worker.py FOLDER RANK RANKS

FOLDER/cases.json: name -> overrides of the quickstart study, trained in float64 without evaluation;
the case `trial` runs as a whole, as users run it. Writes FOLDER/<ranks>-<rank>.pt.
"""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from sweep.cells.resolve import cells
from sweep.runtime import ranks
from sweep.studies.load import load_study
from sweep.training import angles
from sweep.training.finetune import finetune
from sweep.trial import run_trial
from tests.assembled import assembled


class DoubleBatches:
    """Batches of a trial in float64, so that a difference is no matter of rounding."""

    def __init__(self, batches):
        self.batches = batches
        self.seed, self.device = batches.seed, batches.device
        self.warnings = batches.warnings

    def __call__(self, step):
        found = self.batches(step)
        return {n: v.double() if v.is_floating_point() else v for n, v in found.items()}


def train(config, folder):
    made = assembled(config)
    learner, combiner = made.learner, made.combiner
    learner.double()
    history = finetune(
        learner,
        combiner,
        DoubleBatches(made.batches),
        config.train,
        checkpoint=folder / "checkpoint",
        meta=made.meta,
        holdout=None if made.judged_by is None else DoubleBatches(made.judged_by),
    ).history
    return {
        "history": history,
        "learner": learner.state_dict(),
        "combiner": combiner.state_dict(),
    }


def main(folder, rank, count):
    torch.set_num_threads(1)
    angles.ANGLE_BATCHES = 1  # each costs as much as a step
    group = contextlib.nullcontext()
    if count > 1:
        group = ranks.group("gloo", f"file://{folder}/rendezvous", rank=rank, ranks=count)
    found = {}
    with group:
        for name, overrides in json.loads((folder / "cases.json").read_text()).items():
            config = next(
                c for c in cells(load_study("quickstart", overrides=overrides)) if c.label == "all"
            )
            scratch = folder / f"{count}" / name
            if name == "trial":
                result = run_trial(config, scratch=scratch, reraise=True)
                found[name] = {
                    "record": result.record.to_json(),
                    "history": result.history,
                    "outcomes": asdict(result.outcomes),
                }
            else:
                found[name] = train(config, scratch)
    torch.save(found, folder / f"{count}-{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

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
from sweep.data.prepare import prepare
from sweep.runtime import ranks
from sweep.studies.load import load_study
from sweep.training import angles
from sweep.training.assembly import build_combiner
from sweep.training.finetune import finetune
from sweep.trial import _Run, run_trial

angles.ANGLE_BATCHES = 1  # each costs as much as a step


class DoubleBatches:
    """Batches of a trial in float64, so that a difference is no matter of rounding."""

    def __init__(self, batches):
        self.batches = batches
        self.seed, self.device = batches.seed, batches.device

    def __call__(self, step):
        found = self.batches(step)
        return {n: v.double() if v.is_floating_point() else v for n, v in found.items()}


def train(config, folder):
    run = _Run(config, folder, None, torch.device("cpu"))
    learner, batches = run._learner(prepare(config.data))
    learner.double()
    combiner, meta = build_combiner(config, learner.names)
    history = finetune(
        learner,
        combiner,
        DoubleBatches(batches),
        config.train,
        checkpoint=folder / "checkpoint",
        meta=meta,
        holdout=None if run.holdout is None else DoubleBatches(run.holdout),
    ).history
    return {
        "history": history,
        "learner": learner.state_dict(),
        "combiner": combiner.state_dict(),
    }


def main(folder, rank, count):
    torch.set_num_threads(1)
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

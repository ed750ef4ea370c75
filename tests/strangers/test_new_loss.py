"""A new loss is one file and one row: written while the program runs, then swept for real."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest

import sweep.trial  # noqa: F401 - whoever reads the table is imported before it is exchanged
from losses.catalogue import LOSSES, index_by_name
from sweep.engine.run import run_study
from sweep.records.files import read_history, read_records
from sweep.settings.section import ConfigError
from sweep.studies.load import load_study

FILE = '''
"""Features of a clip stay short."""

def short_features(*, video, length=1.0):
    return (video.norm(dim=-1) - length).pow(2).mean()
'''
STUDY = """
name: new-loss
title: Does a loss of one file pay?
question: Does it?
design: {kind: loo+aoi}
losses: {short_features: {weight: .1, knobs: {length: 2.0}}, consistency: {}}
seeds: 1
data: {dataset: motes-ssv2, seed: 11, train_per_class: 4, val_per_class: 2, labelled_per_class: 2}
train: {steps: 4, batch: 6, warmup: 0, log_every: 1}
evaluate: {profile: null, conditions: {gaussian_noise: [3]}, temporal_checks: false, shifts: []}
outcomes: {clean: [clean]}
track: {wandb: disabled}
"""


@pytest.fixture
def new_loss(tmp_path, monkeypatch):
    """One file on the path and one row in the table, wherever the table is known."""
    (tmp_path / "one_file.py").write_text(FILE)
    monkeypatch.syspath_prepend(tmp_path)
    row = dataclasses.replace(
        LOSSES["consistency"],
        name="short_features",
        family="distribution",
        needs=frozenset({"video"}),
        detached=frozenset(),
        knobs={"length": 1.0},
        target="one_file:short_features",
    )
    table = index_by_name([*LOSSES.values(), row])
    for module in [m for m in sys.modules.values() if getattr(m, "LOSSES", None) is LOSSES]:
        monkeypatch.setattr(module, "LOSSES", table)
    yield
    sys.modules.pop("one_file", None)


def test_a_loss_of_one_file_and_one_row_is_swept(new_loss, tmp_path):
    study = tmp_path / "study.yaml"
    study.write_text(STUDY)
    out = tmp_path / "sweep"
    summary = run_study(load_study(str(study)), out=out, engine="local", report=False)
    assert (summary.code, summary.done, summary.failed) == (0, 4, 0)
    records = {record.label: record for record in read_records(out)}
    alone = records["all - consistency"]
    assert alone.losses == ("short_features",)
    assert alone.config["losses"]["short_features"]["knobs"] == {"length": 2.0}
    assert set(records["all"].weights) == {"classification", "consistency", "short_features"}
    rows = read_history(out / "cells" / alone.key)
    assert np.isfinite([row["losses"]["short_features"] for row in rows]).all()
    # it is trained on: after the first step the models with and without it differ
    other = read_history(out / "cells" / records["none"].key)
    assert rows[-1]["losses"]["classification"] != other[-1]["losses"]["classification"]


def test_a_knob_of_the_new_loss_is_checked(new_loss, tmp_path):
    study = tmp_path / "study.yaml"
    study.write_text(STUDY.replace("length:", "lenght:"))
    with pytest.raises(ConfigError, match=r"unknown knob 'lenght'; did you mean 'length'"):
        load_study(str(study))

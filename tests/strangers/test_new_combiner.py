"""A new combiner is one file and one row: written while the program runs, then swept for real."""

from __future__ import annotations

import numpy as np
import pytest

from losses.combine.catalogue import COMBINERS, CombinerSpec
from sweep.engine.run import run_study
from sweep.records.files import read_history, read_records
from sweep.settings.section import ConfigError
from sweep.studies.load import load_study

FILE = '''
"""The largest of the weighted losses counts more than the others."""

import torch
from torch import nn


class SoftMaximum(nn.Module):
    def __init__(self, *, names, primary, weights=None, sharpness=1.0):
        super().__init__()
        self.names, self.primary, self.sharpness = tuple(names), primary, sharpness

    def forward(self, losses, *, present=None):
        return torch.logsumexp(self.sharpness * losses, 0) / self.sharpness
'''


@pytest.fixture
def new_combiner(write, add_row):
    write("one_combiner", FILE)
    row = CombinerSpec(
        name="soft_maximum",
        knobs={"sharpness": 1.0},
        learned=False,
        meta=False,
        source="a test",
        target="one_combiner:SoftMaximum",
        description="the largest loss counts most",
    )
    add_row("COMBINERS", COMBINERS, row)


def test_a_combiner_of_one_file_and_one_row_is_swept(new_combiner, study_file, tmp_path):
    study = load_study(study_file(combiners="{static: {}, soft_maximum: {sharpness: 2.0}}"))
    summary = run_study(study, out=tmp_path / "sweep", engine="local")
    assert (summary.code, summary.done, summary.failed) == (0, 3, 0)
    records = {r.combiner: r for r in read_records(tmp_path / "sweep") if r.losses}
    found = records["soft_maximum"]
    assert found.config["combiner"]["knobs"] == {"sharpness": 2.0}
    rows = read_history(tmp_path / "sweep" / "cells" / found.key)
    slopes = np.array([list(row["slopes"].values()) for row in rows])
    losses = np.array([list(row["losses"].values()) for row in rows])
    shares = np.exp(2 * losses) / np.exp(2 * losses).sum(1, keepdims=True)
    assert slopes == pytest.approx(shares, abs=1e-4)


def test_its_knobs_are_checked(new_combiner, study_file):
    with pytest.raises(ConfigError, match=r"unknown knob 'sharpnes'; did you mean 'sharpness'"):
        load_study(study_file(combiners="{soft_maximum: {sharpnes: 2.0}}"))

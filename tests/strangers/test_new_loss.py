"""A new loss is one file and one row: written while the program runs, then swept for real."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from losses.catalogue import LOSSES
from sweep.engine.run import run_study
from sweep.records.files import read_history, read_records
from sweep.settings.section import ConfigError
from sweep.studies.load import load_study

FILE = '''
"""Features of a clip stay short."""

def short_features(*, video, length=1.0):
    return (video.norm(dim=-1) - length).pow(2).mean()
'''
LOSSES_SAID = "{short_features: {weight: .1, knobs: {length: 2.0}}, consistency: {}}"


@pytest.fixture
def new_loss(write, add_row):
    write("one_file", FILE)
    row = dataclasses.replace(
        LOSSES["consistency"],
        name="short_features",
        family="distribution",
        needs=frozenset({"video"}),
        detached=frozenset(),
        knobs={"length": 1.0},
        target="one_file:short_features",
    )
    add_row("LOSSES", LOSSES, row)


def test_a_loss_of_one_file_and_one_row_is_swept(new_loss, study_file, tmp_path):
    out = tmp_path / "sweep"
    study = load_study(study_file(design="{kind: loo+aoi}", losses=LOSSES_SAID))
    summary = run_study(study, out=out, engine="local")
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


def test_a_knob_of_the_new_loss_is_checked(new_loss, study_file):
    with pytest.raises(ConfigError, match=r"unknown knob 'lenght'; did you mean 'length'"):
        load_study(study_file(losses=LOSSES_SAID.replace("length:", "lenght:")))

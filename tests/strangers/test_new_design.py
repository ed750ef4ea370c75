"""A new design is one function and one row: written while the program runs, then swept."""

from __future__ import annotations

import importlib

import pytest

from sweep.cells.designs.catalogue import DESIGNS, Design
from sweep.engine.run import run_study
from sweep.records.files import read_records
from sweep.settings.section import ConfigError
from sweep.studies.load import load_study

FILE = '''
"""Losses join one after the other, in the order of their names."""


def one_by_one(names, settings):
    if len(names) < 2:
        raise ValueError(f"needs two losses or more, given {len(names)}")
    return {f"first {k}": names[:k] for k in range(1, len(names))}
'''


@pytest.fixture
def new_design(write, add_row):
    write("one_design", FILE)
    row = Design(
        name="one_by_one",
        sets=importlib.import_module("one_design").one_by_one,
        estimates="What each loss adds to those before it.",
        compares=("cell",),
    )
    add_row("DESIGNS", DESIGNS, row)


def test_a_design_of_one_function_and_one_row_is_swept(new_design, study_file, tmp_path):
    losses = "{consistency: {}, infonce: {}, pixel: {}}"
    study = load_study(study_file(design="{kind: one_by_one}", losses=losses))
    summary = run_study(study, out=tmp_path / "sweep", engine="local")
    assert (summary.code, summary.done, summary.failed) == (0, 4, 0)
    sets = {record.label: record.losses for record in read_records(tmp_path / "sweep")}
    assert sets == {
        "none": (),
        "first 1": ("consistency",),
        "first 2": ("consistency", "infonce"),
        "all": ("consistency", "infonce", "pixel"),
    }


def test_losses_that_do_not_fit_are_refused(new_design, study_file, tmp_path):
    study = load_study(study_file(design="{kind: one_by_one}"))
    with pytest.raises(ConfigError, match="needs two losses or more, given 1"):
        run_study(study, out=tmp_path / "sweep", engine="local")
    assert not (tmp_path / "sweep").exists()

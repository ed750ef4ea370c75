"""A new probe is one class and one row: written while the program runs, then swept for real."""

from __future__ import annotations

import dataclasses
import sys

import pytest

import sweep.studies.checks
import sweep.tasks.probing
import sweep.trial  # noqa: F401 - whoever reads the table is imported before it is exchanged
from losses.catalogue import index_by_name
from sweep.commands.reporting import reported
from sweep.engine.run import run_study
from sweep.evaluation.probes import PROBES
from sweep.records.files import read_records
from sweep.settings.section import ConfigError

FILE = '''
"""The class whose mean feature is nearest."""

import numpy as np


class NearestMean:
    def fit(self, features, labels, groups, seed):
        means = np.stack([features[labels == k].mean(0) for k in range(labels.max() + 1)])
        return lambda shown: -((shown[:, None] - means) ** 2).sum(-1)
'''
OVERRIDES = (
    "evaluate.task=probing", "evaluate.probe=nearest_mean", "seeds=1", "name=new-probe",
    "losses.pixel=null", "losses.frame_difference=null", "losses.infonce=null",
    "track.wandb=disabled",
)  # fmt: skip


@pytest.fixture
def new_probe(tmp_path, monkeypatch):
    """One file on the path and one row in the table, wherever the table is known."""
    (tmp_path / "probe_file.py").write_text(FILE)
    monkeypatch.syspath_prepend(tmp_path)
    row = dataclasses.replace(
        PROBES["linear"], name="nearest_mean", target="probe_file:NearestMean"
    )
    table = index_by_name([*PROBES.values(), row])
    for module in [m for m in sys.modules.values() if getattr(m, "PROBES", None) is PROBES]:
        monkeypatch.setattr(module, "PROBES", table)
    yield
    sys.modules.pop("probe_file", None)


def test_a_probe_of_one_class_and_one_row_is_swept_and_reported(
    new_probe, small, tmp_path, undrawn
):
    study = small(*OVERRIDES)
    summary = reported(run_study(study, out=tmp_path / "s", engine="local"))
    assert (summary.code, summary.failed) == (0, 0)
    records = read_records(tmp_path / "s")
    assert {record.task for record in records} == {"probing"}
    assert all(record.config["evaluate"]["probe"] == "nearest_mean" for record in records)
    assert (
        "Top-1 accuracy of a probe in percent"
        in (tmp_path / "s" / "report" / "report.md").read_text()
    )


def test_its_name_is_checked(new_probe, small):
    with pytest.raises(ConfigError, match=r"unknown probe 'nearest'; did you mean 'nearest_mean'"):
        small(*OVERRIDES, "evaluate.probe=nearest")

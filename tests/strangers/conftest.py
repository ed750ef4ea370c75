"""What a stranger does: one file on the path and one row in a table, then a sweep of it."""

from __future__ import annotations

import sys
from types import MappingProxyType

import pytest

import sweep.trial  # noqa: F401 - whoever reads a table is imported before it is exchanged

#: A study that passes through every phase in seconds; `{...}` are filled in by a test.
STUDY = """
name: stranger
title: Does it work?
question: Does it?
design: {design}
losses: {losses}
combiners: {combiners}
seeds: 1
data: {{dataset: motes-ssv2, seed: 11, train_per_class: 4, val_per_class: 2, labelled_per_class: 2}}
train: {{steps: 4, batch: 6, warmup: 0, log_every: 1}}
evaluate: {{profile: null, conditions: {conditions}, temporal_checks: false, shifts: []}}
outcomes: {outcomes}
track: {{wandb: disabled}}
"""
PARTS = {
    "design": "{kind: anchors}",
    "losses": "{consistency: {}}",
    "combiners": "{static: {}}",
    "conditions": "{gaussian_noise: [3]}",
    "outcomes": "{clean: [clean]}",
}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """``write("one_file", text)``: a module that can be imported, gone after the test."""
    monkeypatch.syspath_prepend(tmp_path)
    written = []

    def module(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text)
        written.append(name)

    yield module
    for name in written:
        sys.modules.pop(name, None)


@pytest.fixture
def add_row(monkeypatch):
    """``add_row("LOSSES", table, row)``: the table with one more row, wherever it is known."""

    def add(name: str, table, row) -> None:
        grown = MappingProxyType({**table, row.name: row})
        for module in list(sys.modules.values()):
            if getattr(module, name, None) is table:
                monkeypatch.setattr(module, name, grown)

    return add


@pytest.fixture
def study_file(tmp_path):
    """``study_file(conditions="{...}")``: the path of a small study."""

    def make(**parts: str) -> str:
        path = tmp_path / "study.yaml"
        path.write_text(STUDY.format(**(PARTS | parts)))
        return str(path)

    return make

"""Whoever ran a study writes its report; the engine does not know that there are reports."""

import logging
from types import SimpleNamespace

import pytest

from sweep.commands import study
from sweep.commands.reporting import reported
from sweep.engine.summary import Summary


@pytest.fixture
def built(monkeypatch, tmp_path):
    """Folders for which a report was asked."""
    folders = []

    def build(folder):
        folders.append(folder)
        if folder.name == "broken":
            raise RuntimeError("no records here")
        return SimpleNamespace(html=folder / "report.html", answer=("It pays.",))

    monkeypatch.setattr("sweep.report.build.build", build)
    return folders


def test_a_study_that_ended_is_reported_with_its_answer(built, tmp_path, capsys):
    assert study.finish(Summary(code=1, sweep=tmp_path, planned=2, done=1, failed=1)) == 1
    assert built == [tmp_path]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "It pays."
    assert lines[-2] == f"report: {tmp_path / 'report.html'}"
    assert lines[-1] == f"SWEEP_STATUS={tmp_path} done=1 failed=1 reused=0"


def test_a_sweep_that_was_cut_short_leaves_at_once(built, tmp_path):
    summary = Summary(code=143, sweep=tmp_path, is_cut_short=True)
    assert reported(summary) is summary
    assert built == []


def test_a_report_that_fails_costs_no_result(built, tmp_path, caplog):
    summary = Summary(code=0, sweep=tmp_path / "broken", done=3)
    with caplog.at_level(logging.WARNING):
        assert reported(summary) == summary
    assert "the report failed: RuntimeError: no records here" in caplog.text

"""Whoever ran a study writes its report; the engine does not know that there are reports."""

import logging
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from sweep.commands import status, study
from sweep.commands.reporting import reported
from sweep.engine.summary import Summary
from sweep.records.files import read_records
from sweep.report.build import answer_text

STORED = Path(__file__).parents[1] / "frozen" / "sweeps" / "classification"


@pytest.fixture
def built(monkeypatch, tmp_path):
    """Folders for which a report was asked."""
    folders = []

    def build(folder, command=None):
        folders.append(folder)
        if folder.name == "broken":
            raise RuntimeError("no records here")
        warnings, answer = ("Did not train: none.",), ("It pays.",)
        return SimpleNamespace(html=folder / "report.html", answer=answer, warnings=warnings)

    monkeypatch.setattr("sweep.report.build.build", build)
    return folders


def test_a_study_that_ended_is_reported_with_its_answer(built, tmp_path, capsys):
    assert study.finish(Summary(code=1, sweep=tmp_path, planned=2, done=1, failed=1)) == 1
    assert built == [tmp_path]
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["- Did not train: none.", "- It pays."]
    assert lines[-2] == f"report: {tmp_path / 'report.html'}"
    assert lines[-1] == f"SWEEP_STATUS={tmp_path} done=1 failed=1 reused=0"


def test_page_and_terminal_tell_what_has_no_number_and_what_did_not_train(tmp_path, capsys):
    sweep = tmp_path / "s"
    shutil.copytree(STORED, sweep)
    content = yaml.safe_load((sweep / "sweep.yaml").read_text())
    content["outcomes"]["far"] = ["zoom_blur/*"]
    (sweep / "sweep.yaml").write_text(yaml.safe_dump(content))
    told = [line for line in answer_text(sweep) if line.startswith("[warning] ")]
    assert any(line.startswith("[warning] Did not train: ") for line in told)
    far = "[warning] No number for outcome far: no finished cell was tested on zoom_blur/*."
    assert far in told
    assert status.run(sweep) == 0
    text = capsys.readouterr().out
    untrained = [r for r in read_records(sweep) if r.final["trained"] is False]
    assert len(untrained) > 8
    assert f"did not train: {untrained[0].label} s{untrained[0].seed}, " in text
    assert f" and {len(untrained) - 8} more" in text
    assert "no number for outcome 'far'" in text


def test_a_sweep_that_was_cut_short_leaves_at_once(built, tmp_path):
    summary = Summary(code=143, sweep=tmp_path, is_cut_short=True)
    assert reported(summary) is summary
    assert built == []


def test_a_report_that_fails_costs_no_result(built, tmp_path, caplog):
    summary = Summary(code=0, sweep=tmp_path / "broken", done=3)
    with caplog.at_level(logging.WARNING):
        assert reported(summary) == summary
    assert "the report failed: RuntimeError: no records here" in caplog.text

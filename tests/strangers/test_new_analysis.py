"""A new analysis is one file and one row: written while the program runs, then asked by a study."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from sweep.engine.run import run_study
from sweep.report.analyses.catalogue import ANALYSES, Analysis, check_names
from sweep.report.build import build
from sweep.settings.section import ConfigError
from sweep.studies.load import load_study

FILE = '''
"""How far apart the cells are on clean clips."""

import pandas as pd

from sweep.report import figures
from sweep.report.page import Section, Table, Text, number


def find(evidence):
    means = {}
    for cell in evidence.finished:
        values = cell.values(["clean"])
        means[cell.name] = sum(values.values()) / len(values)
    return means or None


def sentences(findings, found):
    spread = max(found.values()) - min(found.values())
    return [f"**The cells are {number(spread)} points apart** on clean clips."]


def sections(findings, found):
    bars = [
        figures.Bar(label=name, mean=mean, low=mean, high=mean, points=[mean], n=1, strong=False)
        for name, mean in found.items()
    ]
    figure = findings.figure(
        "spread", figures.forest({"clean": bars}, unit="accuracy (%)"),
        alt="Accuracy of each cell on clean clips.", caption="One dot per cell.",
    )
    rows = [[name, number(mean)] for name, mean in found.items()]
    table = Table(columns=["cell", "clean, %"], rows=rows, csv="spread.csv")
    return [Section(title="How far apart", blocks=[Text(text="Clean clips."), figure, table])]


def tables(found):
    return {"spread": pd.DataFrame({"cell": list(found), "clean": list(found.values())})}
'''


@pytest.fixture
def new_analysis(write, add_row):
    write("one_analysis", FILE)
    add_row("ANALYSES", ANALYSES, Analysis(name="spread", target="one_analysis"))


def test_an_analysis_of_one_file_and_one_row_is_reported(new_analysis, study_file, tmp_path):
    path = Path(study_file())
    path.write_text(f"{path.read_text()}report: [spread]\n")
    study = load_study(str(path))
    check_names(study.report)
    out = tmp_path / "sweep"
    assert run_study(study, out=out, engine="local").code == 0
    paths = build(out)

    assert any("points apart on clean clips" in sentence for sentence in paths.answer)
    text, page = paths.markdown.read_text(), paths.html.read_text()
    assert "points apart** on clean clips." in text
    shown = re.sub(r"</?abbr[^>]*>", "", page)  # terms are explained where they stand
    assert "points apart</strong> on clean clips." in shown
    assert "## How far apart" in text
    assert '<section id="how-far-apart">' in page
    assert "![Accuracy of each cell on clean clips.](figures/spread.svg)" in text
    assert 'alt="Accuracy of each cell on clean clips." src="data:image/svg' in page
    assert {"spread.svg", "spread.png"} <= {path.name for path in paths.figures}
    table = pd.read_csv(out / "report" / "tables" / "spread.csv")
    assert list(table.cell) == ["none", "all"]

    # a study that no longer asks leaves nothing of it
    stored = out / "sweep.yaml"
    stored.write_text(stored.read_text().replace("report:\n- spread\n", "report: []\n"))
    again = build(out)
    assert "How far apart" not in again.markdown.read_text()
    assert not (out / "report" / "tables" / "spread.csv").exists()


def test_a_name_that_is_no_analysis_is_refused(new_analysis):
    with pytest.raises(ConfigError, match="unknown analysis 'spraed'; did you mean 'spread'"):
        check_names(["spraed"])

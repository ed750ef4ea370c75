"""What the section on the protocol tells of weights and equal conditions, and `plan` before it."""

import json
import math
from types import SimpleNamespace

import pytest

from sweep.report.evidence import collect
from sweep.report.sections.protocol import protocol_section
from sweep.run import main

IGNORED = "equal ignores weights: pixel 0.2 -> 1"


@pytest.fixture(scope="module")
def sweep(new_sweep):
    options = {"untrained": (), "failed": (), "missing": (), "few": True, "outcomes": False}
    size = {"clips": 20, "steps": 20, "seeds": (1, 2), "design": "anchors"}
    return new_sweep(combiners=("static", "equal"), **options, **size)


def told(evidence):
    """The table of settings, and the sentences below it."""
    blocks = protocol_section(SimpleNamespace(evidence=evidence)).blocks
    rows = {str(row[0]): str(row[1]) for row in blocks[0].rows}
    return rows, [block.text for block in blocks if hasattr(block, "text")]


def test_weights_that_a_combiner_ignores_are_named_by_plan_and_page(sweep, tmp_path, capsys):
    place = f"data.cache_dir={tmp_path}"
    ones = [f"losses.{name}.weight=1" for name in ("consistency", "frame_difference", "infonce")]
    asked = ["combiners={static: {}, equal: {}}", "losses.pixel.weight=.2", *ones, place]
    assert main(["plan", "quickstart", *asked]) == 0
    assert f"weights {IGNORED}" in " ".join(capsys.readouterr().out.split())
    rows, _ = told(collect(sweep))
    assert rows["combiners"] == f"static; equal; {IGNORED}"
    assert main(["plan", "quickstart", place]) == 0
    assert "ignores" not in capsys.readouterr().out


def test_equal_conditions_have_a_sentence_where_there_are_any(sweep):
    assert not told(collect(sweep))[1]
    for path in sweep.glob("cells/*/result.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        scores = {score["condition"]: score for score in content["scores"]}
        scores["jumbling/5"]["pixels"] = scores["clean"]["pixels"]
        path.write_text(json.dumps(content), encoding="utf-8")
    evidence = collect(sweep)
    (sentence,) = told(evidence)[1]
    assert sentence.startswith("Equal frames: jumbling/5 = clean (equal pixels of all clips). An ")
    cell = next(iter(evidence.finished))
    of = {c: cell.values([c])[1] for c in ("jumbling/1", "jumbling/3", "jumbling/5")}
    assert cell.values(["jumbling/*"])[1] == (of["jumbling/1"] + of["jumbling/3"]) / 2
    assert not math.isnan(of["jumbling/5"])

"""The protocol says by which clips a search chose and stopped."""

import json
import shutil
from pathlib import Path

import yaml

from sweep.report.build import build

SWEEPS = Path(__file__).resolve().parents[1] / "frozen" / "sweeps"


def selection(name, tmp_path, validation=0, on=None):
    folder = tmp_path / name
    shutil.copytree(SWEEPS / name, folder)
    for path in folder.glob("cells/*/result.json"):
        content = json.loads(path.read_text())
        counts = content["data"]["counts"]
        if validation:
            counts["validation"] = {**counts["clean"], "n_total": validation, "n_used": validation}
        path.write_text(json.dumps(content))
    if on is not None:
        study = yaml.safe_load((folder / "sweep.yaml").read_text())
        study["search"]["objective_on"] = on
        (folder / "sweep.yaml").write_text(yaml.safe_dump(study))
    lines = build(folder).markdown.read_text().splitlines()
    return [line for line in lines if line.startswith("| selection")]


def test_a_search_says_what_it_chose_and_stopped_by(undrawn, tmp_path):
    (tests,) = selection("search", tmp_path / "a")
    assert "configurations by clean on the test clips that are reported; trials stopped" in tests
    assert "accuracy on the clean ones of them" in tests
    (kept,) = selection("search", tmp_path / "b", validation=17)
    assert "trials stopped early by accuracy on 17 validation clips" in kept
    (chosen,) = selection("search", tmp_path / "c", validation=17, on="validation")
    assert "by clean on 17 validation clips; no test clip decides anything; trials" in chosen

"""`replay`: the same cell again gives the same numbers, bit for bit; what differs is told."""

import functools
import json
import re

import pytest

from sweep.cells.resolve import cells
from sweep.commands import replay
from sweep.engine.waiting import waiting
from sweep.records.files import write_cell
from sweep.records.outcomes import Outcomes
from sweep.runtime.device import limit_threads
from sweep.studies.load import dump_study
from sweep.trial import run_trial


@pytest.fixture(scope="module")
def sweep(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("replay") / "s"
    study = small("seeds=1", "combiners={meltr: {}}")
    config = next(c for c in cells(study) if c.label == "all")
    limit_threads(1)  # as the replay does: sums over threads have other last bits
    result = run_trial(config, scratch=folder / "scratch")
    write_cell(folder / "cells" / config.key, result.record, result.history, result.outcomes)
    (folder / "sweep.yaml").write_text(dump_study(study))
    return folder, config.key, config.seed


def test_the_same_cell_bit_for_bit_and_every_change_is_told(sweep, capsys, monkeypatch):
    monkeypatch.setattr(replay, "waiting", functools.partial(waiting, every_s=0.01))
    folder, key, seed = sweep
    cell = folder / "cells" / key
    assert replay.run(folder, f"all/s{seed}") == 0
    text, waited = capsys.readouterr()
    # what it is at, while it lasts
    assert re.search(rf"running .all. s{seed} \(\w+\) again: \d+ s, (data|step|testing)", waited)
    assert "the cell is the same, bit for bit" in text
    assert "equal      history: " in text
    assert "equal      outcomes: " in text

    # a stored prediction, loss and version that are others
    outcomes = Outcomes.load(cell / "outcomes.npz")
    outcomes.predictions["jumbling/5"][0] += 1
    outcomes.save(cell / "outcomes.npz")
    rows = [json.loads(line) for line in (cell / "history.jsonl").read_text().splitlines()]
    rows[1]["unified"] += 1e-6
    (cell / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    record = json.loads((cell / "result.json").read_text())
    record["run"]["versions"] |= {"torch": "1.0", "numpy": "1.0"}
    record["scores"][0]["pixels"] = "0" * 16
    (cell / "result.json").write_text(json.dumps(record))
    assert replay.run(folder, key[:6]) == 1
    text = capsys.readouterr().out
    assert "DIFFERENT  outcomes.predictions[jumbling/5]: 1 of 16 clips" in text
    assert f"DIFFERENT  history from step {rows[1]['step']} on" in text
    assert "different circumstances: torch 1.0 -> " in text
    assert "not comparable under clean: the tested pixels differ (torch 1.0, numpy 1.0 " in text

"""The section `diversity` of a record: what it holds, on histories whose answer is known."""

from __future__ import annotations

import json
import math

import pytest

from losses.diversity import set_measures
from sweep.cells.resolve import cells
from sweep.commands import replay
from sweep.records.files import write_cell
from sweep.records.ledger import Ledger
from sweep.statistics.diversity import POINTS, measure_history
from sweep.studies.load import dump_study
from sweep.trial import run_trial
from tests.outcomes import as_schema_1

STEPS = 100
NAMES = ("infonce", "pixel", "siglip")


def history(cosine=0.0, *, names=NAMES, slopes=None, gradients=True, every=10, norms=None):
    """Losses that fall at their own pace; every pair of auxiliary gradients has one cosine."""
    rows = []
    everyone = ("classification", *names)
    for step in [*range(0, STEPS, every), STEPS - 1]:
        row = {
            "step": step,
            "losses": {n: 2.0 + math.cos(step * (i + 1)) for i, n in enumerate(everyone)},
            "slopes": {n: (slopes or {}).get(n, lambda _: 1.0)(step) for n in everyone},
        }
        if gradients and step in {0, STEPS // 2, STEPS - 1}:
            pairs = [(a, b) for i, a in enumerate(everyone) for b in everyone[i + 1 :]]
            row["gradients"] = {
                "cosines": {f"{a}|{b}": 0.3 if a == everyone[0] else cosine for a, b in pairs},
                "norms": dict.fromkeys(everyone, 1.0) | (norms or {}),
            }
        rows.append(row)
    return rows


def section(rows, weights=None):
    chosen = weights or dict.fromkeys(NAMES, 1.0)
    return measure_history(chosen, rows, primary="classification", steps=STEPS)


@pytest.mark.parametrize(("cosine", "vendi", "conflict"), [(0, 3, 0), (1, 1, 0), (-0.5, 2, 1)])
def test_gradients_of_one_direction_count_once(cosine, vendi, conflict):
    found = section(history(cosine))
    for point in POINTS:
        measures = found[point]["measures"]
        assert measures["gradient/vendi"] == pytest.approx(vendi, abs=1e-6)
        assert measures["gradient/distance"] == pytest.approx(1 - cosine)
        assert measures["gradient/conflict_rate"] == conflict
        assert measures["gradient/task_cosine"] == pytest.approx(0.3)
        assert measures["gradient/dead"] == 0


def test_what_was_known_before_training_is_that_of_the_catalogue():
    weights = {"infonce": 1.0, "pixel": 0.2, "siglip": 0.5}
    found = section(history(), weights)["set"]
    assert found == set_measures(NAMES, weights)
    assert found["families"] == 2
    assert found["catalogue_distance"] == pytest.approx((0 + 1 + 1) / 3)


def test_weights_are_the_slopes_around_each_point_whatever_their_sign():
    slopes = {"infonce": lambda step: step, "pixel": lambda step: -1.0, "siglip": lambda step: 0.0}
    found = section(history(slopes=slopes))
    assert [found[p]["step"] for p in POINTS] == [0, 50, 99]
    assert [found[p]["weights"]["infonce"] for p in POINTS] == [0, 50, 99]
    assert found["end"]["weights"]["pixel"] == -1
    assert found["start"]["measures"]["effective_number"] == pytest.approx(1)
    assert found["half"]["measures"]["inverse_simpson"] == pytest.approx(51**2 / (50**2 + 1))
    assert found["end"]["measures"]["mean_level"] == pytest.approx(99 * 4 / 100)


def test_what_is_not_defined_is_nan_and_never_absent():
    whole = section(history())
    bare = section(history(gradients=False))
    for point in POINTS:
        assert bare[point]["measures"].keys() == whole[point]["measures"].keys()
        assert math.isnan(bare[point]["measures"]["gradient/vendi"])
    # one logged step says nothing of a course
    assert math.isnan(whole["start"]["measures"]["trajectory/vendi"])
    assert 1 <= whole["end"]["measures"]["trajectory/vendi"] <= 3
    assert section(history(), {"pixel": 1.0})["end"]["measures"]["gradient/vendi"] == 1
    assert measure_history({}, history(), primary="classification", steps=STEPS) == {}
    assert section([]) == {}


def test_a_loss_without_gradient_is_left_out_of_the_directions():
    found = section(history(0.5, norms={"pixel": 0.0}))["end"]["measures"]
    assert found["gradient/dead"] == 1
    assert found["gradient/distance"] == pytest.approx(0.5)
    assert section(history(norms=dict.fromkeys(NAMES, None)))["end"]["measures"][
        "gradient/dead"
    ] == len(NAMES)


def test_replay_of_a_record_from_before_the_section(small, tmp_path, capsys):
    study = small("evaluate.conditions={}", "evaluate.shifts=[]", "evaluate.temporal_checks=false")
    config = next(t for t in cells(study) if t.label == "all - consistency")
    result = run_trial(config, scratch=tmp_path, reraise=True)
    ledger = Ledger(tmp_path / "s")
    write_cell(ledger.cell(config.key), result.record, result.history, result.outcomes)
    (tmp_path / "s" / "sweep.yaml").write_text(dump_study(study))
    path = ledger.cell(config.key) / "result.json"
    stored = json.loads(path.read_text())
    section = stored.pop("diversity")
    assert set(section) == {"set", *POINTS}
    path.write_text(json.dumps(as_schema_1(stored)))
    assert replay.run(tmp_path / "s", config.key) == 0
    assert "holds no diversity" in capsys.readouterr().out
    section["end"]["measures"]["gradient/vendi"] = 9.0
    path.write_text(json.dumps(stored | {"diversity": section}))
    assert replay.run(tmp_path / "s", config.key) == 1
    assert "DIFFERENT  diversity.end.measures.gradient/vendi" in capsys.readouterr().out

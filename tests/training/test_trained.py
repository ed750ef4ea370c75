"""Whether a training did anything: by chance where it is known, else by how far the loss fell."""

from __future__ import annotations

import json
import math

import pytest

from losses.catalogue import LOSSES
from sweep.cells.resolve import cells
from sweep.records.record import comparable
from sweep.settings.train import TrainSettings
from sweep.studies.load import load_study
from sweep.training.trained import early_steps, rule, threshold
from sweep.trial import run_trial


def below(primary, *, classes=8, early=(2.0, 4.0), **settings):
    return threshold(LOSSES[primary], TrainSettings(**settings), classes=classes, early=early)


def test_the_threshold_follows_chance_where_a_loss_has_one():
    assert below("classification") == pytest.approx(0.8 * math.log(8))
    assert below("classification", classes=174) == pytest.approx(0.8 * math.log(174))
    assert below("infonce", batch=64) == pytest.approx(0.8 * math.log(64))
    assert below("siglip") == pytest.approx(0.9 * 3)
    assert below("siglip", early=(-1.0,)) == pytest.approx(-1.1), "a fall, whatever the sign"
    assert below("classification", classes=1) == pytest.approx(2.7), "one class: nothing by chance"
    assert below("infonce", trained_below=1.5) == 1.5
    assert "ln(batch)" in rule(LOSSES["infonce"])
    assert "2 %" in rule(LOSSES["siglip"])


def test_the_start_is_two_percent_of_the_steps_and_one_at_least():
    assert [early_steps(n) for n in (1, 6, 50, 149, 400, 20000)] == [1, 1, 1, 2, 8, 400]


def test_keys_are_those_of_the_threshold_that_was_the_default():
    def key(*overrides):
        return cells(load_study("quickstart", overrides=list(overrides)))[0].key

    assert key() == key("train.trained_below=1.0")
    assert key() != key("train.trained_below=1.5")


@pytest.mark.parametrize("given", [None, 9.0])
def test_records_say_what_they_were_judged_by(small, tmp_path, given):
    override = () if given is None else (f"train.trained_below={given}",)
    trial = cells(small("train.steps=3", *override))[0]
    final = run_trial(trial, scratch=tmp_path, reraise=True).record.final
    if given is None:
        assert final["trained_below"] == pytest.approx(0.8 * math.log(8))
        assert final["trained"] == (final["cross_entropy"] < final["trained_below"])
    else:
        assert final["trained"] is True
        assert "trained_below" not in final, "the config says it"


def test_a_killed_trial_is_judged_by_its_first_steps_all_the_same(small, tmp_path):
    study = small(
        "primary=siglip", "losses.infonce=null", "evaluate.captions=none", "evaluate.joint=none",
        "evaluate.conditions={jpeg: [1]}", "train.steps=100", "train.log_every=1",
        "train.checkpoint_every=10",
    )  # fmt: skip
    trial = next(t for t in cells(study) if t.label == "none")
    quiet = run_trial(trial, scratch=tmp_path / "quiet", reraise=True)

    def die(row):
        if row["step"] == 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trial(trial, scratch=tmp_path / "killed", on_metrics=die)
    again = run_trial(trial, scratch=tmp_path / "killed", reraise=True)
    first = [row["losses"]["siglip"] for row in quiet.history[:2]]
    assert quiet.record.final["trained_below"] == pytest.approx(0.9 * sum(first) / 2)
    one, two = (json.dumps(comparable(r.record.to_json())) for r in (quiet, again))
    assert one == two

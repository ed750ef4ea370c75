"""Retrieval in trials: galleries, perturbed captions, pairs; what they cost and what they leave."""

from __future__ import annotations

import json

import numpy as np
import pytest

from perturb.text_catalogue import TEXT_PERTURBATIONS
from sweep.cells import cells
from sweep.conditions import conditions
from sweep.config import ConfigError, load_study
from sweep.data.prepare import prepare
from sweep.data_settings import options
from sweep.evaluate import TestBench as Bench
from sweep.evaluate_retrieval import perturbed
from sweep.record import RECALLS, Outcomes, comparable, outcome
from sweep.retrieval import group_ranks, ranks
from sweep.trial import run_trial

STUDY = """
name: pairs
title: Pairs of clips and captions
question: Do clips and captions find each other?
primary: infonce
design: {kind: anchors}
losses: {consistency: {weight: 1}}
seeds: 1
data: {dataset: motes-vtt, train_per_class: 5, val_per_class: 3, seed: 14}
train: {steps: 4, batch: 6, warmup: 0, log_every: 2, trained_below: 2}
evaluate:
  profile: null
  ladder: small
  conditions: {gaussian_noise: [3]}
outcomes: {clean: [clean], found among five: ["t2v_R5:clean"]}
"""


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "pairs.yaml"
    path.write_text(STUDY)
    return lambda *overrides: load_study(str(path), overrides=overrides)


@pytest.fixture(scope="module")
def result(pairs, tmp_path_factory):
    trial = next(t for t in cells(pairs()) if t.label == "all")
    return run_trial(trial, scratch=tmp_path_factory.mktemp("cell"), reraise=True)


def test_groups_of_one_item_rank_as_pairs_do():
    rng = np.random.default_rng(0)
    table = rng.integers(0, 20, (40, 40)).astype(float)  # with ties
    alone = np.arange(40)
    np.testing.assert_array_equal(group_ranks(table, alone, alone), ranks(table))
    groups = np.arange(40) // 4
    found = group_ranks(table, groups, groups)
    for row in range(40):
        best = max(table[row, j] for j in range(40) if groups[j] == groups[row])
        assert found[row] == sum(value > best for value in table[row])
    with pytest.raises(ValueError, match="nothing belongs to query 1"):
        group_ranks(table[:2], [0, 99], groups)
    with pytest.raises(ValueError, match="NaN"):
        group_ranks(table * np.nan, groups, groups)


def test_a_trial_without_classes_is_tested_by_both_directions(result):
    record = result.record
    assert record.status == "done"
    assert set(record.weights) == {"infonce", "consistency"}
    assert not record.probabilities
    by_category = {}
    for score in record.scores:
        by_category.setdefault(score.category, []).append(score.condition)
        assert set(RECALLS) < set(score.retrieval)
        assert score.accuracy == score.retrieval["t2v_R1"]
        for metric in RECALLS:
            correct = result.outcomes.correct(f"{metric}:{score.condition}")
            assert score.value(metric) == pytest.approx(100 * correct.mean())
    assert by_category["shift"] == ["appearance", "viewpoint", "dynamics", "appearance-known"]
    assert "text_typos/3" in by_category["captions"]
    assert "jumbling+shuffle_order/3" in by_category["joint"]
    # the members of a pair are tested alone, too
    for pair in by_category["joint"]:
        video, _, text = pair.partition("/")[0].partition("+")
        assert {f"{video}/3", f"text_{text}/1"} <= set(record.accuracy)
    assert outcome(record, ["t2v_R5:clean"]) == record.scores[0].retrieval["t2v_R5"]
    json.dumps(record.to_json(), allow_nan=False)


def test_perturbed_captions_cost_no_clip(result):
    record = result.record
    videos = {s.pixels.partition("-")[0] for s in record.scores}
    assert record.forwards["evaluate"] == 12 * len(videos)
    assert record.forwards["evaluate"] + record.forwards["avoided"] == 12 * len(record.scores)
    pixels = {s.condition: s.pixels for s in record.scores}
    assert pixels["text_typos/3"].startswith(pixels["clean"] + "-")
    assert pixels["jumbling+shuffle_order/3"].startswith(pixels["jumbling/3"] + "-")
    assert pixels["text_typos/3"] != pixels["text_typos/5"]


def test_outcomes_survive_travel_and_disk(result, tmp_path):
    sent = Outcomes.unpack(result.outcomes.pack())
    result.outcomes.save(tmp_path / "outcomes.npz")
    for again in (sent, Outcomes.load(tmp_path / "outcomes.npz")):
        for condition in result.outcomes.conditions:
            for name in (condition, f"v2t_R10:{condition}"):
                assert again.holds(name)
                assert (again.correct(name) == result.outcomes.correct(name)).all()
        assert not again.holds("v2t_R10:fog/1")


def test_shared_captions_count_any_clip_that_they_fit(result):
    """Clips of one caption get one rank, whichever of them is asked."""
    outcomes = result.outcomes
    found = outcomes.ranks["t2v:appearance-known"]
    prepared = prepare(options(load_study_data()))
    texts = [own[0] for own in prepared.evaluation["appearance-known"].captions]
    assert len(set(texts)) < len(texts)
    for text in set(texts):
        same = [i for i, other in enumerate(texts) if other == text]
        assert len(set(found[same])) == 1
    assert outcomes.ranks["v2t:appearance-known"].max() < len(set(texts))


def load_study_data():
    from sweep.config import data_settings_from

    wanted = ["train_per_class=5", "val_per_class=3", "seed=14"]
    return data_settings_from("motes-vtt", wanted)


def test_equal_cells_give_equal_records(pairs, result, tmp_path):
    trial = next(t for t in cells(pairs("evaluate.batch=5")) if t.label == "all")
    again = run_trial(trial, scratch=tmp_path, reraise=True).record
    assert again.key == result.record.key
    one, two = (comparable(r.to_json()) for r in (result.record, again))
    assert one["scores"] == two["scores"]


def test_captions_are_perturbed_by_clip_and_seed(pairs):
    study = pairs()
    bench = Bench(prepare(options(study.data)), study.evaluate, frames=8, task="retrieval")
    rows = conditions(study.evaluate, [], "retrieval")
    clean = perturbed(bench, rows[0])
    for row in rows:
        made = perturbed(bench, row)
        assert (made == clean) == (not row.text)
    shuffled = next(r for r in rows if r.name == "text_shuffle_order/1")
    assert [sorted(t.split()) for t in perturbed(bench, shuffled)] == [
        sorted(t.split()) for t in clean
    ]


@pytest.mark.parametrize("combiner", ["meltr: {data: holdout}", "uncertainty: {}", "pcgrad: {}"])
def test_combiners_take_another_primary_loss(pairs, tmp_path, combiner):
    study = pairs(f"combiners={{{combiner}}}", "evaluate.captions=none", "evaluate.joint=none")
    trial = next(t for t in cells(study) if t.losses)
    record = run_trial(trial, scratch=tmp_path, reraise=True).record
    assert record.status == "done"
    assert [s for s in record.scores if s.category in ("captions", "joint")] == []


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("losses.infonce.weight=1", ["primary loss of this study", "losses.infonce=null"]),
        ("primary=infonse", ["unknown loss", "did you mean 'infonce'"]),
        ("primary=classification", ["needs classes", "primary=infonce"]),
        ("evaluate.task=classification", ["no classes to be tested by"]),
        ("evaluate.fidelity=probe", ["shrink the gallery"]),
        ("evaluate.captions={tipos: [1]}", ["did you mean 'typos'"]),
        ("evaluate.captions={typos: [6]}", ["severities are 1, 2, 3, 4, 5"]),
        ("evaluate.captions={back_trans: [1]}", ["needs a language model"]),
        ("evaluate.joint=[[jumbling, tense], [jumblin, tense]]", ["did you mean 'jumbling'"]),
        ("evaluate.joint=[[frame_shuffle, tense]]", ["has no severity 3"]),
        ("outcomes.clean=['t2v_R7:clean']", ["unknown recall", "t2v_R1"]),
        ("outcomes.clean=['t2v_R5:clean', 'clean']", ["one recall per outcome"]),
        ("data.dataset=motes-ucf", ["needs captions"]),
    ],
)
def test_what_retrieval_cannot_do_is_said_before_it_starts(pairs, override, words):
    with pytest.raises(ConfigError) as error:
        pairs(override)
    for word in words:
        assert word in str(error.value)


def test_recalls_are_refused_where_classes_are_tested(small):
    with pytest.raises(ConfigError, match="recall of retrieval"):
        small("outcomes.clean=['t2v_R5:clean']")


def test_the_whole_grid_of_pairs_without_those_that_need_a_model(pairs):
    study = pairs("evaluate.joint=all", "evaluate.captions=all")
    names = [c.name for c in conditions(study.evaluate, [], "retrieval")]
    assert len(names) == len(set(names))
    assert sum("+" in name for name in names) == 6 * 9
    able = [row for row in TEXT_PERTURBATIONS.values() if not row.needs_model]
    assert sum(n.startswith("text_") for n in names) == sum(len(row.severities) for row in able)


def test_keys_of_classification_do_not_know_of_retrieval(small):
    old = cells(small())[0]
    assert old.key == cells(small("evaluate.joint=few"))[0].key
    assert old.key != cells(small("evaluate.task=retrieval"))[0].key
    assert "primary" not in old.model_fields_set or old.primary == "classification"

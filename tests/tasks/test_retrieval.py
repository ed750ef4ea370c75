"""Retrieval in trials: galleries, perturbed captions, pairs; what they cost and what they leave."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.words import Vocabulary
from perturb.text_catalogue import TEXT_PERTURBATIONS
from sweep.cells.resolve import cells
from sweep.data.prepare import prepare
from sweep.evaluation.bench import TestBench as Bench
from sweep.evaluation.captions import captions_of, perturbed
from sweep.evaluation.conditions import TestPlan as Plan
from sweep.evaluation.encoders import Encoders
from sweep.metrics.retrieval import ranks, relevant_ranks
from sweep.records.outcomes import Outcomes
from sweep.records.patterns import outcome
from sweep.records.record import comparable
from sweep.settings.section import ConfigError
from sweep.studies.load import load_study
from sweep.tasks.catalogue import TASKS
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


RETRIEVAL = TASKS["retrieval"]


def plan_of(settings, shifts=()):
    return Plan.of(settings, shifts, RETRIEVAL.sides, 12)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "pairs.yaml"
    path.write_text(STUDY)
    return lambda *overrides: load_study(str(path), overrides=overrides)


@pytest.fixture(scope="module")
def result(pairs, tmp_path_factory):
    trial = next(t for t in cells(pairs()) if t.label == "all")
    return run_trial(trial, scratch=tmp_path_factory.mktemp("cell"), reraise=True)


def test_ranks_of_the_best_relevant_item_equal_a_slow_count():
    rng = np.random.default_rng(0)
    table = rng.integers(0, 20, (40, 40)).astype(float)  # with ties
    np.testing.assert_array_equal(relevant_ranks(table, np.eye(40)), ranks(table))
    relevant = rng.random((40, 40)) < 0.1
    relevant[np.arange(40), rng.integers(0, 40, 40)] = True
    found = relevant_ranks(table, relevant)
    for row in range(40):
        best = max(table[row, j] for j in range(40) if relevant[row, j])
        assert found[row] == sum(value > best for value in table[row])
    with pytest.raises(ValueError, match="nothing belongs to query 1"):
        relevant_ranks(table[:2], np.eye(40)[[0, 0]] * [[1], [0]])
    with pytest.raises(ValueError, match="NaN"):
        relevant_ranks(table * np.nan, relevant)
    with pytest.raises(ValueError, match=r"\(40, 40\), but relevant \(40, 39\)"):
        relevant_ranks(table, relevant[:, 1:])


def test_a_trial_without_classes_is_tested_by_both_directions(result):
    record = result.record
    assert record.status == "done"
    assert set(record.weights) == {"infonce", "consistency"}
    assert not record.probabilities
    by_category = {}
    for score in record.scores:
        by_category.setdefault(score.category, []).append(score.condition)
        assert set(RETRIEVAL.outcomes) < set(score.metrics)
        assert score.accuracy == score.metrics["t2v_R1"]
        for metric in RETRIEVAL.outcomes:
            correct = result.outcomes.correct(f"{metric}:{score.condition}")
            assert score.value(metric) == pytest.approx(100 * correct.mean())
    assert by_category["shift"] == ["appearance", "viewpoint", "dynamics", "appearance-known"]
    assert "text_typos/3" in by_category["captions"]
    assert "jumbling+shuffle_order/3" in by_category["joint"]
    # the members of a pair are tested alone, too
    for pair in by_category["joint"]:
        video, _, text = pair.partition("/")[0].partition("+")
        assert {f"{video}/3", f"text_{text}/1"} <= set(record.accuracy)
    assert outcome(record, ["t2v_R5:clean"]) == record.scores[0].metrics["t2v_R5"]
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
    found = outcomes.kept["t2v_rank"]["appearance-known"]
    prepared = prepare(load_study_data())
    texts = [own[0] for own in prepared.evaluation["appearance-known"].captions]
    assert len(set(texts)) < len(texts)
    for text in set(texts):
        same = [i for i, other in enumerate(texts) if other == text]
        assert len(set(found[same])) == 1
    assert outcomes.kept["v2t_rank"]["appearance-known"].max() < len(set(texts))


def load_study_data():
    from sweep.studies.load import data_settings_from

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
    rows = plan_of(study.evaluate).rows
    bench = Bench(prepare(study.data), plan_of(study.evaluate), frames=8)
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
        ("outcomes.clean=['t2v_R7:clean']", ["unknown metric of retrieval", "t2v_R1"]),
        ("outcomes.clean=['t2v_R5:clean', 'clean']", ["one metric per outcome"]),
        ("data.dataset=motes-ucf", ["needs captions"]),
    ],
)
def test_what_retrieval_cannot_do_is_said_before_it_starts(pairs, override, words):
    with pytest.raises(ConfigError) as error:
        pairs(override)
    for word in words:
        assert word in str(error.value)


def test_recalls_are_refused_where_classes_are_tested(small):
    with pytest.raises(ConfigError, match="unknown metric of classification"):
        small("outcomes.clean=['t2v_R5:clean']")


def test_the_whole_grid_of_pairs_without_those_that_need_a_model(pairs):
    study = pairs("evaluate.joint=all", "evaluate.captions=all")
    names = [c.name for c in plan_of(study.evaluate).rows]
    assert len(names) == len(set(names))
    assert sum("+" in name for name in names) == 6 * 9
    able = [row for row in TEXT_PERTURBATIONS.values() if not row.needs_model]
    assert sum(n.startswith("text_") for n in names) == sum(len(row.severities) for row in able)


def test_keys_of_classification_do_not_know_of_retrieval(small):
    old = cells(small())[0]
    assert old.key == cells(small("evaluate.joint=few"))[0].key
    assert old.key != cells(small("evaluate.task=retrieval"))[0].key
    assert "primary" not in old.model_fields_set or old.primary == "classification"


# ------------------------------------------------------------------------- every caption a query
class Bag:
    """A model that was never trained: captions by their words, clips by their pixels."""

    training = False

    def eval(self):
        return self

    def train(self, mode):
        del mode

    def encode_video(self, pixels):
        return {"video_embed": (pixels - 0.5).div(0.25).flatten(3).mean(-1).flatten(1)}

    def encode_text(self, ids, mask):
        rng = torch.Generator().manual_seed(5)
        table = torch.randn(1000, 24, generator=rng)
        return {"text_embed": (table[ids] * mask[..., None]).sum(1)}


def told_bench(study, counts):
    """The test clips with so many captions each, and one of them shared in the set for that."""
    prepared = prepare(study.data)
    sets = {}
    for name, clip_set in prepared.evaluation.items():
        captions = []
        for row, own in enumerate(clip_set.captions):
            more = range(1, counts[row % len(counts)])
            captions.append((own[0], *(f"{own[0]} number {n} of {row}" for n in more)))
        sets[name] = replace(clip_set, captions=tuple(captions))
    prepared = replace(prepared, evaluation=sets)
    words = Vocabulary.of(t for s in sets.values() for own in s.captions for t in own)
    return Bench(prepared, plan_of(study.evaluate), frames=8), words


@pytest.mark.parametrize("counts", [(3,), (1, 4, 2)])
def test_every_caption_is_a_query(pairs, counts, tmp_path):
    study = pairs("evaluate.captions_per_clip=all", "evaluate.joint=none")
    bench, words = told_bench(study, counts)
    rows = plan_of(study.evaluate, ["appearance-known"]).rows
    how = {"tokenizer": words, "precision": "fp32", "device": torch.device("cpu")}
    encoders = Encoders(Bag(), bench, features=RETRIEVAL.features, **how)
    done = RETRIEVAL.load()(bench, encoders, rows, RETRIEVAL)
    clips = {}
    for row in rows:
        clips.setdefault(row.clips, bench.prepared.evaluation[row.clips])
    outcomes = Outcomes.unpack(done.outcomes.pack())
    outcomes.save(tmp_path / "outcomes.npz")
    outcomes = Outcomes.load(tmp_path / "outcomes.npz")
    for score, row in zip(done.scores, rows, strict=True):
        told = captions_of(bench, row.clips)
        assert score.clips == len(clips[row.clips].ids)
        assert len(told.texts) == sum(map(len, clips[row.clips].captions))
        slow = slow_ranks(bench, row, words, told)
        for direction, own in slow.items():
            np.testing.assert_array_equal(outcomes.kept[f"{direction}_rank"][row.name], own)
            for cut in (1, 5, 10):
                recall = 100 * np.mean([rank < cut for rank in own])
                metric = f"{direction}_R{cut}"
                assert score.value(metric) == pytest.approx(recall)
                correct = outcomes.correct(f"{metric}:{row.name}")
                assert correct.shape == (score.clips,)
                assert 100 * correct.mean() == pytest.approx(recall)


def slow_ranks(bench, row, words, told):
    """One pair of a caption and a clip at a time."""
    frames = bench.clips(row.of_video).frames
    pixels = torch.from_numpy(np.array(frames)).float().div(255)
    shown = Bag().encode_video(pixels)["video_embed"].double().numpy()
    ids, mask = map(torch.from_numpy, words.encode(perturbed(bench, row)))
    said = Bag().encode_text(ids, mask)["text_embed"].double().numpy()
    shared = row.clips.endswith("-known")

    def fits(caption, clip):
        if told.owners[caption] == clip:
            return True
        texts = bench.prepared.evaluation[row.clips].captions[clip]
        return shared and told.texts[caption] in texts

    table = said @ shown.T
    captions, videos = range(len(said)), range(len(shown))
    gallery = [c for c in captions if not shared or told.texts.index(told.texts[c]) == c]
    t2v, v2t = [], []
    for c in captions:
        best = max(table[c, v] for v in videos if fits(c, v))
        t2v.append(sum(table[c, v] > best for v in videos))
    for v in videos:
        best = max(table[c, v] for c in gallery if fits(c, v))
        v2t.append(sum(table[c, v] > best for c in gallery))
    return {"t2v": t2v, "v2t": v2t}


def test_one_caption_per_clip_is_the_same_either_way(pairs, result, tmp_path):
    trial = next(t for t in cells(pairs("evaluate.captions_per_clip=all")) if t.label == "all")
    assert trial.key != result.record.key
    again = run_trial(trial, scratch=tmp_path, reraise=True)
    assert again.record.scores == result.record.scores
    assert set(again.outcomes.kept["queries"]) == set(again.outcomes.ids)
    assert "queries" not in result.outcomes.kept


def test_first_captions_are_perturbed_alike_whether_others_are_asked_or_not(pairs):
    settings = "evaluate.joint=none"
    one, _ = told_bench(pairs(settings), (3,))
    every, _ = told_bench(pairs(settings, "evaluate.captions_per_clip=all"), (3,))
    for row in one.plan.rows:
        assert perturbed(every, row)[::3] == perturbed(one, row)

"""What trains, what chooses and what is tested; the classes of every set."""

import dataclasses
import random
import sys
import types
from collections import Counter

import numpy as np
import pytest

import sweep.trial
from sweep.cells.resolve import cells
from sweep.cells.search.quantities import measure
from sweep.data import catalogue
from sweep.data.folders import root_of
from sweep.data.label_maps import LabelMap
from sweep.data.prepare import prepare
from sweep.data.readers import ssv2
from sweep.data.records import Record
from sweep.data.splits import cut_validation
from sweep.data.survey import plan, read_sets
from sweep.records.files import validated_of, validation_of
from sweep.settings.data import DataSettings
from sweep.trial import run_trial


def recordings(count, sizes, classes):
    """Records of some recordings; with several classes each is of one, or of any."""
    rng = random.Random(5)
    rows = []
    for group in range(count):
        own = rng.randrange(classes)
        for clip in range(rng.choice(sizes)):
            label = own if classes > 1 else rng.randrange(4)
            rows.append(Record(f"{group}-{clip}", None, label, group=f"g{group}"))
    return rows


@pytest.mark.parametrize("share", [0.05, 0.1, 0.25, 0.5])
@pytest.mark.parametrize(("sizes", "classes"), [((1,), 3), ((1, 4, 7), 5), ((2, 3), 1)])
def test_validation_is_cut_by_recording_and_class(share, sizes, classes):
    rows = recordings(200, sizes, classes)
    train, kept = cut_validation(rows, share, seed=1)
    assert sorted(r.id for r in (*train, *kept)) == sorted(r.id for r in rows)
    assert not {r.group for r in train} & {r.group for r in kept}
    all_of, kept_of = (Counter(r.label for r in part) for part in (rows, kept))
    slack = max(sizes) * (1 if classes > 1 else 3)  # recordings of many classes fit less well
    for label, number in all_of.items():
        assert abs(kept_of[label] - share * number) <= slack, label
    shuffled = rows.copy()
    random.Random(0).shuffle(shuffled)
    assert {r.id for r in cut_validation(shuffled, share, seed=1)[1]} == {r.id for r in kept}
    assert {r.id for r in cut_validation(rows, share, seed=2)[1]} != {r.id for r in kept}
    assert [r.id for r in kept] == [r.id for r in rows if r in kept], "in their order"


def test_no_class_is_taken_from_training_whole():
    rows = [Record(f"{label}-{n}", None, label, group=f"{label}") for label in (0, 1) for n in (0,)]
    rows += [Record(f"2-{n}", None, 2, group=f"2-{n}") for n in range(4)]
    train, _ = cut_validation(rows, 0.5, seed=1)
    assert {r.label for r in train} == {0, 1, 2}
    with pytest.raises(ValueError, match=r"validation_share: 0\.1 of 2 training clips in 2 recor"):
        cut_validation(rows[:2], 0.1, seed=1)


def test_the_clips_that_teach_stay_with_training():
    """The first four of every class have a label for training; others are kept out before them."""
    rows = [Record(f"{label}-{n}", None, label) for label in range(3) for n in range(20)]
    train, kept = cut_validation(rows, 0.25, seed=1, per_class=4)
    assert Counter(r.label for r in kept) == {0: 5, 1: 5, 2: 5}
    assert {r.id for r in train} >= {f"{label}-{n}" for label in range(3) for n in range(4)}
    assert cut_validation(rows, 0.25, seed=1, per_class=20) == cut_validation(rows, 0.25, seed=1)
    train, kept = cut_validation(rows, 0.5, seed=1, per_class=14)  # only six of ten are spare
    assert Counter(r.label for r in kept) == {0: 10, 1: 10, 2: 10}


def motes(**changes):
    given = {"train_per_class": 4, "val_per_class": 2, "workers": 0, "seed": 11}
    return DataSettings(**given | changes)


def test_a_share_makes_a_set_of_its_own_and_none_changes_nothing():
    whole, cut = prepare(motes()), prepare(motes(validation_share=0.25))
    assert whole.validation is None
    assert whole.for_choosing is whole
    assert (len(cut.train.ids), len(cut.validation.ids)) == (24, 8)
    assert sorted(cut.validation.labels) == list(range(8))
    assert not set(cut.train.ids) & set(cut.validation.ids)
    assert list(cut.evaluation) == list(whole.evaluation)
    assert cut.fingerprint != whole.fingerprint
    assert plan(motes(validation_share=0.25))["fingerprint"] == cut.fingerprint
    for row, name in enumerate(cut.validation.ids):
        stored = whole.train.source.array[whole.train.ids.index(name)]
        np.testing.assert_array_equal(cut.validation.source.array[row], stored)
    chooses = cut.for_choosing
    assert list(chooses.evaluation) == ["clean"]
    assert chooses.evaluation["clean"].ids == cut.validation.ids
    assert chooses.fingerprint != cut.fingerprint, "its stores are not those of the tests"


def test_keys_know_the_share_and_not_that_there_is_a_choice(small):
    plain, cut = (cells(small(*more))[0] for more in ((), ("data.validation_share=.25",)))
    assert plain.key != cut.key
    older = plain.model_dump(mode="json")
    del older["data"]["validation_share"]
    assert type(plain).model_validate(older).key == plain.key


def courses(config, folder, monkeypatch):
    """What early stopping sees, with the test clips as they are and with others in their place."""
    found = []
    for number in range(2):
        prepared = prepare(config.data)
        if number:
            clean = prepared.evaluation["clean"]
            other = dataclasses.replace(clean, labels=np.zeros_like(clean.labels))
            tests = {**prepared.evaluation, "clean": other}
            prepared = dataclasses.replace(prepared, evaluation=tests, cache_dir=folder / "cache")
        monkeypatch.setattr(sweep.trial, "_prepared", lambda _, now=prepared: now)
        result = run_trial(config, scratch=folder / str(number), reraise=True)
        found.append([told for row in result.history if (told := validation_of(row))])
    return found


def test_with_a_share_no_test_clip_decides_what_is_stopped(small, tmp_path, monkeypatch):
    quick = (
        "train.steps=4", "train.validate_every=1", "evaluate.shifts=[]", "evaluate.conditions={}",
        "evaluate.temporal_checks=false",
    )  # fmt: skip
    share = small(*quick, "data.validation_share=.5")
    one, two = courses(cells(share)[0], tmp_path / "a", monkeypatch)
    assert len(one) == 3
    assert one == two
    one, two = courses(cells(small(*quick))[0], tmp_path / "b", monkeypatch)
    assert one != two, "without a share the clean test clips decide, which the report says"


def test_a_search_measures_its_objective_on_clips_that_no_test_has(small, tmp_path):
    study = small(
        "design.kind=search", "train.steps=2", "evaluate.shifts=[]",
        "evaluate.temporal_checks=false",
        "outcomes={clean: [clean], noise: ['gaussian_noise/*']}", "search.objective=[noise, clean]",
        "search.early_stopping=true", "train.validate_every=1",
    )  # fmt: skip
    result = run_trial(cells(study)[0], scratch=tmp_path, reraise=True)
    rows = [validated_of(row) for row in result.history if validation_of(row)]
    assert [list(row) for row in rows] == [["clean", "gaussian_noise/3"]]  # before the last step
    scores = result.record.validation
    assert [s.condition for s in scores] == ["clean", "gaussian_noise/3"]
    prepared = prepare(study.data)
    assert {s.clips for s in scores} == {len(prepared.validation.ids)} == {8}
    tested = {s.condition: s.pixels for s in result.record.scores}
    assert all(tested[s.condition] != s.pixels for s in scores)
    assert type(result.record).from_json(result.record.to_json()) == result.record
    without = cells(small("train.steps=2", "evaluate.on_validation=[clean]"))[0]
    with pytest.raises(ValueError, match="there are no validation clips; keep some with"):
        run_trial(without, scratch=tmp_path / "b", reraise=True)


def test_a_search_among_retrievals_chooses_in_a_gallery_of_validation_clips(small, tmp_path):
    study = small(
        "primary=infonce", "losses=null", "losses={masked_text: true}", "design.kind=search",
        "data.dataset=motes-vtt", "data.train_per_class=8", "data.labelled_per_class=null",
        "train.steps=2", "evaluate.conditions={}", "evaluate.temporal_checks=false",
        "evaluate.captions={shuffle_order: [1]}", "evaluate.joint=none", "headline=[r5]",
        "outcomes={r5: ['t2v_R5:text_*']}", "search.objective=r5",
    )  # fmt: skip
    assert study.evaluate.on_validation == ["text_*"]
    record = run_trial(cells(study)[0], scratch=tmp_path, reraise=True).record
    assert [(s.condition, s.clips) for s in record.validation] == [
        ("clean", 8), ("text_shuffle_order/1", 8),
    ]  # fmt: skip
    found = measure("r5", study.outcomes, record, on="validation")
    assert found.value == record.validation[1].metrics["t2v_R5"]
    assert found.low < found.value < found.high


@pytest.fixture
def strange(monkeypatch):
    """SSv2 folders whose test sets number or name their classes in a way of their own."""

    def read(root, split, options):
        rows, labels = ssv2.read(root, split, {})
        count = len(labels.names)
        if split == "validation":  # the same names in another order
            rows = [dataclasses.replace(row, label=count - 1 - row.label) for row in rows]
            return rows, LabelMap.of(labels.names[::-1])
        if split == "appearance":
            return rows, LabelMap.of((*labels.names[:-1], "Sneezing"))
        if split == "dynamics":
            return rows, LabelMap.of(f"other {n}" for n in range(count))
        return rows, labels

    module = types.ModuleType("strange_reader")
    module.read = read
    module.splits = lambda root, options: {
        name: path for name, path in ssv2.splits(root, {}).items() if name in options["sets"]
    }
    monkeypatch.setitem(sys.modules, "strange_reader", module)

    def settings(*sets, **changes):
        prepare(motes())
        row = dataclasses.replace(
            catalogue.DATASETS["ssv2"],
            name="strange",
            reader="strange_reader",
            options={"sets": ("train", "validation", *sets)},
            **changes.pop("row", {}),
        )
        table = {**catalogue.DATASETS, "strange": row}
        monkeypatch.setattr(catalogue, "DATASETS", table)
        return motes(dataset="strange", root=str(root_of(motes())), **changes)

    return settings


def test_test_sets_are_numbered_as_training_is_whatever_their_own_map_says(strange):
    ours, theirs = read_sets(motes()), read_sets(strange("appearance"))
    assert theirs.labels["clean"].names == ours.labels["clean"].names[::-1], "its own map is kept"
    assert theirs.labels["train"].names == ours.labels["train"].names
    for name in ("train", "clean"):
        assert [r.label for r in theirs.records[name]] == [r.label for r in ours.records[name]]
    assert prepare(strange()).class_names == ours.labels["train"].names


def test_clips_of_classes_that_training_lacks_are_named_counted_and_left_out(strange):
    with pytest.raises(ValueError, match=r"appearance: 2 of 16 excl.*2 of 1 classes .*'Sneezing'"):
        prepare(strange("appearance"))
    prepared = prepare(strange("appearance", max_bad_fraction=0.2))
    assert prepared.counts["appearance"]["n_other_class"] == 2
    assert "n_other_class" not in prepared.counts["clean"]
    assert (prepared.evaluation["appearance"].labels >= 0).all()
    assert len(prepared.evaluation["appearance"].ids) == 14
    row = prepared.excluded[0]
    assert row["split"] == "appearance"
    assert row["reason"] == "class 'Sneezing' is none of the training set"
    with pytest.raises(ValueError, match="dynamics: 16 of 16 excluded"):
        prepare(strange("dynamics", max_bad_fraction=1))


def test_a_data_set_s_own_validation_split_chooses_and_is_not_tested(strange):
    row = {"clean": "viewpoint", "validation": "validation"}
    settings = strange("viewpoint", "appearance", row=row, max_bad_fraction=0.2)
    prepared = prepare(settings)
    assert list(prepared.evaluation) == ["clean", "appearance"]
    assert prepared.validation.name == "validation"
    assert prepared.validation.ids == prepare(motes()).evaluation["clean"].ids
    with pytest.raises(ValueError, match="has validation clips of its own"):
        read_sets(settings.model_copy(update={"validation_share": 0.1}))

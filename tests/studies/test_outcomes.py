"""Outcomes stand on conditions that are tested, or are refused before anything runs."""

from __future__ import annotations

import pytest

from sweep.cells.resolve import cells
from sweep.data.catalogue import DATASETS
from sweep.evaluation import conditions
from sweep.evaluation.conditions import check_outcomes, default_outcomes
from sweep.planning.plan import make
from sweep.settings.section import ConfigError
from sweep.studies.files import study_names
from sweep.studies.load import load_study
from sweep.tasks.catalogue import task_of
from tests.studies.test_config import scales_of


def planned_for(study):
    """What a study is tested under, on the shifts that its data set always has."""
    sides = task_of(study.evaluate, study.primary).sides
    return conditions.TestPlan.of(study.evaluate, DATASETS[study.data.dataset].shifts, sides, 100)


@pytest.mark.parametrize("name", study_names())
def test_outcomes_of_every_scale_are_tested(name, tmp_path):
    for scale in scales_of(name):
        overrides = [f"data.root={tmp_path}"] if scale.startswith("paper") else []
        study = load_study(name, scale=scale, overrides=overrides)
        check_outcomes(study.outcomes, planned_for(study).rows, name)
        assert set(study.headline) <= set(study.outcomes)
        if study.data.dataset not in {"motes-ssv2"}:
            assert "motes-ssv2" not in study.title
            assert study.resources.gpus_per_trial


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("outcomes.noise=['gausian_noise/*']", ["gausian_noise/*", "'gaussian_noise/*'"]),
        ("outcomes.blur=['zoom_blur/5']", ["zoom_blur/5", "did you mean 'zoom_blur/3'"]),
        ("outcomes.ood=[apearance]", ["apearance", "did you mean 'appearance'"]),
    ],
)
def test_a_pattern_that_matches_nothing_is_refused_by_plan(given, words, tmp_path):
    study = load_study("quickstart", overrides=[given, f"data.cache_dir={tmp_path}"])
    with pytest.raises(ConfigError, match=r"outcomes\.") as caught:
        make(study)
    assert all(word in str(caught.value) for word in words)


def test_outcomes_by_default_are_clean_shifts_and_categories():
    study = load_study("quickstart")
    rows = planned_for(study).rows
    found = default_outcomes(rows)
    assert found["clean"] == ["clean"]
    assert found["shifts"] == ["appearance", "viewpoint", "dynamics"]
    assert {"noise", "blur", "temporal"} <= set(found)
    told = [name for names in found.values() for name in names]
    assert sorted(told) == sorted(row.name for row in rows)
    check_outcomes(found, rows, "default")
    assert cells(study)


def test_a_minimal_study_tells_what_it_tests(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\ntitle: t\nquestion: q\nlosses: {pixel: {}}\n"
        "evaluate: {profile: quick_small}\n",
        encoding="utf-8",
    )
    study = load_study(str(path))
    assert study.headline == [n for n in study.outcomes if n != "order_controls"]
    assert {"clean", "shifts", "noise", "blur", "temporal"} <= set(study.headline)
    assert study.outcomes["order_controls"] == ["reversal/1", "frame_shuffle/1"]
    again = load_study(str(path), overrides=["outcomes={clean: [clean]}"])
    assert again.outcomes == {"clean": ["clean"]}
    assert [c.key for c in cells(again)] == [c.key for c in cells(study)]


def own_folder(tmp_path, *lists):
    """A folder in the layout of UCF101: annotations alone, no video."""
    lists_folder = tmp_path / "set" / "ucfTrainTestlist"
    lists_folder.mkdir(parents=True)
    (lists_folder / "classInd.txt").write_text("1 Run\n", encoding="utf-8")
    for name in ("trainlist01", "testlist01", *lists):
        line = f"Run/{name}.avi" + (" 1" if name.startswith("train") else "")
        (lists_folder / f"{name}.txt").write_text(line + "\n", encoding="utf-8")
    return tmp_path / "set"


@pytest.mark.parametrize("there", [(), ("testlist-fog", "testlist-night")])
def test_a_study_without_outcomes_takes_the_shifts_of_its_folder(tmp_path, there):
    path = tmp_path / "mine.yaml"
    root = own_folder(tmp_path, *there)
    path.write_text(
        "name: mine\ntitle: t\nquestion: q\nlosses: {pixel: {}}\n"
        f"data: {{dataset: ucf101, root: {root}}}\nevaluate: {{profile: quick_small}}\n",
        encoding="utf-8",
    )
    study = load_study(str(path))
    shifts = [name.removeprefix("testlist-") for name in there]
    assert study.outcomes.get("shifts", []) == shifts
    assert ("shifts" in study.headline) == bool(shifts)
    some = load_study(str(path), overrides=[f"evaluate.shifts={shifts[:1]}"])
    assert some.outcomes.get("shifts", []) == shifts[:1]
    assert [c.key for c in cells(study)] == [
        c.key for c in cells(load_study(str(path), overrides=["outcomes={clean: [clean]}"]))
    ]


def test_a_folder_that_is_not_there_is_explained_by_plan(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\ntitle: t\nquestion: q\nlosses: {pixel: {}}\n"
        f"data: {{dataset: ucf101, root: {tmp_path}/gone}}\n",
        encoding="utf-8",
    )
    study = load_study(str(path))
    assert "clean" in study.outcomes
    with pytest.raises(ValueError, match="gone"):
        make(study)


def sentences(text):
    return [part.strip() for part in text.replace(": ", ". ").split(". ") if part.strip()]


@pytest.mark.parametrize("name", study_names())
def test_no_text_of_a_study_on_real_data_speaks_of_made_clips(name, tmp_path):
    """But what was chosen on them says so."""
    for scale in scales_of(name):
        overrides = [f"data.root={tmp_path}"] if scale.startswith("paper") else []
        study = load_study(name, scale=scale, overrides=overrides)
        if DATASETS[study.data.dataset].embedded:
            continue
        texts = [study.title, study.question, study.hypothesis, *study.disclosed]
        for sentence in (one for text in texts for one in sentences(text)):
            told = sentence.lower()
            if any(word in told for word in ("motes", "generator", "synthetic", "embedded data")):
                assert "chosen on synthetic clips" in told, (name, scale, sentence)
        official = {"ssv2": "Something-Something V2", "ucf101": "UCF101"}
        assert official.get(study.data.dataset, study.data.dataset) in study.title


@pytest.mark.parametrize("name", study_names())
def test_what_a_scale_says_of_its_outcomes_is_what_it_tests(name, tmp_path):
    """Real folders have no shifts: what is called `ood` there says what it is."""
    for scale in (one for one in scales_of(name) if one.startswith("paper")):
        study = load_study(name, scale=scale, overrides=[f"data.root={tmp_path}"])
        if "ood" in study.outcomes:
            assert any("`ood` is" in text for text in study.disclosed), (name, scale)
            assert not {"appearance", "viewpoint", "dynamics"} & set(study.outcomes["ood"])

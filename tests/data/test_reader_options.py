"""`data.options`: what a study tells the reader of its data set, and what of it is in keys."""

from pathlib import Path

import pytest

from sweep.cells.resolve import cells
from sweep.data.catalogue import DATASETS, given_options
from sweep.data.folders import cache_of, root_of
from sweep.data.motes.knobs import Knobs, knobs_of
from sweep.data.survey import plan, read_sets
from sweep.settings.data import DataSettings
from sweep.settings.section import ConfigError
from sweep.studies.load import data_settings_from, load_study


def ucf(root, *more):
    return load_study(
        "quickstart", overrides=["data.dataset=ucf101", f"data.root={root}", *NO_TEXT, *more]
    )


NO_TEXT = ("losses.infonce=null",)


@pytest.fixture
def folder(tmp_path):
    """UCF101 in small: two classes, three splits of one training and one test clip each."""
    lists = tmp_path / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 Archery\r\n2 YoYo\r\n")
    for fold in (1, 2, 3):
        (lists / f"trainlist0{fold}.txt").write_text(f"Archery/v_Archery_g0{fold}_c01.avi 1\r\n")
        (lists / f"testlist0{fold}.txt").write_text(f"YoYo/v_YoYo_g0{fold}_c01.avi\r\n")
    return tmp_path


@pytest.mark.parametrize("fold", [1, 2, 3])
def test_every_official_split_of_ucf101_is_reached(folder, fold):
    options = () if fold == 1 else (f"data.options.fold={fold}",)
    sets = read_sets(ucf(folder, *options).data)
    assert [r.id for r in sets.records["train"]] == [f"v_Archery_g0{fold}_c01"]
    assert [r.id for r in sets.records["clean"]] == [f"v_YoYo_g0{fold}_c01"]


def test_an_unknown_option_is_refused_when_the_study_is_read(folder):
    with pytest.raises(ConfigError, match=r"data\.options: 'ucf101' has no option 'fodl'; did you"):
        ucf(folder, "data.options.fodl=2")
    with pytest.raises(ConfigError, match=r"no option 'fold' \(allowed: classes, resolution\)"):
        load_study("quickstart", overrides=["data.options.fold=2"])
    with pytest.raises(ConfigError, match=r"no option 'fodl'; did you mean 'fold'"):
        data_settings_from("ucf101", [f"data.root={folder}", "data.options.fodl=2"])
    with pytest.raises(ValueError, match=r"data\.options\.fold: a number from 1, given 'two'"):
        read_sets(ucf(folder, "data.options.fold=two").data)
    with pytest.raises(ValueError, match=r"looked for ucfTrainTestlist/trainlist04\.txt"):
        read_sets(ucf(folder, "data.options.fold=4").data)


def test_keys_know_an_option_and_not_that_there_is_one(folder):
    plain, first, second = (
        cells(ucf(folder, *more))[0]
        for more in ((), ("data.options.fold=1",), ("data.options.fold=2",))
    )
    assert plain.key == first.key != second.key
    assert (first.data.options, second.data.options) == ({}, {"fold": 2})
    older = plain.model_dump(mode="json")
    del older["data"]["options"]
    assert type(plain).model_validate(older).key == plain.key


def test_every_row_takes_its_own_defaults():
    for row in DATASETS.values():
        settings = DataSettings(dataset=row.name, options=dict(row.options))
        assert given_options(settings) == {}


def test_folders_and_knobs_follow_from_the_settings_alone(tmp_path, monkeypatch):
    settings = DataSettings()
    assert knobs_of(settings) == Knobs(train_per_class=48, val_per_class=30, seed=1)
    monkeypatch.setenv("AUXSWEEP_CACHE", str(tmp_path))
    assert cache_of(settings) == tmp_path
    assert root_of(settings).parent == tmp_path / "motes"
    elsewhere = DataSettings(cache_dir=str(tmp_path / "b"), root=str(tmp_path / "c"))
    assert cache_of(elsewhere) == tmp_path / "b"
    monkeypatch.setenv("AUXSWEEP_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_of(settings) == tmp_path / "xdg" / "auxsweep"
    for ignored in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert cache_of(settings) == Path.home() / ".cache" / "auxsweep"
    assert root_of(elsewhere) == (tmp_path / "c").resolve()


def test_knobs_of_embedded_data_are_options_that_change_what_is_made(tmp_path):
    plain = DataSettings(cache_dir=str(tmp_path))
    more = DataSettings(cache_dir=str(tmp_path), options={"classes": 12, "resolution": 112})
    assert knobs_of(more) == Knobs(48, 30, classes=12, resolution=112, seed=1)
    assert root_of(more) != root_of(plain)
    given = DataSettings(cache_dir=str(tmp_path), options={"classes": 8, "resolution": 64})
    assert root_of(given) == root_of(plain)
    with pytest.raises(ValueError, match=r"data\.options\.classes: a whole number, given '12'"):
        knobs_of(DataSettings(options={"classes": "12"}))
    study = load_study("quickstart", overrides=["data.options.classes=12"])
    assert plan(study.data)["evaluation_clips"] == 12 * 30
    with pytest.raises(ValueError, match=r"classes=9; allowed: \(8, 12\)"):
        plan(load_study("quickstart", overrides=["data.options.classes=9"]).data)

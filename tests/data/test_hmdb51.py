"""HMDB51 on its real lists and clips, where they are at hand, and mistakes in a small folder."""

from pathlib import Path

import pytest

from sweep.data.prepare import prepare
from sweep.data.readers import hmdb51
from sweep.settings.data import DataSettings

SHARED = Path(__file__).resolve().parents[3] / "shared"
LISTS, CLIPS = SHARED / "annotations" / "hmdb51", SHARED / "videos" / "official"


@pytest.mark.skipif(not LISTS.is_dir(), reason="no folder of real annotation files")
@pytest.mark.parametrize("fold", [1, 2, 3])
def test_the_official_lists_are_read_whole(fold):
    train, labels = hmdb51.read(LISTS, "train", {"fold": fold})
    test, same = hmdb51.read(LISTS, "validation", {"fold": fold})
    assert (len(train), len(test), len(labels.names)) == (3570, 1530, 51)
    assert labels == same
    assert list(labels.names) == (LISTS / "label_map.mmaction2.txt").read_text().split()
    assert len({r.id for r in (*train, *test)}) == 5100
    assert not {r.group for r in train} & {r.group for r in test}
    assert {r.label for r in train} == {r.label for r in test} == set(range(51))
    for record in train:
        assert f"_{labels.names[record.label]}_" in record.id
        assert record.id == record.id.strip()


@pytest.mark.skipif(not (CLIPS / "hmdb51").is_dir(), reason="no folder of real clips")
def test_original_clips_are_found_and_decoded(tmp_path):
    settings = DataSettings(
        dataset="hmdb51", root=str(CLIPS / "hmdb51"), cache_dir=str(tmp_path), workers=0,
        max_bad_fraction=1, cache_frames=4, size_px=32,
    )  # fmt: skip
    sets = {split: hmdb51.read(CLIPS / "hmdb51", split, {})[0] for split in ("train", "validation")}
    assert all(r.path.is_file() for rows in sets.values() for r in rows)
    if all(sets.values()):
        prepared = prepare(settings)
        assert prepared.class_names == ("cartwheel", "wave")
        assert all(count["n_missing"] == 0 < count["n_used"] for count in prepared.counts.values())


def folder(root, lines="Film_wave_f_cm_np1_le_med_0.avi 1 \n"):
    lists = root / "testTrainMulti_7030_splits"
    lists.mkdir(exist_ok=True)
    (lists / "wave_test_split1.txt").write_text(lines)
    (lists / "dive_test_split1.txt").write_text("Film_dive_f_cm_np1_le_med_0.avi 2 \n")
    return lists


def test_mistakes_name_file_and_line(tmp_path):
    lists = folder(tmp_path)
    with pytest.raises(ValueError, match=r"no list of a split.*<class>_test_split2\.txt"):
        hmdb51.splits(tmp_path, {"fold": 2})
    with pytest.raises(ValueError, match=r"data\.options\.fold: a number from 1, given 0"):
        hmdb51.splits(tmp_path, {"fold": 0})
    with pytest.raises(ValueError, match="did you mean 'validation'"):
        hmdb51.read(tmp_path, "validaton", {})
    folder(tmp_path, "a_wave_f.avi 1 \nb_wave_f.avi 3 \n")
    with pytest.raises(ValueError, match=r"wave_test_split1\.txt:2: .*'b_wave_f\.avi 3'"):
        hmdb51.read(tmp_path, "train", {})
    folder(tmp_path, "a_wave_f.avi 1 \na_wave_f.avi 1 \n")
    with pytest.raises(ValueError, match=r"wave_test_split1\.txt: 'a_wave_f' stands there twice"):
        hmdb51.read(tmp_path, "train", {})
    (lists / "wave_test_split1.txt").rename(lists / "wave_test_split2.txt")
    with pytest.raises(ValueError, match=r"wave_test_split1\.txt: there is no such list"):
        hmdb51.read(tmp_path, "train", {})

"""Still images and folders of numbered images as clips."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from sweep.data.decoding.decode import read_frames
from sweep.data.decoding.probe import probe_file
from sweep.data.decoding.resize import fit
from sweep.data.image_files import series_of
from sweep.data.prepare import index, prepare
from sweep.data.readers import hmdb51, ssv2, ucf101
from sweep.data.readers.annotation import VideoFolder
from sweep.data.verify import verify
from sweep.settings.data import DataSettings
from tests.data.numbered import numbers, picture, write


def frames(folder, names, *, size=(64, 48), first=0):
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names, start=first):
        Image.fromarray(picture(number, *size)).save(folder / name)


NAMES = {
    "tsn": [f"img_{i:05d}.jpg" for i in range(1, 31)],
    "from 0": [f"{i:06d}.png" for i in range(30)],
    "no zeros": [f"frame-{i}.jpeg" for i in range(1, 31)],
    "mixed": [f"image_{i:04d}.{('jpg', 'bmp', 'png', 'WEBP')[i % 4]}" for i in range(30)],
    "late": [f"1080p_clip7-{i:03d}.jpg" for i in range(70, 100)],
}


@pytest.mark.parametrize("name", NAMES)
def test_frames_are_in_the_order_of_their_numbers(tmp_path, name):
    frames(tmp_path / "clip", NAMES[name])
    info = probe_file(tmp_path / "clip")
    assert (info.status, info.num_frames, info.fps, info.backend) == ("ok", 30, 0.0, "images")
    assert (info.height, info.width) == (48, 64)
    assert probe_file(tmp_path / "clip", backend="decord") == info
    assert info.note == ("its numbers begin at 70" if name == "late" else "")
    wanted = [29, 0, 11, 10, 2, 11]
    shown = read_frames(tmp_path / "clip", wanted, info=info)
    assert numbers(shown) == wanted
    files = [tmp_path / "clip" / NAMES[name][i] for i in wanted]
    plain = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in files])
    np.testing.assert_array_equal(shown, plain)
    small = read_frames(tmp_path / "clip", wanted, info=info, size_px=16)
    np.testing.assert_array_equal(small, fit(plain, 16))


def test_what_is_odd_about_a_series_is_said(tmp_path):
    clip = tmp_path / "clip"
    frames(clip, NAMES["tsn"])
    frames(clip, ["flow_x_00001.jpg", "flow_y_00001.jpg", "cover.jpg"])
    (clip / "n_frames.txt").write_text("30")
    info = probe_file(clip)
    assert (info.status, info.num_frames) == ("ok", 30)
    assert info.note == "1 images without a number are passed over, such as cover.jpg"
    (clip / "img_00012.jpg").unlink()
    info = probe_file(clip)
    assert (info.status, info.num_frames, info.announced) == ("ok", 29, 30)
    assert "1 numbers have no image, the first is 12" in info.note
    (clip / "img_00013.jpg").unlink()
    info = probe_file(clip)
    assert (info.status, info.is_whole) == ("partial", False)
    assert info.error.startswith("28 of 30 images are there; 2 numbers have no image, the first")
    Image.new("RGB", (32, 32)).save(clip / "img_00014.jpg")
    assert "1 of 28 frames have another size than 64 x 48" in probe_file(clip).note
    assert read_frames(clip, [11, 12])[1].shape == (48, 64, 3)


def test_what_cannot_be_read_is_said_by_name(tmp_path):
    def error(folder):
        info = probe_file(folder)
        assert info.status == "corrupt"
        return info.error

    frames(tmp_path / "two", ["a_1.jpg", "b_1.jpg"])
    assert error(tmp_path / "two") == "several series of numbered images: a_*, b_*"
    frames(tmp_path / "twice", ["1.jpg", "01.jpg"])
    assert error(tmp_path / "twice") == "number 1 stands twice: 01.jpg and 1.jpg"
    frames(tmp_path / "flow", ["flow_x_1.jpg"])
    assert error(tmp_path / "flow") == "no numbered image"
    frames(tmp_path / "torn", NAMES["tsn"])
    torn = tmp_path / "torn" / "img_00003.jpg"
    torn.write_bytes(torn.read_bytes()[:-200])
    assert error(tmp_path / "torn").startswith("img_00003.jpg: ")
    deep = np.full((8, 8), 40_000, np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert "more than 8 bits" in error(tmp_path / "deep.png")
    (tmp_path / "text.jpg").write_text("no image")
    assert "cannot identify image" in error(tmp_path / "text.jpg")
    (tmp_path / "none.jpg").touch()
    assert probe_file(tmp_path / "none.jpg").status == "empty"


def test_a_still_image_is_one_frame_as_it_is_shown(tmp_path):
    upright = picture(0b00100101, 64, 48)
    kinds = {"rgb.png": "RGB", "grey.png": "L", "palette.png": "P", "alpha.png": "RGBA"}
    for name, mode in (kinds | {"four.jpg": "CMYK"}).items():
        source = Image.fromarray(upright)
        (source.quantize() if mode == "P" else source.convert(mode)).save(tmp_path / name)
        info = probe_file(tmp_path / name)
        assert (info.status, info.num_frames, info.backend) == ("ok", 1, "images")
        np.testing.assert_allclose(read_frames(tmp_path / name, [0])[0], upright, atol=6)
    turned = Image.fromarray(upright)
    turned.getexif()[0x0112] = 6  # shown after a quarter turn to the right
    turned.save(tmp_path / "turned.jpg", exif=turned.getexif(), quality=95)
    assert probe_file(tmp_path / "turned.jpg").width == 48
    shown = read_frames(tmp_path / "turned.jpg", [0])[0]
    np.testing.assert_allclose(shown, np.rot90(upright, 3), atol=12)


# --------------------------------------------------------------------------------------- by readers


def test_folders_of_frames_stand_for_videos_and_files_come_first(tmp_path):
    frames(tmp_path / "Run" / "v_Run_g01_c01", ["img_00001.jpg"])
    (tmp_path / "Run" / "notes").mkdir()
    (tmp_path / "Run" / "notes" / "readme.txt").touch()
    videos = VideoFolder(tmp_path)
    for name in ("Run/v_Run_g01_c01.avi", "Run/v_Run_g01_c01", "run/v_run_g01_c01.avi"):
        assert videos.find(name) == tmp_path / "Run" / "v_Run_g01_c01"
    assert videos.find("Run/v_run_g01_c01", any_case=False) is None
    assert videos.find("Run/notes") is None
    write(tmp_path / "Run" / "v_Run_g01_c01.mp4", frames=2)
    assert VideoFolder(tmp_path).find("Run/v_Run_g01_c01.avi").suffix == ".mp4"


def test_every_reader_that_looks_videos_up_takes_folders_of_frames(tmp_path):
    lists = tmp_path / "u" / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    (lists / "classInd.txt").write_text("1 Run\n")
    (lists / "trainlist01.txt").write_text("Run/v_Run_g02_c01.avi 1\n")
    (lists / "testlist01.txt").write_text("Run/v_Run_g01_c01.avi\n")
    frames(tmp_path / "u" / "rawframes" / "Run" / "v_Run_g02_c01", ["img_00001.jpg"])
    assert ucf101.read(tmp_path / "u", "train", {})[0][0].path.name == "v_Run_g02_c01"
    frames(tmp_path / "s" / "20bn-something-something-v2" / "7", ["000001.jpg"])
    (tmp_path / "s" / "labels.json").write_text(json.dumps({"a": "0"}))
    for name in ("train", "validation"):
        row = {"id": "7", "template": "a", "label": "a"}
        (tmp_path / "s" / f"{name}.json").write_text(json.dumps([row]))
    assert ssv2.read(tmp_path / "s", "train", {})[0][0].path.name == "7"
    frames(tmp_path / "h" / "hmdb51" / "run" / "Film_run_0", ["image_1.png"])
    (tmp_path / "h" / "run_test_split1.txt").write_text("Film_run_0.avi 1 \n")
    assert hmdb51.read(tmp_path / "h", "train", {})[0][0].path.name == "Film_run_0"


def of(root, **more):
    cache = root.parent / f"{root.name}-cache"
    return DataSettings(
        **{"dataset": "folder", "root": str(root), "cache_dir": str(cache), "workers": 0,
           "size_px": 32, "cache_frames": 4, "max_bad_fraction": 0.9} | more
    )  # fmt: skip


def test_videos_frames_and_stills_of_one_folder_are_indexed_stored_and_verified(tmp_path):
    root = tmp_path / "own"
    for side, first in (("train", 0), ("test", 100), ("fog", 150)):
        frames(root / side / "a" / "series", NAMES["tsn"], first=first)
        write(root / side / "b" / "film.mp4", frames=20, first=first + 20)
        frames(root / side / "b" / "photos", ["sea.png"], first=first + 7)
    prepared = prepare(of(root))
    assert prepared.class_names == ("a", "b")
    assert prepared.excluded == ()
    assert prepared.train.ids == ("train/a/series", "train/b/film", "train/b/photos/sea")
    assert list(prepared.evaluation) == ["clean", "fog"]
    fog = prepared.evaluation["fog"].source.array
    shown = [numbers(clip.transpose(0, 2, 3, 1)) for clip in fog]
    assert shown == [[153, 161, 168, 176], [172, 177, 182, 187], [157] * 4]
    verdict = verify(of(root), index(of(root)))
    assert verdict.passed
    assert verdict.agreed + len(verdict.unheard) == verdict.compared
    again = of(root, cache_dir=str(tmp_path / "other"), workers=1)
    assert prepare(again).fingerprint == prepared.fingerprint


def test_images_written_anew_are_found(tmp_path):
    root = tmp_path / "own"
    for number in range(5):
        frames(root / "a" / f"clip{number}", NAMES["tsn"][:4], first=number)
    before = prepare(of(root))
    frames(root / "a" / "clip2", ["img_00005.jpg"], first=200)  # one more
    after = prepare(of(root))
    assert before.fingerprint != after.fingerprint
    place = root / "a" / "clip3" / "img_00001.jpg"
    Image.fromarray(picture(99)).save(place)  # in the place of another: names are the same
    assert prepare(of(root)).fingerprint == after.fingerprint
    verdict = verify(of(root), index(of(root)))
    assert verdict.files_changed == ("a/clip3",)


def test_windows_of_folders_of_frames_need_a_rate(tmp_path):
    root = tmp_path / "own"
    for name in ("one", "two"):
        frames(root / name, NAMES["tsn"])
    (root / "clips.csv").write_text(
        "path,label,split,start,end\none,0,train,1,2.5\none,0,train,,\ntwo,0,test,,\n"
    )
    survey = index(of(root, dataset="table", max_overlap=1))
    (row,) = survey.excluded
    assert row["reason"] == (
        "partial: its window of 1 to 2.5 s needs a rate, which the file does not have"
    )
    told = of(root, dataset="table", max_overlap=1, options={"fps": 10})
    assert index(told).stored[0].spans == (range(10, 25), range(30))
    assert {info.fps for info in index(told).stored[0].files} == {10.0}
    for rate in (0, -1, "fast", True):
        with pytest.raises(ValueError, match=r"data\.options\.fps: "):
            index(of(root, dataset="table", options={"fps": rate}))


def test_plain_folders_say_what_is_wrong_with_them(tmp_path):
    root = tmp_path / "own"
    write(root / "train" / "a" / "1.mp4", frames=2)
    with pytest.raises(ValueError, match=r"folder to test on, beside train/: looked for test/<c"):
        index(of(root))
    write(root / "val" / "a" / "1.mp4", frames=3)
    write(root / "val" / "unknown" / "1.mp4", frames=3)
    survey = index(of(root))
    assert survey.counts["clean"]["n_other_class"] == 1
    with pytest.raises(ValueError, match=r"data\.options\.split_seed: of no effect"):
        index(of(root, options={"split_seed": 3}))
    for value in (0, 0.9, "much", True):
        with pytest.raises(ValueError, match=r"data\.options\.test_share"):
            index(of(root, options={"test_share": value}))
    shutil.copytree(root / "val", root / "test")
    assert list(index(of(root, max_overlap=1)).counts) == ["train", "clean", "val"]


def test_a_drawn_split_is_a_share_of_every_class_whatever_else_there_is(tmp_path):
    root = tmp_path / "own"
    for name, count in (("a", 10), ("b", 20), ("c", 1), ("d", 2)):
        (root / name).mkdir(parents=True)
        for number in range(count):
            (root / name / f"{number}.mp4").touch()
    from sweep.data.survey import read_sets

    def tested(**options):
        sets = read_sets(of(root, options=options)).records
        assert not {r.id for r in sets["train"]} & {r.id for r in sets["clean"]}
        assert len(sets["train"]) + len(sets["clean"]) == 33
        return {r.id for r in sets["clean"]}

    first = tested()
    assert sorted(key[0] for key in first) == [*"aa", *"bbbb", "d"]
    assert tested() == first != tested(split_seed=2)
    assert len(tested(test_share=0.5)) == 5 + 10 + 1
    os.rename(root / "c", root / "e")  # noqa: PTH104
    assert {key for key in tested() if key[0] != "e"} == first


def test_twins_of_several_extensions_are_several_clips(tmp_path):
    for name in ("1.mp4", "1.avi", "2.mp4", ".hidden.mp4", "notes.txt"):
        (tmp_path / "a").mkdir(exist_ok=True)
        (tmp_path / "a" / name).touch()
    from sweep.data.readers import folder

    ids = {r.id for s in ("train", "validation") for r in folder.read(tmp_path, s, {})[0]}
    assert ids == {"a/1.avi", "a/1.mp4", "a/2"}


def test_numbers_of_any_length_are_numbers(tmp_path):
    for number in range(1200):
        (tmp_path / f"f{number}.jpg").touch()
    names = [path.name for path in series_of(tmp_path).images]
    assert names == [f"f{number}.jpg" for number in range(1200)]

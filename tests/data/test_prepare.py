"""From a folder to arrays: what is used, what is left out, and that nothing is done twice."""

import json
import os
import shutil
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from sweep.commands import data as command
from sweep.data.decoding import index as indexing
from sweep.data.decoding.decode import read_frames
from sweep.data.motes import make as motes
from sweep.data.motes.knobs import knobs_of
from sweep.data.prepare import prepare
from sweep.data.sampling import uniform_center
from sweep.data.survey import plan, read_sets
from sweep.settings.data import DataSettings

REPOSITORY = Path(__file__).resolve().parents[2]
VIDEOS = REPOSITORY.parent / "shared" / "videos"
TINY = DataSettings(train_per_class=3, val_per_class=1, workers=0)


def replace(settings, **changes):
    """The same settings with some changed, checked as a study's are."""
    paths = {name: str(changes[name]) for name in ("root", "cache_dir") if name in changes}
    return DataSettings.model_validate(settings.model_dump() | changes | paths)


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module", params=["motes-ssv2", "motes-ucf"])
def options(request, cache_dir):
    return replace(TINY, dataset=request.param, cache_dir=cache_dir)


@pytest.fixture
def folder(tmp_path, cache_dir):
    """A folder of the user's own in SSv2 form: a copy of a small set, 24 + 4 x 8 clips."""
    ours = replace(TINY, cache_dir=cache_dir)
    prepare(ours)
    made = next((cache_dir / "motes").glob("motes-ssv2-*"))
    shutil.copytree(made, tmp_path / "own", ignore=shutil.ignore_patterns("manifest.json"))
    return tmp_path / "own"


def hanging_on_5(job, look_at=indexing._look_at):
    """The look at a file, which never ends for one of them."""
    if job[0].name == "5.mp4":
        time.sleep(600)
    return look_at(job)


def own(folder, **changes):
    settings = {"dataset": "ssv2", "root": folder, "cache_dir": folder.parent / "cache"}
    return replace(TINY, **settings | changes)


def test_frames_labels_and_captions_are_those_of_the_files(options):
    stages = {}
    prepared = prepare(
        options, progress=lambda stage, done, total: stages.update({stage: (done, total)})
    )
    assert all(done == total for done, total in stages.values())
    assert list(prepared.evaluation) == ["clean", "appearance", "viewpoint", "dynamics"]
    assert prepared.class_names == motes.class_names(options.dataset)
    for clips in (prepared.train, *prepared.evaluation.values()):
        count = 24 if clips.name == "train" else 8
        assert clips.source.array.shape == (count, 24, 3, 64, 64)
        assert clips.source.array.dtype == np.uint8
        assert not clips.source.array.flags.writeable
        assert clips.labels.dtype == np.int64
        assert len(clips.ids) == len(clips.captions) == len(clips.labels) == count
        assert Path(clips.source.array.filename).is_file()
        assert prepared.counts[clips.name]["n_used"] == count
    sets = read_sets(options)
    for name, records in sets.records.items():
        clips = prepared.train if name == "train" else prepared.evaluation[name]
        for row in (0, len(records) - 1):
            record = records[row]
            assert clips.ids[row] == record.id
            assert clips.labels[row] == record.label
            assert clips.captions[row] == record.captions
            frames = read_frames(record.path, range(24))
            np.testing.assert_array_equal(clips.source.array[row], frames.transpose(0, 3, 1, 2))


def test_a_second_call_opens_no_video_and_is_fast(options):
    first = prepare(options)
    before = time.process_time()
    called = []
    again = prepare(options, progress=lambda *args: called.append(args))
    assert time.process_time() - before < 0.5
    assert not called
    assert again.fingerprint == first.fingerprint
    assert again.counts == first.counts


def test_the_fingerprint_follows_what_changes_the_numbers(options):
    prints = [prepare(options).fingerprint]
    for changes in ({"size_px": 32}, {"cache_frames": 8}, {"labelled_per_class": 1}):
        changed = replace(options, **changes)
        prints.append(prepare(changed).fingerprint)
        assert plan(changed)["fingerprint"] == prints[-1]
    assert len(set(prints)) == 4


def test_the_fingerprint_does_not_depend_on_place_or_time(options, tmp_path):
    elsewhere = prepare(replace(options, cache_dir=tmp_path / "elsewhere"))
    assert elsewhere.fingerprint == prepare(options).fingerprint


def test_labelled_clips_are_the_first_of_every_class(options):
    prepared = prepare(replace(options, labelled_per_class=2))
    assert prepared.labelled.dtype == bool
    for label in range(8):
        assert prepared.labelled[prepared.train.labels == label].tolist() == [True, True, False]
    assert prepare(options).labelled.all()


def test_fewer_and_smaller_frames_are_the_uniform_ones_resized(options):
    prepared = prepare(replace(options, size_px=32, cache_frames=8))
    assert prepared.train.source.array.shape == (24, 8, 3, 32, 32)
    record = read_sets(options).records["train"][5]
    frames = read_frames(record.path, uniform_center(24, 8), size_px=32)
    np.testing.assert_array_equal(prepared.train.source.array[5], frames.transpose(0, 3, 1, 2))


def test_plan_needs_no_numpy_and_tells_before_and_after(tmp_path):
    options = replace(TINY, cache_dir=tmp_path)
    assert plan(options)["clips"] == 56
    assert not plan(options)["is_ready"]
    assert plan(options)["fingerprint"] is None
    motes.make("motes-ssv2", tmp_path / "set", knobs_of(options), workers=0)
    given = replace(options, root=tmp_path / "set")
    assert not plan(given)["is_ready"]
    prepared = prepare(given)
    assert plan(given)["is_ready"]
    assert plan(given)["fingerprint"] == prepared.fingerprint
    code = (
        "import sys; from pathlib import Path; from sweep.settings.data import DataSettings; "
        "from sweep.data.survey import plan; "
        f"plan(DataSettings(train_per_class=3, val_per_class=1, root={given.root!r}, "
        f"cache_dir={str(tmp_path)!r})); "
        "bad = {'numpy', 'torch', 'decord', 'av', 'ray'} & set(sys.modules); "
        "sys.exit(str(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)


def test_two_processes_prepare_the_same_data_at_the_same_time(tmp_path):
    code = (
        "from pathlib import Path; from sweep.settings.data import DataSettings; "
        "from sweep.data.prepare import prepare; "
        "p = prepare(DataSettings(train_per_class=2, val_per_class=1, workers=1, "
        f"cache_dir={str(tmp_path)!r})); print(p.fingerprint, p.train.source.array.sum())"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    outputs = [process.communicate()[0] for process in both]
    assert all(process.returncode == 0 for process in both)
    assert outputs[0] == outputs[1]
    assert outputs[0]
    assert not list(tmp_path.glob("*/.*part*"))


def damage(folder):
    """One video of each kind of damage, in the training set."""
    videos = folder / "videos"
    (videos / "1.mp4").write_bytes(b"")
    whole = (videos / "2.mp4").read_bytes()
    (videos / "2.mp4").write_bytes(whole[: len(whole) // 2])
    (videos / "3.mp4").unlink()
    expected = {"n_missing": 1, "n_corrupt": 2, "n_partial": 0, "n_fallback": 0}
    if VIDEOS.is_dir():
        for key, name in (("1001", "corrupted.mp4"), ("1002", "av1_video.mkv")):
            (videos / f"{key}.mp4").unlink()
            shutil.copy(VIDEOS / name, videos / f"{key}{Path(name).suffix}")
        expected |= {"n_partial": 1}
    return expected


def test_damaged_videos_are_counted_listed_and_left_out(folder):
    expected = damage(folder)
    with pytest.raises(ValueError, match=r"max_bad_fraction=0\.02\); train: \d of 24 excl") as info:
        prepare(own(folder))
    listing = Path(str(info.value).rpartition("listed in ")[2])
    assert listing.read_text().startswith("split\tid\treason\ntrain\t1\tempty")

    prepared = prepare(own(folder, max_bad_fraction=0.2))
    left_out = expected["n_missing"] + expected["n_corrupt"] + expected["n_partial"]
    total = {"n_total": 24, "n_used": 24 - left_out, "n_excluded": left_out}
    assert prepared.counts["train"] == total | expected
    assert prepared.counts["clean"]["n_excluded"] == 0
    reasons = {row["id"]: row["reason"] for row in prepared.excluded}
    assert {"1", "2", "3"} <= reasons.keys()
    assert reasons["1"].startswith("empty")
    assert reasons["2"].startswith("corrupt")
    assert reasons["3"].startswith("no video")
    assert not set(prepared.train.ids) & reasons.keys()
    assert len(prepared.train.source.array) == 24 - left_out
    if expected["n_partial"]:
        assert reasons["1001"] == "partial: 28 of 50 frames can be decoded"
        assert "1002" in prepared.train.ids, "AV1 is read like any other"


def test_a_repaired_video_is_looked_at_again_and_only_that_one(folder):
    broken = folder / "videos" / "1.mp4"
    whole = broken.read_bytes()
    broken.write_bytes(b"")
    loose = own(folder, max_bad_fraction=0.2)
    before = prepare(loose)
    assert before.counts["train"]["n_corrupt"] == 1
    broken.write_bytes(whole)
    seen = {}
    after = prepare(loose, progress=lambda stage, done, total: seen.update({stage: total}))
    assert seen["index"] == 1
    assert seen["decode"] == 24, "the training set alone"
    assert after.counts["train"]["n_used"] == 24
    assert after.excluded == ()
    assert after.fingerprint != before.fingerprint


def test_a_video_that_falls_silent_is_set_aside_and_never_called_corrupt(
    folder, monkeypatch, caplog
):
    strict = own(folder, max_bad_fraction=0.2, workers=2)
    for number in (5, 6):
        shutil.copy(folder / "videos" / "1.mp4", folder / "videos" / f"{number}.mp4")
    rows = json.loads((folder / "train.json").read_text())
    rows += [{**rows[0], "id": "5"}, {**rows[0], "id": "6"}]
    (folder / "train.json").write_text(json.dumps(rows))
    monkeypatch.setattr(indexing, "SILENCE_S", 3.0)
    monkeypatch.setattr(indexing, "_look_at", hanging_on_5)
    prepared = prepare(strict)
    assert [row["id"] for row in prepared.excluded] == ["5"]
    assert prepared.excluded[0]["reason"] == "timeout: no frame for 3 s, twice"
    assert prepared.counts["train"]["n_timeout"] == 1
    assert prepared.counts["train"]["n_corrupt"] == 0
    assert "set aside" in caplog.text
    monkeypatch.undo()
    assert prepare(strict).excluded, "it stays out until someone asks to look again"
    sets = read_sets(strict)
    indexing.update(strict, sets.root, sets.paths, retry=True)
    assert prepare(strict).excluded == ()


def test_extra_shift_sets_of_the_user_become_evaluation_sets(folder):
    shutil.copy(folder / "validation.json", folder / "validation-rain.json")
    prepared = prepare(own(folder))
    assert list(prepared.evaluation) == ["clean", "appearance", "viewpoint", "dynamics", "rain"]
    assert prepared.evaluation["rain"].ids == prepared.evaluation["clean"].ids


def test_a_damaged_store_and_a_wrong_folder_say_what_to_do(folder, tmp_path):
    prepared = prepare(own(folder))
    path = Path(prepared.train.source.array.filename)
    os.truncate(path, 1000)
    with pytest.raises(ValueError, match=r"frames\.npy is damaged.*delete"):
        prepare(own(folder))
    with pytest.raises(ValueError, match=r"looked for train\.json"):
        prepare(own(tmp_path))
    with pytest.raises(ValueError, match="give its folder"):
        prepare(replace(TINY, dataset="ucf101"))
    with pytest.raises(ValueError, match="did you mean 'motes-ucf'"):
        prepare(replace(TINY, dataset="motes-ucg"))


def test_a_killed_build_of_the_store_goes_on_where_it_stopped(folder, monkeypatch):
    from sweep.data.decoding import cache

    monkeypatch.setattr(cache, "_SAVE_EVERY", 4)
    options = own(folder, workers=0)
    done = []

    def stop(stage, number, total):
        if stage == "decode":
            done.append(number)
            if number == 10:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(options, progress=stop)
    rest = []
    prepared = prepare(options, progress=lambda *now: rest.append(now) if now[0] == "decode" else 0)
    assert rest[0] == ("decode", 9, 56), "eight of the ten clips were on record"
    whole = prepare(replace(options, cache_dir=folder.parent / "other"))
    np.testing.assert_array_equal(prepared.train.source.array, whole.train.source.array)


def run(action, options):
    out = StringIO()
    code = command.run(action, options, console=Console(file=out, width=200))
    return code, out.getvalue()


def test_the_command_makes_indexes_caches_and_verifies(tmp_path):
    options = replace(TINY, cache_dir=tmp_path, train_per_class=1)
    for action, words in (
        ("make", "encoding clips: 40/40"),
        ("index", "looking at videos: 40/40"),
        ("cache", "decoding into the cache: 40/40"),
        ("verify", "8 of 8 clips show the same frames by the other library"),
    ):
        code, text = run(action, options)
        assert code == 0, text
        assert words in text
    prepared = prepare(options)
    frames = np.lib.format.open_memmap(Path(prepared.train.source.array.filename), mode="r+")
    frames[:] ^= 1
    frames.flush()
    root = next((tmp_path / "motes").glob("motes-ssv2-*"))
    code, text = run("verify", options)
    assert code == 1
    assert "differs: train/" in text
    (root / "videos" / "1.mp4").unlink()
    code, text = run("index", options)
    assert code == 1
    assert "too many unusable" in text
    assert "no video" in text
    with pytest.raises(ValueError, match="too many unusable"):
        run("cache", options)

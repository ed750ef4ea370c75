"""The embedded data sets: what the clips show, determinism, and that half-made sets never count."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sweep.data.decoding.decode import read_frames
from sweep.data.motes import make as motes
from sweep.data.motes.knobs import Knobs
from sweep.data.motes.scene import (
    COLOURS,
    EXTRA_MOTIONS,
    HELD_OUT_COLOURS,
    MOTIONS,
    SHIFTS,
    Address,
    draw,
    render,
)
from sweep.data.readers import msrvtt, ssv2, ucf101

REPOSITORY = Path(__file__).resolve().parents[2]
TINY = Knobs(train_per_class=5, val_per_class=2)  # one whose parameters have a stored digest
PIXELS = {"frames": 24, "resolution": 64, "rho": 0.5}


class SameNumbers(Address):
    """Addresses that draw the same random numbers whatever their class."""

    def generator(self, *stream):
        return np.random.Generator(np.random.PCG64([self.index, *stream]))


def scene(label, *, index=0, task="motes-ssv2", shift="clean", kind=Address, noise=0):
    address = kind(task, "validation", shift, label, index)
    return draw(address, **PIXELS, noise=noise)


def tiny(dataset, **knobs):
    return Knobs.of(dataset, **{"train_per_class": 5, "val_per_class": 2, **knobs})


@pytest.fixture(scope="module", params=["motes-ssv2", "motes-ucf", "motes-vtt"])
def made(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("motes") / request.param
    return request.param, motes.make(request.param, folder, tiny(request.param), workers=2)


@pytest.mark.parametrize("shift", ["clean", "viewpoint", "dynamics"])
@pytest.mark.parametrize("pair", range(len(MOTIONS + EXTRA_MOTIONS) // 2))
def test_the_classes_of_a_pair_are_each_other_reversed_in_time(pair, shift):
    """With the same numbers, one goes through the states of the other from the far end."""
    for index in range(3):
        forth, back = (
            scene(2 * pair + side, index=index, shift=shift, kind=SameNumbers) for side in (0, 1)
        )
        assert forth.params | {"motion": ""} == back.params | {"motion": ""}
        one, other = forth.things[-1], back.things[-1]
        gaps = {name: getattr(one, name) - getattr(other, name) for name in ("x", "y", "tilt")}
        gaps["size"] = np.log(one.size / other.size)
        gaps["opacity"] = one.opacity - other.opacity
        moved = {name: gap for name, gap in gaps.items() if np.abs(gap).max() > 1e-12}
        assert len(moved) == 1, "a pair differs in one property alone"
        (gap,) = moved.values()
        assert gap[0] == pytest.approx(-gap[-1]), "one starts where the other ends"
        assert (np.diff(gap) * np.sign(gap[-1]) >= -1e-12).all()
        for ours, theirs in zip(forth.things[:-1], back.things[:-1], strict=True):
            if ours.size[0] < 0.2:  # a distractor, not the second copy of pair 5
                np.testing.assert_array_equal(ours.x, theirs.x)


def test_each_motion_is_what_its_name_says():
    def course(label, name):
        values = [getattr(scene(label, index=i).things[-1], name) for i in range(20)]
        return np.mean([value[-1] - value[0] for value in values])

    assert course(0, "x") > 0.7 > -0.7 > course(1, "x")
    assert course(2, "y") < -0.7 < 0.7 < course(3, "y")  # y grows downward
    assert course(4, "size") > 0.2 > -0.2 > course(5, "size")
    assert course(6, "opacity") > 0.99 > -0.99 > course(7, "opacity")
    assert course(8, "tilt") > 1 > -1 > course(9, "tilt")  # clockwise, since y grows downward
    assert course(10, "x") > 0.3 > -0.3 > course(11, "x")  # the right one of two copies


def test_held_out_words_and_colours_appear_in_the_appearance_shift_alone():
    for task in ("motes-ssv2", "motes-ucf"):
        for shift in SHIFTS:
            params = [scene(label, task=task, shift=shift).params for label in range(8)]
            held = [p["background"] in HELD_OUT_COLOURS for p in params]
            held += [p["colour"] in HELD_OUT_COLOURS for p in params]
            assert set(held) == {shift == "appearance"}


def test_rho_is_the_share_of_backgrounds_that_tell_the_class():
    for rho, low, high in ((0.0, 0.0, 0.3), (1.0, 1.0, 1.0)):
        scenes = [
            draw(
                Address("motes-ucf", "train", "clean", label, index),
                **PIXELS | {"rho": rho},
                noise=0,
            )
            for label in range(8)
            for index in range(8)
        ]
        colours = list(COLOURS)
        told = [s.params["background"] == colours[i // 8] for i, s in enumerate(scenes)]
        assert low <= np.mean(told) <= high


def test_dynamics_pauses_and_changes_speed():
    for index in range(10):
        plain = scene(6, index=index, shift="dynamics")
        opacity = plain.things[-1].opacity
        steps = np.diff(opacity)
        assert (steps >= -1e-12).all()
        length = plain.params["pause_frames"]
        start = plain.params["pause_start"]
        assert 4 <= length <= 7
        assert np.ptp(opacity[start : start + length + 1]) < 1e-12
        assert 0.17 < opacity[0] < opacity[-1] < 0.83  # the amplitude shrinks around one half


def test_noise_is_the_last_draw_and_stays_in_its_range():
    clean, noisy = scene(0, noise=0), scene(0, noise=6)
    assert clean.params == noisy.params
    gap = render(noisy, resolution=64).astype(int) - render(clean, resolution=64)
    assert np.abs(gap).max() <= 7  # 6, and the rounding of both
    assert np.abs(gap).mean() > 2


@pytest.mark.parametrize("resolution", [32, 96])
def test_resolution_changes_the_grid_not_the_scene(resolution):
    frames = render(scene(0), resolution=resolution)
    assert frames.shape == (24, resolution, resolution, 3)
    assert abs(frames.mean() - render(scene(0), resolution=64).mean()) < 1


def test_files_have_the_official_forms_and_the_readers_read_them(made):
    dataset, folder = made
    reader = {"motes-ssv2": ssv2, "motes-ucf": ucf101, "motes-vtt": msrvtt}[dataset]
    assert list(reader.splits(folder, {}))[:2] == ["train", "validation"]
    own = {"appearance-known"} if dataset == "motes-vtt" else set()
    assert set(reader.splits(folder, {})) == {"train", "validation", *SHIFTS, *own} - {"clean"}
    groups = {}
    for split in reader.splits(folder, {}):
        records, labels = reader.read(folder, split, {})
        assert labels.names == motes.class_names(dataset)
        per_class = 5 if split == "train" else 2
        if dataset == "motes-vtt":
            assert [r.label for r in records] == [-1] * 4 * per_class
        else:
            assert np.bincount([r.label for r in records]).tolist() == [per_class] * 8
        assert all(record.path is not None for record in records)
        if split not in own:  # the same videos in other words
            groups[split] = {record.group for record in records}
        captions = {len(record.captions) for record in records}
        told = {"motes-ssv2": 5, "motes-ucf": 0, "motes-vtt": 5 if split == "train" else 1}
        assert captions == {told[dataset]}
    everything = [name for names in groups.values() for name in names]
    assert len(everything) == len(set(everything)), "a group stands in two splits"


def test_captions_name_what_the_clip_shows(tmp_path):
    folder = motes.make("motes-ssv2", tmp_path / "set", TINY, workers=0)
    captions = json.loads((folder / "captions.json").read_text())
    clips = {Path(c["path"]).stem: c for c in motes.read_manifest(folder)["clips"]}
    assert captions.keys() == clips.keys()
    for key, sentences in captions.items():
        params = clips[key]["params"]
        assert all(params["colour"] in sentence for sentence in sentences)
        words = {word for pair in motes.PHRASES[params["motion"]] for word in pair}
        assert all(any(phrase in sentence for phrase in words) for sentence in sentences)
        assert params["background"] in sentences[0]
        assert params["background"] in sentences[3]


def test_no_caption_of_motes_vtt_fits_two_test_clips():
    """Clips that would be told alike are drawn anew, those of a smaller set stay as they are."""
    knobs = tiny("motes-vtt", train_per_class=1, val_per_class=60)
    told, again = {}, 0
    for address in motes.addresses("motes-vtt", knobs):
        if address.split == "train":
            continue
        params = draw(address, **PIXELS, noise=0).params
        assert params["motion"] in MOTIONS[2 * address.label :][:2]
        clip = {"split": address.split, "shift": address.shift, "params": params}
        clip |= {"label": address.label, "index": address.index}
        told.setdefault(address.shift, []).append(motes._captions("motes-vtt", clip, knobs)[0])
        again += address.attempt
    assert again > 0
    for captions in told.values():
        assert len(captions) == len(set(captions)) == 240


def test_known_captions_use_words_of_the_training_set(tmp_path):
    folder = motes.make("motes-vtt", tmp_path / "set", tiny("motes-vtt", train_per_class=12))
    trained, _ = msrvtt.read(folder, "train", {})
    known = {word for record in trained for text in record.captions for word in text.split()}
    words = {
        split: {word for r in msrvtt.read(folder, split, {})[0] for word in r.captions[0].split()}
        for split in ("appearance", "appearance-known")
    }
    assert words["appearance-known"] <= known
    assert words["appearance"] - known
    plain, full = (
        {r.id: (r.path, r.captions[0].split()) for r in msrvtt.read(folder, split, {})[0]}
        for split in words
    )
    assert plain.keys() == full.keys()


def test_manifest_matches_the_files_and_the_stored_digest(made):
    dataset, folder = made
    manifest = motes.read_manifest(folder)
    key = (motes.MOTES_VERSION, dataset, 5, 2)
    assert manifest["params_sha256"] == motes.PARAMS_SHA256[key]
    assert motes.changed_files(folder) == []
    for clip in manifest["clips"][::23]:
        frames = read_frames(folder / clip["path"], range(24))
        assert frames.shape == (24, 64, 64, 3)
        assert np.abs(frames.mean(axis=(0, 1, 2)) - clip["mean_rgb"]).max() < 2.5  # H.264 loss


def test_a_set_does_not_depend_on_workers_and_a_larger_one_keeps_its_clips(made, tmp_path):
    dataset, folder = made
    larger = tiny(dataset, train_per_class=6, val_per_class=3)
    again = motes.make(dataset, tmp_path / "larger", larger, workers=0)
    sums = [
        {c["path"]: c["sha256"] for c in motes.read_manifest(f)["clips"]} for f in (folder, again)
    ]
    assert sums[0].items() <= sums[1].items()


def test_a_damaged_file_is_found(tmp_path):
    knobs = replace(TINY, train_per_class=1, val_per_class=1)
    folder = motes.make("motes-ssv2", tmp_path / "set", knobs, workers=0)
    (folder / "videos" / "1.mp4").write_bytes(b"x")
    (folder / "videos" / "1001.mp4").unlink()
    assert motes.changed_files(folder) == ["videos/1.mp4", "videos/1001.mp4"]


def test_another_set_in_the_folder_is_refused(tmp_path, made):
    dataset, folder = made
    with pytest.raises(ValueError, match="holds another set"):
        motes.make(dataset, folder, tiny(dataset, seed=4), workers=0)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note.txt").write_text("mine")
    with pytest.raises(ValueError, match="not a set of motes"):
        motes.make(dataset, tmp_path / "mine", tiny(dataset), workers=0)
    assert (tmp_path / "mine" / "note.txt").exists()


@pytest.mark.parametrize(
    ("dataset", "change"),
    [
        ("motes-ssv2", {"train_per_class": 0}),
        ("motes-ssv2", {"classes": 9}),
        ("motes-ucf", {"classes": 12}),
        ("motes-ucf", {"train_per_class": 201}),
        ("motes-ssv2", {"resolution": 33}),
        ("motes-ssv2", {"rho": 1.5}),
        ("motes-ssv2", {"seed": -1}),
        ("motes", {}),
    ],
)
def test_settings_out_of_range_are_refused(tmp_path, dataset, change):
    with pytest.raises(ValueError, match=r"motes"):
        motes.make(dataset, tmp_path / "set", replace(TINY, **change), workers=0)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("classes", [12])
def test_twelve_classes(tmp_path, classes):
    knobs = Knobs(train_per_class=1, val_per_class=1, classes=classes, frames=8, resolution=32)
    folder = motes.make("motes-ssv2", tmp_path / "set", knobs, workers=0)
    records, labels = ssv2.read(folder, "train", {})
    assert len(labels.names) == len(records) == 12


def test_a_killed_build_leaves_nothing_that_passes_for_a_set(tmp_path):
    folder = tmp_path / "set"
    # No `if __name__` guard: worker processes must not run the caller's script again.
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        "from sweep.data.motes.make import make\nfrom sweep.data.motes.knobs import Knobs\n"
        f"make('motes-ssv2', Path({str(folder)!r}), Knobs(60, 30), workers=2)\n"
        "print('made')\n"
    )
    command = [sys.executable, str(script)]
    process = subprocess.Popen(command, cwd=tmp_path, env=_environment())
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".set.part-*/videos/*.mp4")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(tmp_path.glob(".set.part-*/videos/*.mp4"))
    assert not folder.exists()

    script.write_text(script.read_text().replace("Knobs(60, 30)", "Knobs(5, 2)"))
    result = subprocess.run(
        command, cwd=tmp_path, env=_environment(), capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["made"], "a worker ran the script again"
    assert motes.changed_files(folder) == []
    assert not list(tmp_path.glob(".set.part-*"))


def _environment():
    import os

    return os.environ | {"PYTHONPATH": str(REPOSITORY)}

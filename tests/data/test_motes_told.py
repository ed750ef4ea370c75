"""Embedded data that asks, narrates or rates: what is said follows from what the clips show."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from sweep.data.catalogue import DATASETS
from sweep.data.decoding.decode import read_frames
from sweep.data.motes import make as motes
from sweep.data.motes.knobs import MOTES_CLASSES, Knobs
from sweep.data.motes.narration import OFF_TOPIC, spoken
from sweep.data.motes.questions import did, options_of
from sweep.data.motes.scene import COLOURS, MOTIONS, SHIFTS, Address, draw
from sweep.data.motes.words import PHRASES, SYNONYMS
from sweep.data.prepare import prepare
from sweep.data.survey import plan
from sweep.studies.load import data_settings_from

NEW = ("motes-howto", "motes-qa", "motes-qa-choice", "motes-mosi")


def tiny(dataset, **knobs):
    return Knobs.of(dataset, **{"train_per_class": 5, "val_per_class": 2, **knobs})


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Every new set, small: one whose parameters have a stored digest."""
    folder = tmp_path_factory.mktemp("motes")
    names = (*NEW, "motes-vtt")
    return {name: motes.make(name, folder / name, tiny(name), workers=0) for name in names}


def read(folder, dataset):
    """Clip of every record of every split: (split, record, parameters)."""
    reader = DATASETS[dataset].load()
    clips = {clip["path"]: clip for clip in motes.read_manifest(folder)["clips"]}
    for split in reader.splits(folder, {}):
        for record in reader.read(folder, split, {})[0]:
            yield split, record, clips[str(record.path.relative_to(folder))]["params"]


@pytest.mark.parametrize("dataset", NEW)
def test_sets_keep_their_numbers_and_the_promises_of_their_row(sets, dataset):
    row, folder = DATASETS[dataset], sets[dataset]
    digest = motes.read_manifest(folder)["params_sha256"]
    assert digest == motes.PARAMS_SHA256[motes.MOTES_VERSION, dataset, 5, 2]
    assert (motes.MOTES_VERSION, dataset, *row.settings.values()) in motes.PARAMS_SHA256
    assert motes.changed_files(folder) == []
    groups, found = {}, list(read(folder, dataset))
    for split, record, _ in found:
        assert row.extras <= record.meta.keys()
        assert bool(record.captions) == row.captions
        groups.setdefault(split, set()).add(record.group)
    assert set(groups) == {"train", "test", *SHIFTS} - {"clean"}
    everything = [name for names in groups.values() for name in names]
    assert len(everything) == len(set(everything)), "a recording stands in two splits"


@pytest.mark.parametrize("dataset", ["motes-howto", "motes-mosi"])
def test_clips_depend_neither_on_the_size_of_the_set_nor_on_workers(sets, dataset, tmp_path):
    def sums(folder):
        return {clip["path"]: clip["sha256"] for clip in motes.read_manifest(folder)["clips"]}

    knobs = tiny(dataset, train_per_class=1, val_per_class=3)
    other, own = sums(motes.make(dataset, tmp_path / "a", knobs, workers=1)), sums(sets[dataset])
    both = own.keys() & other.keys()
    assert len(both) == 1 + 4 * 2
    assert all(own[name] == other[name] for name in both)


@pytest.mark.parametrize("dataset", sorted({*MOTES_CLASSES} - {"motes-ucf"}))
def test_plan_knows_the_counts_before_anything_is_made(dataset, tmp_path):
    settings = data_settings_from(
        dataset,
        [f"data.cache_dir={tmp_path}", "data.train_per_class=2", "data.val_per_class=1",
         "data.workers=0", "data.cache_frames=4", "data.size_px=16", "data.options.resolution=16"],
    )  # fmt: skip
    planned = plan(settings)
    made = prepare(settings)
    assert planned["train_clips"] == len(made.train.ids)
    assert planned["evaluation_clips"] == len(made.evaluation["clean"].ids)
    assert set(planned["shifts"]) == set(made.evaluation) - {"clean"}


# ---------------------------------------------------------------------------------------- questions


@pytest.mark.parametrize("dataset", ["motes-qa", "motes-qa-choice"])
def test_questions_are_on_the_clips_of_motes_vtt(sets, dataset):
    sums = [
        {Path(clip["path"]).name: clip["sha256"] for clip in motes.read_manifest(folder)["clips"]}
        for folder in (sets[dataset], sets["motes-vtt"])
    ]
    assert sums[0] == sums[1]


def test_open_answers_follow_from_the_clip_and_are_single_words(sets):
    asked = {}
    words = {did(motion) for motion in MOTIONS}
    for split, record, params in read(sets["motes-qa"], "motes-qa"):
        answer = {
            "which shape is in front ?": params["shape"],
            "what does the shape in front do ?": did(params["motion"]),
            "what colour is the shape in front ?": params["colour"],
            "what colour is behind it ?": params["background"],
        }[record.meta["question"]]
        assert record.meta["answer"] == answer
        assert len(answer.split()) == 1
        asked.setdefault(split, {}).setdefault(record.group, []).append(answer)
        assert split != "appearance" or answer in words or answer not in COLOURS
    counts = {split: {len(a) for a in answers.values()} for split, answers in asked.items()}
    assert counts == {split: {2 if split == "appearance" else 4} for split in counts}


def test_default_answers_are_all_in_the_vocabulary_of_training():
    """Tests ask for nothing that training never said, at the default size."""
    from sweep.data.motes.questions import asked_about

    said = {}
    for address in motes.addresses("motes-qa", Knobs.of("motes-qa", val_per_class=12)):
        params = draw(address, frames=24, resolution=64, rho=0.5, noise=0).params
        for _, answer in asked_about(params, is_new=address.shift == "appearance"):
            said.setdefault(address.split, set()).add(answer)
    assert said["validation"] <= said["train"]


def test_options_hold_the_reverse_and_places_are_even():
    rng = np.random.default_rng(0)
    places = np.zeros(5)
    for motion in MOTIONS * 100:
        options, answer = options_of(motion, rng)
        reverse = MOTIONS[MOTIONS.index(motion) ^ 1]
        assert options[answer] == PHRASES[motion][0][0]
        assert PHRASES[reverse][0][0] in options
        assert len(set(options)) == 5
        places[answer] += 1
    assert (np.abs(places - 160) < 5 * np.sqrt(160 * 0.8)).all()


def test_choices_have_the_motion_of_the_clip(sets):
    for _, record, params in read(sets["motes-qa-choice"], "motes-qa-choice"):
        right = record.meta["options"][record.meta["answer"]]
        assert right == PHRASES[params["motion"]][0][0]


# ---------------------------------------------------------------------------------------- narration


def test_test_clips_of_long_videos_show_what_is_said_and_are_told_apart(sets):
    told = {}
    for split, record, params in read(sets["motes-howto"], "motes-howto"):
        if split == "train":
            continue
        (sentence,) = record.captions
        segment = params["segments"][round(record.start / (16 / 12))]
        assert record.end - record.start == pytest.approx(16 / 12, abs=0.002)
        phrases = {does for does, _ in PHRASES[segment["motion"]]}
        assert sentence.split(params["colour"] + " ")[1] in phrases
        assert sentence.split()[1] in SYNONYMS.get(params["shape"], (params["shape"],))
        told.setdefault(split, []).append(sentence)
    for sentences in told.values():
        assert len(sentences) == len(set(sentences)) == 16


def test_no_two_test_videos_of_a_full_set_are_told_alike():
    knobs = Knobs.of("motes-howto", train_per_class=1, val_per_class=20)
    told = {}
    for address in motes.addresses("motes-howto", knobs):
        params = draw(address, frames=128, resolution=64, rho=0.5, noise=0).params
        told.setdefault((address.split, address.shift), []).append(
            (params["colour"], params["shape"])
        )
        assert sorted(one["motion"] for one in params["segments"]) == sorted(MOTIONS)
    assert all(len(set(pairs)) == len(pairs) for pairs in told.values())


def test_the_object_of_a_long_video_goes_through_its_motions():
    for index in range(4):
        scene = draw(
            Address("motes-howto", "train", "clean", 0, index), frames=128, resolution=64, rho=0.5,
            noise=0,
        )  # fmt: skip
        thing = scene.things[-1]
        course = {"right": (thing.x, 1), "left": (thing.x, -1), "up": (thing.y, -1),
                  "down": (thing.y, 1), "closer": (thing.size, 1), "away": (thing.size, -1),
                  "appear": (thing.opacity, 1), "disappear": (thing.opacity, -1)}  # fmt: skip
        for number, segment in enumerate(scene.params["segments"]):
            values, sign = course[segment["motion"]]
            first, last = values[16 * number], values[16 * number + 15]
            assert sign * (last - first) > 0.15


def test_narration_is_loose_in_training_and_only_there():
    """What goes wrong has the shares that are written down, and times stay in the video."""
    rng = np.random.default_rng(1)
    rows = [(1.0 * k, 1.0 * k + 1, f"step {k}") for k in range(8)]
    swapped = replaced = kept = 0
    shifts = []
    for _ in range(500):
        found = spoken(rows, 8.0, rng)
        assert 1 <= len(found) <= 8
        assert all(0 <= start < end <= 8 for start, end, _ in found)
        kept += len(found)
        texts = [text for _, _, text in found]
        replaced += sum(text in OFF_TOPIC for text in texts)
        numbers = [int(text.split()[1]) for text in texts if text not in OFF_TOPIC]
        swapped += numbers != sorted(numbers)
        middle = [start for start, _, text in found if text == "step 3"]
        shifts += [start - 3 for start in middle]
    assert kept / 4000 == pytest.approx(0.9, abs=0.02)
    assert replaced / kept == pytest.approx(0.2, abs=0.03)
    assert swapped > 250
    assert 1.3 < np.quantile(np.abs(shifts), 0.95) < 3
    assert spoken(rows, 8.0, np.random.default_rng(2)) == spoken(
        rows, 8.0, np.random.default_rng(2)
    )


# ------------------------------------------------------------------------------------------- rating


def test_ratings_are_how_far_the_object_rises(sets):
    for split, record, params in read(sets["motes-mosi"], "motes-mosi"):
        assert record.meta["rating"] == pytest.approx(params["rating"], abs=0.051)
        assert not {"up", "down", "left", "right"} & set(record.captions[0].split())
        assert split in {"train", "test", *SHIFTS}
    risen, rated = [], []
    for shift in ("clean", "dynamics", "viewpoint"):
        for index in range(60):
            address = Address("motes-mosi", "validation", shift, 0, index)
            scene = draw(address, frames=24, resolution=64, rho=0.5, noise=0)
            thing = scene.things[-1]
            risen.append(thing.y[0] - thing.y[-1])
            rated.append(scene.params["rating"])
    assert np.corrcoef(risen, rated)[0, 1] > 0.98
    assert min(rated) < -2 < 2 < max(rated)
    assert np.abs(np.array(rated) * 1.3 / 3 - risen).mean() < 0.12  # the wobble


def test_annotations_are_those_of_the_official_forms(sets):
    with (sets["motes-mosi"] / "label.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["video_id", "clip_id", "text", "label", "label_T", "label_A",
                             "label_V", "annotation", "mode"]  # fmt: skip
    for row in rows:
        sign = np.sign(float(row["label"]))
        assert row["annotation"] == {1: "Positive", 0: "Neutral", -1: "Negative"}[sign]
    table = (sets["motes-qa-choice"] / "Train_action_question.csv").read_bytes().decode()
    assert table.startswith("gif_name\tquestion\ta1\ta2\ta3\ta4\ta5\tanswer\tvid_id\tkey\r\n")
    item = json.loads((sets["motes-qa"] / "train_qa.json").read_text())[0]
    assert list(item) == ["id", "video_id", "question", "answer"]
    lines = (sets["motes-howto"] / "crosstask.csv").read_text().splitlines()
    assert lines[0] == "end,start,task_id,text,video_id"
    captions = json.loads((sets["motes-howto"] / "captions" / "1.json").read_text())
    assert list(captions) == ["start", "end", "text"]


# ------------------------------------------------------------------------------------------- knobs


def test_the_same_clips_at_published_sizes(tmp_path):
    knobs = tiny("motes-mosi", train_per_class=1, val_per_class=1, resolution=224)
    folder = motes.make("motes-mosi", tmp_path / "set", knobs, workers=0)
    small = tiny("motes-mosi", train_per_class=1, val_per_class=1, resolution=112, noise=0)
    other = motes.make("motes-mosi", tmp_path / "small", small, workers=0)
    clips = [motes.read_manifest(one)["clips"] for one in (folder, other)]
    for large, little in zip(*clips, strict=True):
        assert large["params"] == little["params"]
        frames = read_frames(folder / large["path"], range(24))
        assert frames.shape == (24, 224, 224, 3)
        assert np.abs(np.subtract(large["mean_rgb"], little["mean_rgb"])).max() < 1.5


@pytest.mark.parametrize(
    ("dataset", "change", "words"),
    [
        ("motes-howto", {"val_per_class": 21}, r"val_per_class=21 is not within 1\.\.20"),
        ("motes-howto", {"frames": 100}, "frames=100 must be a multiple of 8"),
        ("motes-howto", {"frames": 56}, r"frames=56 is not within 64\.\.1000"),
        ("motes-qa", {"val_per_class": 251}, r"not within 1\.\.250"),
        ("motes-mosi", {"classes": 2}, r"classes=2; allowed: \(1,\)"),
    ],
)
def test_knobs_out_of_range_are_refused(tmp_path, dataset, change, words):
    with pytest.raises(ValueError, match=words):
        motes.make(dataset, tmp_path / "set", tiny(dataset, **change), workers=0)

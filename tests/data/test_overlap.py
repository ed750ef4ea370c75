"""What tests share with training, who owns a video, and that `plan` checks as `study` does."""

import json
import shutil
from io import StringIO
from types import SimpleNamespace

import pytest
from rich.console import Console

from sweep.commands import data as command
from sweep.data import prepare
from sweep.data.overlap import describe_shared
from sweep.data.survey import plan, read_sets
from sweep.report.sections.protocol import absence_section
from sweep.run import main
from sweep.settings.data import DataSettings
from tests.data import numbered
from tests.data.test_lists import CLASSES, case, put


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Videos of other bytes each."""
    folder = tmp_path_factory.mktemp("clips")
    paths = [folder / f"{number}.avi" for number in range(6)]
    for number, path in enumerate(paths):
        numbered.write(path, codec="mpeg4", frames=6, first=10 * number)
    return paths


@pytest.fixture
def ucf(tmp_path, clips):
    """A folder in UCF101's layout: which videos are trained and tested on, by number of a clip."""

    def make(train, test, **settings):
        root = tmp_path / "root"
        lists = root / "ucfTrainTestlist"
        put(lists / "classInd.txt", "1 Run\n2 Walk\n")
        numbers = {"Run": 1, "Walk": 2}
        lines = (f"{name} {numbers[name.split('/')[0]]}\n" for name in train)
        put(lists / "trainlist01.txt", "".join(lines))
        put(lists / "testlist01.txt", "".join(f"{name}\n" for name in test))
        for name, number in (train | test).items():
            if number is not None:
                (root / "UCF-101" / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(clips[number], root / "UCF-101" / name)
        return DataSettings(
            dataset="ucf101", root=str(root), cache_dir=str(tmp_path / "cache"), workers=0,
            cache_frames=4, size_px=16, **settings,
        )  # fmt: skip

    return make


TRAIN = {"Run/a.avi": 0, "Walk/b.avi": 1}
OVERLAPS = {
    "ids": (TRAIN, {"Run/a.avi": 0, "Walk/b.avi": 1}),
    "bytes": (TRAIN, {"Run/c.avi": 0, "Walk/d.avi": 1}),
}
GROUPS = (
    {"Run/v_Run_g01_c01.avi": 0, "Walk/v_Walk_g01_c01.avi": 1},
    {"Run/v_Run_g01_c02.avi": 2, "Walk/v_Walk_g02_c02.avi": 3},
)


@pytest.mark.parametrize("kind", OVERLAPS)
def test_clips_that_are_trained_and_tested_on_are_counted_and_refused(ucf, kind):
    settings = ucf(*OVERLAPS[kind])
    words = {"ids": "id", "bytes": "bytes"}[kind]
    said = rf"test clips are trained on \(data\.max_overlap=0\).*clean: of 2 .*2 share the {words}"
    out = StringIO()
    assert command.run("index", settings, console=Console(file=out, width=300)) == 1
    assert "shared with training: clean: of 2 clips" in out.getvalue()
    for step in (plan, prepare.prepare):
        with pytest.raises(ValueError, match=said):
            step(settings)
    assert command.run("cache", settings, console=Console(file=StringIO())) == 0
    asked = settings.model_copy(update={"max_overlap": 1.0})
    assert prepare.prepare(asked).counts["clean"][f"n_shared_{kind}"] == 2
    assert "shared with training: clean: of 2 clips" in plan(asked)["note"]


def test_recordings_of_both_sides_are_counted_and_not_refused(ucf):
    settings = ucf(*GROUPS)
    counts = prepare.prepare(settings).counts
    assert counts["clean"]["n_shared_groups"] == 1
    assert "n_shared_ids" not in counts["clean"]
    assert not any(name.startswith("n_shared") for name in counts["train"])
    assert "clean: of 2 clips 1 share the recording" in plan(settings)["note"]


def test_the_report_tells_what_is_shared_and_is_silent_otherwise():
    def told(**shared):
        record = SimpleNamespace(data={"counts": {"clean": {"n_total": 9, **shared}}})
        evidence = SimpleNamespace(cells=[], missing=[], records=[record])
        return [b.text for b in absence_section(SimpleNamespace(evidence=evidence), []).blocks]

    (text,) = set(told(n_shared_groups=4)) - set(told())
    assert text.startswith(
        "Shared with training: clean: of 9 clips 4 share the recording. Accuracy"
    )


#: A test clip each with the id (hence the recording), the bytes, the recording of a training clip.
EVERY_KIND = (
    {"Run/a.avi": 0, "Walk/b.avi": 1, "Run/v_Run_g01_c01.avi": 2, "Walk/e.avi": 4},
    {"Run/a.avi": 0, "Walk/c.avi": 1, "Run/v_Run_g01_c02.avi": 3, "Walk/d.avi": 5},
)
SAID = "clean: of 4 clips 1 share the id, 2 share the recording, 2 share the bytes"


def test_index_plan_and_page_count_the_same_from_folder_to_report(ucf, tmp_path, capsys):
    """The verbs themselves, on one small folder: refused, then allowed and told."""
    settings = ucf(*EVERY_KIND)
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\ntitle: t\nquestion: q\nlosses: {consistency: {}}\ndesign: {kind: anchors}\n"
        f"seeds: 1\ndata: {{dataset: ucf101, root: {settings.root}, workers: 0, cache_frames: 4, "
        f"size_px: 32, cache_dir: {settings.cache_dir}}}\n"
        "model: {name: tiny, knobs: {frames: 4}}\ntrain: {steps: 2, batch: 4, warmup: 0}\n"
        "evaluate: {conditions: {jumbling: [3]}}\ntrack: {wandb: disabled}\n",
        encoding="utf-8",
    )
    out = tmp_path / "sweep"
    place = [f"data.root={settings.root}", f"data.cache_dir={settings.cache_dir}", "data.workers=0"]
    assert main(["data", "index", "--dataset", "ucf101", "data.size_px=32", *place]) == 1
    told = capsys.readouterr().out.replace("\n", " ")
    assert f"shared with training: {SAID}" in told
    assert "test clips are trained on (data.max_overlap=0)" in told
    for verb in (["plan", str(path)], ["study", str(path), "--local", "--out", str(out)]):
        assert main(verb) == 2
        assert SAID in capsys.readouterr().err
    assert not out.exists()
    assert main(["plan", str(path), "data.max_overlap=.5"]) == 0
    assert SAID in " ".join(capsys.readouterr().out.split())
    assert main(["study", str(path), "data.max_overlap=.5", "--local", "--out", str(out)]) == 0
    sentence = f"Shared with training: {SAID}. Accuracy on clips that were trained on is no test."
    for page in ("report.md", "report.html"):
        assert sentence in (out / "report" / page).read_text(encoding="utf-8")


def test_ids_on_both_sides_are_refused_before_a_video_is_opened(ucf):
    with pytest.raises(ValueError, match=r"test clips are trained on"):
        plan(ucf(*OVERLAPS["ids"]))


def test_a_set_without_overlap_says_nothing_of_it(ucf):
    settings = ucf(TRAIN, {"Run/c.avi": 2, "Walk/d.avi": 3})
    counts = prepare.prepare(settings).counts
    assert describe_shared(counts) == ""
    assert not any(name.startswith("n_shared") for count in counts.values() for name in count)
    assert "shared" not in plan(settings)["note"]


def test_a_plan_refuses_missing_videos_that_nobody_has_looked_for(ucf):
    missing = {"Run/c.avi": None, "Walk/d.avi": None}
    said = r"clean: 2 of 2 excluded, 2 missing; `.*data index --dataset ucf101 data\.root=.*` lists"
    with pytest.raises(ValueError, match=said):
        plan(ucf(TRAIN, missing))
    with pytest.raises(ValueError, match="too many unusable videos"):
        plan(ucf(TRAIN, missing, max_bad_fraction=1))  # nothing is left
    half = {"Run/c.avi": 2, "Walk/d.avi": None}
    with pytest.raises(ValueError, match=r"clean: 1 of 2 excluded, 1 missing"):
        plan(ucf(TRAIN, half))
    assert "1 are unusable at any rate" in plan(ucf(TRAIN, half, max_bad_fraction=0.5))["note"]


def test_a_plan_refuses_what_the_index_found_unreadable(ucf):
    settings = ucf(TRAIN, {"Run/c.avi": 2, "Walk/d.avi": 3})
    plan(settings)
    path = next(r.path for r in read_sets(settings).records["clean"])
    path.write_bytes(b"none of a video")
    assert "not all of 4 videos" in plan(settings)["note"]
    prepare.index(settings, is_strict=False)
    with pytest.raises(ValueError, match=r"clean: 1 of 2 excluded, 1 corrupt; listed in"):
        plan(settings)


def test_names_that_differ_in_case_alone_are_two_videos(tmp_path):
    put(tmp_path / "labels.json", {name: str(i) for i, name in enumerate(CLASSES)})
    rows = {
        "train": ("aBcD", "AbCd", "LONE"),  # two spellings, one file
        "validation": ("abcd", "other"),
    }
    for split, ids in rows.items():
        content = [{"id": key, "template": CLASSES[0]} for key in ids]
        put(tmp_path / f"{split}.json", json.dumps(content))
    for name in ("aBcD", "lone", "Other"):
        put(tmp_path / "videos" / f"{name}.webm", "")
    records = read_sets(DataSettings(dataset="ssv2", root=str(tmp_path))).records
    found = {r.id: r.path and r.path.stem for rows in records.values() for r in rows}
    assert found == {"aBcD": "aBcD", "AbCd": None, "LONE": "lone", "abcd": None, "other": "Other"}


@pytest.mark.parametrize(
    ("place", "shared"),
    [("same-names", "ids"), ("same-bytes", "bytes"), ("same-group", "groups")],
)
def test_the_shared_case_of_overlap(tmp_path, place, shared):
    settings = DataSettings(
        dataset="ucf101", root=str(case(13, tmp_path) / place), workers=0,
        cache_dir=str(tmp_path / "cache"), max_overlap=1,
    )  # fmt: skip
    assert prepare.index(settings).counts["clean"][f"n_shared_{shared}"] == 2


def test_the_shared_case_of_ids_that_differ_in_case(tmp_path):
    records = read_sets(DataSettings(dataset="ssv2", root=str(case(14, tmp_path)))).records
    assert [r.path and r.path.stem for r in records["train"]] == ["aBcD", None]

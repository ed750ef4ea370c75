"""Readers of captions, questions and ratings: other forms in circulation, and what is refused."""

import json
import pickle

import pytest

from sweep.data.catalogue import find
from sweep.data.readers import (
    activitynet,
    crosstask,
    didemo,
    howto100m,
    lsmdc,
    mosi,
    msrvtt,
    msrvtt_full,
    msvd,
    msvdqa,
    tgifqa,
    tgifqa_count,
    tgifqa_frameqa,
    youcook2,
)
from sweep.data.survey import read_sets
from sweep.settings.data import DataSettings
from tests.data import caption_forms
from tests.data.caption_forms import write


@pytest.fixture
def folder(tmp_path):
    """A function that makes a tiny folder in the official form of a reader."""

    def make(reader):
        name = reader.__name__.rpartition(".")[2].replace("_", "-")
        caption_forms.FORMS[name](tmp_path / name)
        return tmp_path / name

    return make


def edit(path, change):
    """Change the parsed content of a JSON file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def replaced(path, old, new):
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new, 1).encode())


# ------------------------------------------------------------------------------------ retrieval


@pytest.mark.parametrize("size", ["9k", "7k"])
def test_msrvtt_says_which_list_is_asked_for(folder, size):
    root = folder(msrvtt)
    options = {"split": size}
    if size == "7k":
        with pytest.raises(ValueError, match=r"split=7k\): looked for MSRVTT_train\.7k\.csv"):
            msrvtt.splits(root, options)
        write(root / "MSRVTT_train.7k.csv", "video_id\nvideo1\n")
    names = [r.id for r in msrvtt.read(root, "train", options)[0]]
    assert names == (["video0", "video1", "video7010"] if size == "9k" else ["video1"])


def test_msrvtt_forms_of_all_in_one_violet_and_meltr(tmp_path):
    """The same pairs from lists with chosen captions, from one file and from one file a split."""
    told = {"video0": ["a", "b"], "video1": ["c"], "video2": ["d", "e", "f"]}
    rows = [{"image_id": n, "caption": one} for n, found in told.items() for one in found]
    lists = tmp_path / "lists"
    write(lists / "MSR_VTT.json", {"annotations": rows})
    write(lists / "train_list_jsfusion.txt", "video0\nvideo1\n")
    write(lists / "val_list_jsfusion.txt", "video2")
    (lists / "jsfusion_val_caption_idx.pkl").write_bytes(pickle.dumps({"video2": 1}))
    pairs = {
        "train": [{"video": n, "caption": c} for n in ("video0", "video1") for c in told[n]],
        "test": [{"video": "video2", "caption": "e"}],
    }
    write(tmp_path / "violet" / "txt_msrvtt-retrieval.json", pairs)
    for side, name in (("train", "train_9k"), ("test", "test")):
        listed = [{"video_id": row["video"], "caption": row["caption"]} for row in pairs[side]]
        write(tmp_path / "meltr" / f"{name}.json", listed)
        write(tmp_path / "object" / f"{name}.json", {"sentences": listed})
    found = {
        name: [
            [(r.id, r.captions) for r in msrvtt.read(tmp_path / name, side, {})[0]]
            for side in ("train", "test")
        ]
        for name in ("lists", "violet", "meltr", "object")
    }
    assert found["lists"] == [[("video0", ("a", "b")), ("video1", ("c",))], [("video2", ("e",))]]
    assert all(one == found["lists"] for one in found.values())
    (lists / "jsfusion_val_caption_idx.pkl").write_bytes(pickle.dumps({"video2": 3}))
    with pytest.raises(ValueError, match=r"idx\.pkl: 'video2': 3 \(allowed: .* of its 3 captions"):
        msrvtt.read(lists, "test", {})
    with pytest.raises(ValueError, match=r"data\.options\.split: '8k' given \(allowed: 9k, 7k\)"):
        msrvtt.splits(lists, {"split": "8k"})


def test_msrvtt_full_by_lists_and_by_the_file(folder):
    root = folder(msrvtt_full)
    by_file = {side: msrvtt_full.read(root, side, {})[0] for side in ("train", "val", "test")}
    assert {side: len(rows) for side, rows in by_file.items()} == {"train": 2, "val": 1, "test": 2}
    for side, rows in by_file.items():
        assert all(len(row.captions) == 2 for row in rows)
        lines = "".join(f"{row.id}\n" for row in rows)
        write(root / f"MSRVTT_{side}.full.csv", "video_id\n" + lines)
    assert {side: msrvtt_full.read(root, side, {})[0] for side in by_file} == by_file
    (root / "MSRVTT_val.full.csv").unlink()
    with pytest.raises(
        ValueError, match=r"no list of val videos: looked for MSRVTT_val\.full\.csv"
    ):
        msrvtt_full.splits(root, {})


def test_msvd_forms_agree_and_captions_are_kept_with_their_repeats(folder):
    root = folder(msvd)
    plain = msvd.read(root, "train", {})
    assert plain[0][0].captions == ("a man sings", "a man sings", "someone")
    content = json.loads((root / "raw-captions.json").read_text())
    (root / "raw-captions.json").rename(root / "captions_msvd.json")
    assert msvd.read(root, "train", {}) == plain
    (root / "captions_msvd.json").unlink()
    words = {name: [one.split() for one in told] for name, told in content.items()}
    for protocol in range(6):
        (root / "raw-captions.pkl").write_bytes(pickle.dumps(words, protocol))
        assert msvd.read(root, "train", {}) == plain
    for side in ("train", "val", "test"):
        names = (root / f"{side}_list.txt").read_text().split()
        lines = [f"{','.join(content[name])}\t{name}\n" for name in names]
        write(root / f"MSVD_{side}.tsv", "".join(lines))
        (root / f"{side}_list.txt").unlink()
    (root / "raw-captions.pkl").unlink()
    assert msvd.read(root, "train", {}) == plain


class Evil:
    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (pickle.dumps({"a": [Evil()]}), r"asks for builtins\.print"),
        (pickle.dumps({"a": [{1, 2}]}, 2), "asks for "),
        (pickle.dumps({"a": [b"x"]}, 4), "of type bytes"),
        (pickle.dumps({(1, 2): []}), r"the key \(1, 2\)"),
        (pickle.dumps({"a": [["man", 3]]}), "caption 0: word: 3"),
        (pickle.dumps({"a": ["one", " "]}), "a: caption 1: ' '"),
        (pickle.dumps({"a": [None]}), "a: caption 0: None"),
        (pickle.dumps({"a": "man"}), 'a: "man"'),
        (pickle.dumps({"a": ["x"]})[:-4], "truncated"),
        (b"", "not a pickle that can be read"),
        (b"\x80\x05cos\nsystem\n(S'true'\ntR.", r"asks for os\.system"),
    ],
    ids=range(11),
)
def test_msvd_refuses_pickles_that_run_something_or_hold_no_captions(
    folder, capsys, content, words
):
    root = folder(msvd)
    (root / "raw-captions.json").unlink()
    (root / "raw-captions.pkl").write_bytes(content)
    with pytest.raises(ValueError, match=words) as error:
        msvd.read(root, "train", {})
    assert "raw-captions.pkl" in str(error.value)
    assert capsys.readouterr().out == ""


def test_didemo_joins_the_descriptions_of_a_video_under_all_its_names(folder):
    root = folder(didemo)
    train = didemo.read(root, "train", {})[0]
    assert [(r.id, r.captions, r.start, r.end) for r in train] == [
        ("1@N00_2_3", ("the man turns a dog",), 0, 31),
        ("2@N00_4_5", ("the man turns a dog",), 0, 31),
    ]
    (test,) = didemo.read(root, "test", {})[0]
    assert test.captions == ("the man turns a dog the man turns a dog",)
    (root / "videos").mkdir()
    (root / "videos" / "2@N00_4_5.").touch()
    assert didemo.read(root, "train", {})[0][1].path.name == "2@N00_4_5."
    write(root / "train_list.txt", "2@N00_4_5.avi\n9@N00_0_0")
    assert [r.id for r in didemo.read(root, "train", {})[0]] == ["2@N00_4_5"]


def test_lsmdc_tests_on_one_of_two_files_and_joins_rows_of_a_clip(folder):
    root = folder(lsmdc)
    with pytest.raises(ValueError, match=r"1k is LSMDC16_challenge_1000.*full is LSMDC16_annos_te"):
        lsmdc.splits(root, {"test": "full"})
    rows = [("9_A_1-2", "one"), ("9_A_1-2", 'the "other'), ("9_A_3-4", "two"),
            ("0017_Pianist_00.30.36.767-00.30.38.009", "x")]  # fmt: skip
    lines = [(clip, "", "", "", "", text) for clip, text in rows]
    write(root / "LSMDC16_annos_test.csv", caption_forms.table(*lines, separator="\t"))
    test = lsmdc.read(root, "test", {"test": "full"})[0]
    assert [(r.id, r.captions, r.group) for r in test] == [
        ("9_A_1-2", ("one", 'the "other'), "9_A"),
        ("9_A_3-4", ("two",), "9_A"),
    ]


def test_activitynet_turns_spans_and_filters_by_ids(folder):
    root = folder(activitynet)
    first, second = activitynet.read(root, "train", {})[0]
    assert first.captions == ("A man. He.",)
    assert first.meta == {"segments": ((0, 5.5), (3, 7)), "sentences": ("A man.", "He.")}
    assert (first.start, first.end) == (0, 60)
    write(root / "train_ids.json", ["v_bbb", "v_none"])
    assert activitynet.read(root, "train", {})[0] == [second]
    assert activitynet.read(root, "test", {"val": 2})[0][0].captions == ("Another man. Then.",)


def test_youcook2_clips_are_windows_of_their_video_and_the_table_wins(folder):
    root = folder(youcook2)
    train = youcook2.read(root, "train", {})[0]
    assert [(r.id, r.captions, r.start, r.end, r.group, r.meta["task"]) for r in train] == [
        ("aAa_0", ("a man cuts",), 0, 0.5, "aAa", "226"),
        ("-bB_0", ("cut",), 0, 0.5, "-bB", "226"),
        ("-bB_1", ("fry",), 0, 0.5, "-bB", "226"),
    ]
    head = ("end", "start", "task", "text", "video_id")
    table = caption_forms.table(head, (9, 4, 226, "eat", "cCc"), (12, 9, 226, "wait", "cCc"))
    write(root / "validation_youcook.csv", table)
    test = youcook2.read(root, "test", {})[0]
    assert [(r.id, r.start, r.end) for r in test] == [("cCc_0", 4, 9), ("cCc_1", 9, 12)]


def test_crosstask_release_without_the_validation_part_and_related_tasks(folder):
    root = folder(crosstask)
    train = crosstask.read(root, "train", {})[0]
    assert [(r.id, r.captions, r.start, r.end) for r in train] == [
        ("16815_aAa_0", ("stir mixture",), 0.1, 0.4),
        ("16815_bBb_0", ("add man",), 0, 0.3),
        ("16815_bBb_1", ("stir mixture",), 0.3, 0.6),
    ]
    assert {r.group for r in crosstask.read(root, "test", {})[0]} == {"cCc"}


def test_howto100m_narration_in_files_or_in_one(folder):
    root = folder(howto100m)
    plain = howto100m.read(root, "train", {})
    assert plain[0][0].captions == ("hello man", "we cut the onion")
    assert plain[0][0].meta["segments"] == ((0, 4), (4.2, 9))
    content = {name: json.loads((root / "caption" / f"{name}.json").read_text())
               for name in ("aAa", "-bB")}  # fmt: skip
    for name in content:
        (root / "caption" / f"{name}.json").unlink()
    with pytest.raises(
        ValueError, match=r"train\.csv:2: no narration of aAa: looked for .*aAa\.js"
    ):
        howto100m.read(root, "train", {})
    (root / "caption").rmdir()
    write(root / "raw_caption.json", content)
    assert howto100m.read(root, "train", {}) == plain
    (root / "train.csv").unlink()
    head = ("video_id", "category_1", "category_2", "rank", "task_id")
    rows = [(name, '"Food, and"', "x", 1, 2) for name in content]
    write(root / "HowTo100M_v1.csv", caption_forms.table(head, *rows))
    assert howto100m.read(root, "train", {}) == plain
    (root / "HowTo100M_v1.csv").unlink()
    rows = [(0, f"{name}.mp4") for name in content]
    write(root / "ht100_videos_split.csv",
          caption_forms.table(("", "Name"), *rows, separator="\t"))  # fmt: skip
    assert howto100m.read(root, "train", {}) == plain


# ------------------------------------------------------------------------------------- questions


def test_tgifqa_forms_agree(folder):
    root = folder(tgifqa)
    official = tgifqa.read(root, "train", {})[0]
    assert official[0].meta == {
        "question": "What does the man do ?",
        "options": ("jump", 'respond "no"', "nod", "blink", "eat"),
        "answer": 2,
    }
    assert [r.group for r in official] == ["tumblr_Train0_400", "tumblr_Train1_400"]
    items = {"train": official, "test": tgifqa.read(root, "test", {})[0]}
    lines, violet = {}, {}
    for side, records in items.items():
        rows = [{"question": r.meta["question"], "answer": r.meta["answer"]} for r in records]
        lines[side] = [
            json.dumps({**row, "gif_name": r.group, "options": r.meta["options"]})
            for row, r in zip(rows, records, strict=True)
        ]
        violet[side] = [
            {**row, "video": r.group} | {f"option_{i}": x for i, x in enumerate(r.meta["options"])}
            for row, r in zip(rows, records, strict=True)
        ]
    for path in root.glob("*_question.csv"):
        path.unlink()
    for name in ("all-in-one", "violet"):
        if name == "violet":
            write(root / name / "txt_tgif-action.json", violet)
        else:
            for side, rows in lines.items():
                write(root / name / f"action_{side}.jsonl", "\n".join(rows))
        for side, records in items.items():
            found = tgifqa.read(root / name, side, {})[0]
            assert [(r.group, r.meta) for r in found] == [(r.group, r.meta) for r in records]
            assert len({r.id for r in found}) == len(found)


def test_open_answers_are_numbered_by_the_training_questions(folder):
    root = folder(tgifqa_frameqa)
    assert [r.meta for r in tgifqa_frameqa.read(root, "train", {})[0]] == [
        {"question": "What does the man do ?", "answer": "cat", "answer_id": 0},
        {"question": "What does the man do ?", "answer": "dog", "answer_id": 1},
    ]
    assert tgifqa_frameqa.read(root, "test", {})[0][0].meta["answer_id"] == 0
    replaced(root / "Test_frameqa_question.csv", "cat", "yak")
    assert tgifqa_frameqa.read(root, "test", {})[0][0].meta["answer_id"] == -1


def test_msvdqa_forms_agree(folder):
    root = folder(msvdqa)
    plain = {side: msvdqa.read(root, side, {})[0] for side in ("train", "val", "test")}
    assert [(r.id, r.group, r.meta["answer"], r.meta["answer_id"]) for r in plain["train"]] == [
        ("0", "aB3dE_0x_10_18", "sing0", 0),
        ("1", "b_1_2", "sing1", 1),
        ("2", "b_1_2", "sing0", 0),
    ]
    write(root / "msvd_answer_set.txt", "dance\nsing1\n")
    assert [r.meta["answer_id"] for r in msvdqa.read(root, "train", {})[0]] == [-1, 1, -1]
    (root / "msvd_answer_set.txt").unlink()
    violet = {"vocab": ["sing0", "sing1"]}
    for side, records in plain.items():
        rows = json.loads((root / f"{side}_qa.json").read_text())
        (root / f"{side}_qa.json").unlink()
        write(root / f"msvd_{side}_qa_encode.json", "\n".join(map(json.dumps, rows)))
        violet[side] = [
            {"video": r.group, "question": r.meta["question"],
             "answer": violet["vocab"].index(r.meta["answer"])} for r in records
        ]  # fmt: skip
    assert {side: msvdqa.read(root, side, {})[0] for side in plain} == plain
    violet["test"][0]["answer"] = 1000  # an answer that is none of the list
    write(root / "violet" / "txt_msvd-qa.json", violet)
    for side in ("train", "val"):
        found = msvdqa.read(root / "violet", side, {})[0]
        assert [(r.group, r.meta) for r in found] == [(r.group, r.meta) for r in plain[side]]
    unknown = msvdqa.read(root / "violet", "test", {})[0][0]
    assert (unknown.meta["answer"], unknown.meta["answer_id"]) == ("", -1)
    for path in root.glob("msvd_val*"):
        path.unlink()
    assert list(msvdqa.splits(root, {})) == ["train", "test"]


def test_mosi_splits_are_the_modes_that_there_are(folder):
    root = folder(mosi)
    assert list(mosi.splits(root, {})) == ["train", "val", "test"]
    train = mosi.read(root, "train", {})[0]
    assert [(r.id, r.captions, r.meta) for r in train] == [
        ("aBcD_1", ("IT, WAS a man",), {"rating": 1.8}),
        ("aBcD_10", ("IT, WAS a man",), {"rating": -3.0}),
    ]
    (root / "Raw" / "gH").mkdir(parents=True)
    (root / "Raw" / "gH" / "1.mp4").touch()
    assert mosi.read(root, "test", {})[0][0].path == root / "Raw" / "gH" / "1.mp4"
    replaced(root / "label.csv", "valid", "train")
    assert list(mosi.splits(root, {})) == ["train", "test"]


# --------------------------------------------------------------------------------------- refusals

ONE = "video0"
REFUSED = [
    (msrvtt, "MSRVTT_data.json", lambda c: c["sentences"][1].update(caption=None),
     r"caption 1 \(video0\): null"),
    (msrvtt, "MSRVTT_data.json", lambda c: c["sentences"][1].update(caption=" "),
     r"caption 1 \(video0\)"),
    (msrvtt, "MSRVTT_data.json", lambda c: c["sentences"][1].update(caption=7),
     r"caption 1 \(video0\): 7"),
    (msrvtt_full, "MSRVTT_data.json", lambda c: c["videos"][1].update(split="dev"),
     "video 1: split 'dev'"),
    (msvd, "raw-captions.json", lambda c: c["bQJQ_1_2"].append(3), "bQJQ_1_2: caption 3: 3"),
    (msvd, "raw-captions.json", lambda c: c["bQJQ_1_2"].append(""), "bQJQ_1_2: caption 3: ''"),
    (msvd, "raw-captions.json", lambda c: c.pop("-4wsuPCjDBc_5_15"), "no caption of 1 videos"),
    (didemo, "train_data.json", lambda c: c[2].update(description=None),
     r"item 2 \(2@N00_4_5\.\): None"),
    (didemo, "train_data.json", lambda c: c[2].pop("video"), "item 2: no video"),
    (activitynet, "train.json", lambda c: c["v_bbb"]["sentences"].append("x"),
     "v_bbb: 2 time spans of 3 sentences"),
    (activitynet, "train.json", lambda c: c["v_bbb"].update(sentences=["a", 5]),
     "v_bbb: sentence 1: 5"),
    (activitynet, "train.json", lambda c: c["v_bbb"]["timestamps"].__setitem__(0, [-1, 4]),
     "v_bbb: time span 0: from -1 to 4 s"),
    (activitynet, "train.json", lambda c: c["v_bbb"].update(duration="long"),
     "v_bbb: duration: 'long'"),
    (youcook2, "youcookii_annotations_trainval.json",
     lambda c: c["database"]["-bB"]["annotations"][1].update(sentence=None),
     "-bB: annotation 1: None"),
    (youcook2, "youcookii_annotations_trainval.json",
     lambda c: c["database"]["-bB"]["annotations"][1].update(segment=[9, 4]),
     "-bB: annotation 1: from 9 to 4 s"),
    (youcook2, "youcookii_annotations_trainval.json",
     lambda c: c["database"]["-bB"].update(subset="dev"), "-bB: subset 'dev'"),
    (howto100m, "caption/-bB.json", lambda c: c["text"].pop(), "start, end and text have 2, 2, 1"),
    (howto100m, "caption/-bB.json", lambda c: c.update(text=["a", 4]), "item 1: text: 4"),
    (msvdqa, "train_qa.json", lambda c: c[1].update(answer=4), r"item 1 \(id 1\): answer: 4"),
    (msvdqa, "train_qa.json", lambda c: c[1].update(question=""), r"item 1 \(id 1\): question: ''"),
    (msvdqa, "train_qa.json", lambda c: c[1].update(video_id=9), "vid9 is in no mapping"),
    (msvdqa, "train_qa.json", lambda c: c[1].update(id=0), "'0' stands there twice"),
]  # fmt: skip
REFUSED_TEXT = [
    (lsmdc, "LSMDC16_annos_training.csv", "\tSOMEONE, a man, says \"no.", "\t ",
     r"training\.csv:1 \(0001_Film.*sentence: ' '"),
    (lsmdc, "LSMDC16_annos_training.csv", "\t00.00.01.000", "", "training.csv:1: 5 fields"),
    (crosstask, "tasks_primary.txt", "\n2\n", "\n3\n", r"task 0 \(16815\): 2 steps, announced 3"),
    (crosstask, "annotations/16815_aAa.csv", "2,", "3,", r"aAa\.csv:1: step '3' .*1\.\.2"),
    (crosstask, "annotations/16815_aAa.csv", ",0.4", "", r"aAa\.csv:1: 2 fields, expected 3"),
    (crosstask, "videos.csv", "16815,bBb", "16815,zzz", r"videos\.csv: no annotation of zzz"),
    (howto100m, "train.csv", "video_path", "path", r"train\.csv:1: no column video_path; .*path"),
    (tgifqa, "Train_action_question.csv", "\ta3", "\tb3", "no a3; it has|no column a3"),
    (tgifqa, "Train_action_question.csv", "\tnod", "\t", r"csv:2 .*option 2: ''"),
    (tgifqa, "Train_action_question.csv", "\t2\taction", "\t5\taction", "answer '5' .*0..4"),
    (tgifqa, "Train_action_question.csv", "actionTrain1", "actionTrain0", "'actionTrain0' stands"),
    (tgifqa_count, "Train_count_question.csv", "\t3\t", "\t3.5\t", r"answer 3\.5 .*whole number"),
    (tgifqa_count, "Train_count_question.csv", "\t3\t", "\tmany\t", "answer: 'many'"),
    (tgifqa_frameqa, "Train_frameqa_question.csv", "\tcat\t", "\t\t", "answer: ''"),
    (mosi, "label.csv", ",1.8,", ",3.2,", r"csv:2 \(aBcD, 1\): label 3\.2 \(allowed: -3\.\.3\)"),
    (mosi, "label.csv", ",1.8,", ",good,", r"csv:2 \(aBcD, 1\): label: 'good'"),
    (mosi, "label.csv", ",1.8,", ",nan,", r"csv:2 \(aBcD, 1\): label: 'nan'"),
    (mosi, "label.csv", ",valid", ",dev", r"csv:4: mode 'dev' \(allowed: train, valid, test"),
    (mosi, "label.csv", ",label,", ",score,", r"csv:1: no column label; the columns are"),
    (mosi, "label.csv", '"IT, WAS a man"', '""', r"csv:2 \(aBcD, 1\): text: ''"),
    (msvdqa, "youtube_mapping.txt", " vid1", "", r"mapping\.txt:1: 'aB3dE_0x_10_18'"),
    (msvdqa, "youtube_mapping.txt", "vid2", "vid1", r"mapping\.txt:2: vid1 stands there twice"),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(REFUSED)))
def test_json_that_says_what_cannot_be_is_refused_with_file_and_item(folder, case):
    reader, name, change, words = REFUSED[case]
    root = folder(reader)
    edit(root / name, change)
    with pytest.raises(ValueError, match=words) as error:
        reader.read(root, "train", {})
    assert str(root / name) in str(error.value)


@pytest.mark.parametrize("case", range(len(REFUSED_TEXT)))
def test_tables_that_say_what_cannot_be_are_refused_with_file_and_line(folder, case):
    reader, name, old, new, words = REFUSED_TEXT[case]
    root = folder(reader)
    replaced(root / name, old, new)
    with pytest.raises(ValueError, match=words) as error:
        reader.read(root, "train", {})
    assert str(root / name) in str(error.value) or str(root / "videos.csv") in str(error.value)


def test_a_split_that_is_none_is_refused_by_name(folder):
    for reader in (msvd, tgifqa, mosi):
        with pytest.raises(ValueError, match=r"no split 'tets'; it has .* did you mean 'test'"):
            reader.read(folder(reader), "tets", {})


# ------------------------------------------------------------------------------ items of one video


def test_items_of_a_video_share_its_file_and_ids_that_differ_in_case_do_not(folder):
    """Parts of one recording are no claims of several videos; another recording's is one."""
    root = folder(youcook2)
    database = "youcookii_annotations_trainval.json"
    edit(root / database, lambda c: c["database"].update({"-BB": c["database"]["aAa"]}))
    videos = root / "raw_videos" / "training" / "226"
    for name in ("aAa", "-bB"):
        (videos / f"{name}.mp4").parent.mkdir(parents=True, exist_ok=True)
        (videos / f"{name}.mp4").touch()
    settings = DataSettings(dataset="youcook2", root=str(root))
    paths = {r.id: r.path and r.path.stem for r in read_sets(settings).records["train"]}
    assert paths == {"aAa_0": "aAa", "-bB_0": "-bB", "-bB_1": "-bB", "-BB_0": None}


def test_rows_name_their_extras_as_records_have_them(folder):
    """In every record of every split: what a task may ask for is there."""
    readers = (
        activitynet, crosstask, howto100m, mosi, msvdqa, tgifqa, tgifqa_count, tgifqa_frameqa,
        youcook2,
    )  # fmt: skip
    for reader in readers:
        root, name = folder(reader), reader.__name__.rpartition(".")[2].replace("_", "-")
        for split in reader.splits(root, {}):
            records = reader.read(root, split, {})[0]
            assert all(find(name).extras <= r.meta.keys() for r in records)

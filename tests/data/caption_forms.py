"""Tiny folders in the official forms of data sets with captions, questions and ratings.

Windows and durations fit into the video of `test_reader_contract`, which lasts two thirds of a
second, so that whatever cuts them finds frames.
"""

import json


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")


def table(*rows, separator=",", end="\n"):
    return "".join(separator.join(map(str, row)) + end for row in rows)


def msrvtt(root):
    names = {"train": ["video0", "video1", "video7010"], "test": ["video7011", "video9999"]}
    sentences = [{"video_id": n, "caption": f"{n} {i}", "sen_id": i}
                 for n in names["train"] for i in (0, 1)]  # fmt: skip
    write(root / "MSRVTT_data.json", {"videos": [], "sentences": sentences})
    write(root / "MSRVTT_train.9k.csv", "video_id\n" + "".join(f"{n}\n" for n in names["train"]))
    rows = [f"ret{i},msr{i},{n},a man says {i}\n" for i, n in enumerate(names["test"])]
    write(root / "MSRVTT_JSFUSION_test.csv", "key,vid_key,video_id,sentence\n" + "".join(rows))
    return [f"TrainValVideo/{n}.mp4" for n in (*names["train"], *names["test"])]


def msrvtt_full(root):
    sides = {"train": (0, 1), "validate": (6513,), "test": (7010, 7011)}
    videos = [{"video_id": f"video{n}", "category": 3, "split": side, "id": n}
              for side, numbers in sides.items() for n in numbers]  # fmt: skip
    names = [video["video_id"] for video in videos]
    sentences = [{"caption": f"a man {i}", "video_id": n, "sen_id": 2 * k + i}
                 for k, n in enumerate(names) for i in (0, 1)]  # fmt: skip
    write(root / "MSRVTT_data.json", {"videos": videos, "sentences": sentences})
    return [f"TrainValVideo/{name}.mp4" for name in names]


def msvd(root):
    sides = {
        "train": ("-4wsuPCjDBc_5_15", "aB3dE_0x_10_18"),
        "val": ("bQJQ_1_2",),
        "test": ("c_3_9",),
    }
    captions = {}
    for side, names in sides.items():
        write(root / f"{side}_list.txt", "\n".join(names))  # without a newline at the end
        captions |= {name: ["a man sings", "a man sings", "someone"] for name in names}
    write(root / "raw-captions.json", captions)
    return [f"YouTubeClips/{name}.avi" for names in sides.values() for name in names]


def didemo(root):
    sides = {"train": ("1@N00_2_3.mov", "2@N00_4_5."), "val": ("3@N00_1_1.mts",),
             "test": ("4@N00_7_8.3gp", "4@N00_7_8.m4v")}  # fmt: skip
    number = 0
    for side, names in sides.items():
        rows = []
        for name in names:
            for text in ("the man turns\n", " a dog"):
                number += 1
                rows.append({"annotation_id": number, "description": text,
                             "times": [[1, 1], [0, 2], [1, 1], [1, 1]], "video": name,
                             "num_segments": 6, "dl_link": ""})  # fmt: skip
        write(root / f"{side}_data.json", rows)
    return [f"videos/{name}" for name in ("1@N00_2_3.mov", "2@N00_4_5.mp4", "3@N00_1_1.mts",
                                          "4@N00_7_8.m4v")]  # fmt: skip


def lsmdc(root):
    sides = {
        "LSMDC16_annos_training.csv": ("0001_Film_00.00.01.000-00.00.02.000",
                                       "0001_Film_00.00.05.000-00.00.07.000"),
        "LSMDC16_annos_val.csv": ("0002_Other_Film_00.01.00.000-00.01.02.000",),
        "LSMDC16_challenge_1000_publictect.csv": ("3009_NEXT_00.01.02.000-00.01.05.500",),
    }  # fmt: skip
    for file, clips in sides.items():
        rows = [(clip, *["00.00.01.000"] * 4, 'SOMEONE, a man, says "no.') for clip in clips]
        write(root / file, table(*rows, separator="\t"))
    return [f"{clip.rpartition('_')[0]}/{clip}.avi" for clips in sides.values() for clip in clips]


def activitynet(root):
    def item(*sentences):
        return {"duration": 60, "timestamps": [[0, 5.5], [7, 3]], "sentences": list(sentences)}

    write(root / "train.json", {"v_aaa": item("A man.", " He."), "v_bbb": item("No man.", " No.")})
    write(root / "val_1.json", {"v_ccc": item("A man \u00e9.", " Then.")})
    write(root / "val_2.json", {"v_ccc": item("Another man.", " Then.")})
    write(root / "val_ids.json", ["v_ccc", "v_without_captions"])
    return [f"videos/{name}.mp4" for name in ("v_aaa", "v_bbb", "v_ccc")]


def youcook2(root):
    def item(subset, *sentences):
        steps = [{"id": i, "segment": [0, 0.5], "sentence": text}
                 for i, text in enumerate(sentences)]  # fmt: skip
        return {"duration": 60, "subset": subset, "recipe_type": "226", "annotations": steps}

    database = {"aAa": item("training", "a man cuts "), "-bB": item("training", "cut", "fry"),
                "cCc": item("validation", "a man stirs", "and eats")}  # fmt: skip
    write(root / "youcookii_annotations_trainval.json", {"database": database})
    return ["raw_videos/training/226/aAa.mkv", "raw_videos/training/226/-bB.webm",
            "raw_videos/validation/226/cCc.mp4"]  # fmt: skip


def crosstask(root):
    write(root / "tasks_primary.txt", "16815\nAdd a man\nhttps://x\n2\nadd man,stir mixture\n\n")
    url = "https://www.youtube.com/watch?v="
    rows = [("16815", name, url + name) for name in ("aAa", "bBb", "cCc")]
    write(root / "videos.csv", table(*rows, ("999", "related", url)))
    write(root / "videos_val.csv", table(rows[2]))
    write(root / "annotations" / "16815_aAa.csv", table((2, 0.1, 0.4)))
    for name in ("bBb", "cCc"):
        write(root / "annotations" / f"16815_{name}.csv", table((1, 0, 0.3), (2, 0.3, 0.6)))
    return [f"videos/16815/{name}.mp4" for name in ("aAa", "bBb", "cCc")]


def howto100m(root):
    write(root / "train.csv", table(("video_path",), ("aAa.mp4",), ("-bB.webm",)))
    for name in ("aAa", "-bB"):
        content = {"start": [0, 4.2], "end": [4.0, 9.0], "text": ["hello man", "we cut the onion"]}
        write(root / "caption" / f"{name}.json", {"n": 2, **content})
    rows = [(0.5, 0.1, 105222, "stir, man", "cCc"), (0.6, 0.2, 105222, "add", "cCc")]
    rows[0] = (0.5, 0.1, 105222, '"stir, man"', "cCc")
    write(root / "crosstask.csv", table(("end", "start", "task_id", "text", "video_id"), *rows))
    return ["videos/aAa.mp4", "videos/-bB.webm", "videos/105222/cCc.mp4"]


def _tgif(root, task, columns, *rows):
    """Rows of training, then one of the test; lines end in CRLF."""
    head = ("gif_name", "question", *columns, "vid_id", "key")
    for side, chosen in (("Train", rows[:-1]), ("Test", rows[-1:])):
        lines = [
            (f"tumblr_{side}{i}_400", "What does the man do ?", *row, f"{task}{side}{i}", 5)
            for i, row in enumerate(chosen)
        ]
        write(root / f"{side}_{task}_question.csv",
              table(head, *lines, separator="\t", end="\r\n"))  # fmt: skip
    return [f"gifs/tumblr_Train{i}_400.gif" for i in range(len(rows) - 1)] + [
        "gifs/tumblr_Test0_400.gif"
    ]


def tgifqa(root):
    options = ("jump", '"respond ""no"""', "nod", "blink", "eat")
    columns = ("a1", "a2", "a3", "a4", "a5", "answer")
    return _tgif(root, "action", columns, (*options, 2), (*options, 0), (*options, 4))


def tgifqa_frameqa(root):
    rows = [("cat", 0), ("dog", 0), ("cat", 1)]
    return _tgif(root, "frameqa", ("answer", "type"), *rows)


def tgifqa_count(root):
    return _tgif(root, "count", ("answer",), (3,), (4,), (10,))


def msvdqa(root):
    names = ("aB3dE_0x_10_18", "b_1_2", "c_3_9", "d_0_4")
    write(root / "youtube_mapping.txt", "".join(f"{n} vid{i}\n" for i, n in enumerate(names, 1)))
    sides = {"train": (1, 2, 2), "val": (3,), "test": (4, 4)}
    number = 0
    for side, videos in sides.items():
        rows = []
        for video in videos:
            rows.append({"id": number, "video_id": video, "question": "what is a man doing ?",
                         "answer": f"sing{number % 2}"})  # fmt: skip
            number += 1
        write(root / f"{side}_qa.json", rows)
    return [f"YouTubeClips/{name}.avi" for name in names]


def mosi(root):
    head = ("video_id", "clip_id", "text", "label", "label_T", "label_A", "label_V", "annotation",
            "mode")  # fmt: skip
    clips = [("aBcD", 1, 1.8, "train"), ("aBcD", 10, -3.0, "train"), ("-eF", 2, 0.0, "valid"),
             ("gH", 1, -0.6, "test")]  # fmt: skip
    rows = [(v, k, '"IT, WAS a man"', x, "", "", "", "Positive", mode) for v, k, x, mode in clips]
    write(root / "label.csv", table(head, *rows))
    return [f"Raw/Video/Segmented/{video}_{clip}.mp4" for video, clip, _, _ in clips]


#: Data set -> function that writes its annotation files and says where the videos belong.
FORMS = {
    f.__name__.replace("_", "-"): f
    for f in (
        msrvtt, msrvtt_full, msvd, didemo, lsmdc, activitynet, youcook2, crosstask, howto100m,
        tgifqa, tgifqa_frameqa, tgifqa_count, msvdqa, mosi,
    )
}  # fmt: skip

"""The embedded data sets `motes-...`: real H.264 files, from a seed.

A fresh checkout runs every study with the readers and the decoder of real data. `motes-ssv2` has
eight motions in four pairs, one the time reversal of the other, so that no order-free model gets
above one half; in `motes-ucf` shape and fill tell the class and motion tells nothing; `motes-vtt`
has captions instead of classes, five per training clip and one per test clip, which no other test
clip fits. `motes-qa` and `motes-qa-choice` ask about its clips, `motes-howto` has long videos whose
narration does not quite fit, `motes-mosi` a rating, which is how far an object rises. All have
three shifted test sets. Files and annotations have the official layouts of Something-Something V2,
UCF101, MSR-VTT, MSVD-QA, TGIF-QA, HowTo100M as VT-TWINS has it, and CMU-MOSI, except that videos
are `.mp4`.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import shutil
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.data.decoding import pool
from sweep.data.motes.knobs import MOTES_CLASSES, MOTES_CLIPS_OF, MOTES_VERSION, Knobs
from sweep.data.motes.narration import spoken, told_in
from sweep.data.motes.questions import asked_about, options_of
from sweep.data.motes.scene import (
    EXTRA_MOTIONS,
    MOTIONS,
    SHAPES,
    SHIFTS,
    UCF_SHAPES,
    Address,
    draw,
    render,
)
from sweep.data.motes.words import PHRASES, SYNONYMS, TEMPLATES, with_article
from sweep.data.readers.annotation import without_brackets
from sweep.runtime import heartbeat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np

RATE_FPS = 12
_CHUNK = 8  # clips per message to a worker

#: Digest of all drawn parameters of default sets, by (version, data set, train and val per class):
#: a platform that draws other numbers is found out before it makes clips that no one can compare.
PARAMS_SHA256: Mapping[tuple[int, str, int, int], str] = {
    (1, "motes-ssv2", 5, 2): "eddfa3cce5daa4a97cb0272edf2bb4b87015803d3ad929c15549c92dbf83e51f",
    (1, "motes-ssv2", 48, 15): "5db2f9c3104424129555018c544519a81ffb82465b1eccdc28c5aa8414e63926",
    (1, "motes-ucf", 5, 2): "fb61fee634bca3b3022c2d152ef20cc75f12925e90deb07c9b5731935778b848",
    (1, "motes-ucf", 48, 15): "7a4432cdcd33ab9998caf718bb556aa2be141367cf10f38dea6b2025d2353d96",
    (1, "motes-vtt", 5, 2): "fa604ad62216474584d1598d3d07cb8584c39f9e26cd0cab874159c20b70c00f",
    (1, "motes-vtt", 100, 25): "f2d2b4cd2e26c55840f23eb02a808c69f7dd6341ef8baf9d282de7f38dc248c7",
    (1, "motes-howto", 5, 2): "048a124cfb394ce7a0641133b713b4ed0a197764303e8b82b830ea5e165839d4",
    (1, "motes-howto", 48, 12): "33bada9636a4ae890613673e818e70e53644ea9f2bfd63106ddc2d689111969d",
    (1, "motes-qa", 5, 2): "0f27d422ec48e097c42572cb6011515cb12634bce5674251af2b20c3c2f864ba",
    (1, "motes-qa", 48, 12): "73947b29f31bf25ace8d29b9dd739372323dd14bb1d0b3bae338ba4c5488a522",
    (
        1,
        "motes-qa-choice",
        5,
        2,
    ): "2ae89525306e6b03bbfa3f0f22cce3c69a48dbf311077da43b2804ca104da5ce",
    (
        1,
        "motes-qa-choice",
        100,
        25,
    ): "3c4959c766b80eea35c102df1c4bc3437bcd553fe543c653c3612e42fdcd13c7",
    (1, "motes-mosi", 5, 2): "3068a4c5554805b96b01ada5cb1cca84267558e31893c8c4e06d571720170d74",
    (1, "motes-mosi", 384, 120): "f60bd295736775083696e64fa53a7d974489f40edd0fde9976f1371fac41cb1f",
}

#: What tells test clips apart, which must differ: what the first sentence says, for one.
_TOLD = {
    "motes-vtt": ("colour", "shape", "motion", "background", "texture"),
    "motes-howto": ("colour", "shape"),
}
_CAPTION_STREAM = 5  # extra word of the seed sequence: captions do not touch the clips' numbers


def class_names(dataset: str, classes: int = 8) -> tuple[str, ...]:
    """Class names by index: template sentences without brackets, CamelCase names, or none."""
    if dataset == "motes-ssv2":
        return tuple(without_brackets(TEMPLATES[m]) for m in (MOTIONS + EXTRA_MOTIONS)[:classes])
    if dataset != "motes-ucf":
        return ()
    return tuple(fill + s.capitalize() for fill in ("Solid", "Striped") for s in UCF_SHAPES)


def addresses(dataset: str, knobs: Knobs) -> Iterator[Address]:
    """Every clip of a set: training, validation, then the shifts; by class, then by index."""
    task = MOTES_CLIPS_OF.get(dataset, dataset)
    for split, shift in (("train", "clean"), *(("validation", shift) for shift in SHIFTS)):
        count = knobs.train_per_class if split == "train" else knobs.val_per_class
        for label in range(knobs.classes):
            told: set[tuple[str, ...]] = set()
            for index in range(count):
                address = Address(task, split, shift, label, index, knobs.seed)
                if task in _TOLD and split != "train":
                    address = _unlike(told, address, knobs)
                yield address


def _unlike(told: set[tuple[str, ...]], address: Address, knobs: Knobs) -> Address:
    """The address, drawn anew until its clip differs from all of ``told``, which it joins."""
    while True:
        scene = draw(
            address, frames=knobs.frames, resolution=knobs.resolution, rho=knobs.rho, noise=0
        )
        found = tuple(scene.params[name] for name in _TOLD[address.task])
        if found not in told:
            told.add(found)
            return address
        address = replace(address, attempt=address.attempt + 1)


def video_path(dataset: str, address: Address) -> str:
    """Path of a clip below the root of its set."""
    shift, index = SHIFTS[address.shift], address.index
    train = address.split == "train"
    if dataset == "motes-ucf":
        # Groups 1..50 train, 51..100 validation, 101.. the shifts: no group is in two splits.
        group = (0 if train else 50 * (1 + shift)) + 1 + index // 4
        name = class_names(dataset)[address.label]
        return f"UCF-101/{name}/v_{name}_g{group:02d}_c{1 + index % 4:02d}.mp4"
    first = 1_000_000 * shift + (0 if train else 100_000) + 1
    if dataset == "motes-mosi":  # four segments of a video, as recordings are kept together
        return f"Raw/Video/Segmented/mosi{first + index // 4}_{1 + index % 4}.mp4"
    number = first + 1000 * address.label + index
    folder, stem = {
        "motes-ssv2": ("videos", ""),
        "motes-vtt": ("TrainValVideo" if train else "TestVideo", "video"),
        "motes-howto": ("videos", ""),
        "motes-qa": ("YouTubeClips", "video"),
        "motes-qa-choice": ("gifs", "video"),
    }[dataset]
    return f"{folder}/{stem}{number}.mp4"


def make(
    dataset: str,
    folder: Path,
    knobs: Knobs,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Make a set in ``folder``, or leave a whole one of the same knobs as it is.

    Everything is written beside the folder and renamed at the end: a folder that exists is whole,
    whenever the process is killed. Others that want the same set wait for a lock.

    Args:
        dataset: `motes-ssv2` or another one of ``MOTES_CLASSES``.
        folder: Root of the new set.
        knobs: What to make.
        workers: Number of processes; None = cores, at most 8; 0 = in this process.
        progress: Called with (clips done, clips in all).

    Raises:
        ValueError: Knobs out of range, or ``folder`` holds something else.
    """
    if dataset not in MOTES_CLASSES:
        raise ValueError(
            f"unknown embedded data set {dataset!r}; allowed: {', '.join(MOTES_CLASSES)}"
        )
    knobs.check(dataset)
    if _is_made(dataset, folder, knobs):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with heartbeat.locked(folder.with_name(f".{folder.name}.lock"), "making the data"):
        if _is_made(dataset, folder, knobs):  # by the process that held the lock
            return folder
        for rest in folder.parent.glob(f".{folder.name}.part-*"):
            shutil.rmtree(rest, ignore_errors=True)  # a builder that was killed
        partial = folder.with_name(f".{folder.name}.part-{os.getpid()}")
        partial.mkdir()
        try:
            clips = _write_clips(dataset, partial, knobs, workers=workers, progress=progress)
            _write_annotations(dataset, partial, knobs, clips)
            _write_manifest(dataset, partial, knobs, clips)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a made set."""
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def changed_files(folder: Path) -> list[str]:
    """Videos of a made set that are missing or whose sha256 is not that of the manifest."""
    changed = []
    for clip in read_manifest(folder)["clips"]:
        path = folder / clip["path"]
        if not path.is_file() or _sha256(path.read_bytes()) != clip["sha256"]:
            changed.append(clip["path"])
    return changed


def _is_made(dataset: str, folder: Path, knobs: Knobs) -> bool:
    if not folder.exists():
        return False
    if not (folder / "manifest.json").is_file():
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            return False
        raise ValueError(f"{folder} exists and is not a set of motes; name another folder")
    manifest = read_manifest(folder)
    wanted = {"version": MOTES_VERSION, "dataset": dataset, "knobs": asdict(knobs)}
    found = {name: manifest.get(name) for name in wanted}
    if found != wanted:
        raise ValueError(f"{folder} holds another set: {found}, wanted {wanted}")
    return True


def _write_clips(
    dataset: str,
    folder: Path,
    knobs: Knobs,
    *,
    workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> list[dict[str, Any]]:
    todo = list(addresses(dataset, knobs))
    for path in {(folder / video_path(dataset, one)).parent for one in todo}:
        path.mkdir(parents=True, exist_ok=True)
    chunks = [todo[start : start + _CHUNK] for start in range(0, len(todo), _CHUNK)]
    done = 0

    def count(index: int, result: Any) -> None:
        nonlocal done
        pool.check(result, f"making {dataset}")
        done += len(chunks[index])
        if progress is not None:
            progress(done, len(todo))

    jobs = [(dataset, chunk, folder, knobs) for chunk in chunks]
    results = pool.run(_make_chunk, jobs, workers=workers, on_result=count)
    return [clip for chunk in results for clip in chunk]


def _make_chunk(job: tuple[str, list[Address], Path, Knobs]) -> list[dict[str, Any]]:
    dataset, todo, folder, knobs = job
    return [_make_clip(dataset, address, folder, knobs) for address in todo]


def _make_clip(dataset: str, address: Address, folder: Path, knobs: Knobs) -> dict[str, Any]:
    scene = draw(
        address,
        frames=knobs.frames,
        resolution=knobs.resolution,
        rho=knobs.rho,
        noise=knobs.noise,
    )
    frames = render(scene, resolution=knobs.resolution)
    path = video_path(dataset, address)
    encode(frames, folder / path)
    return {
        "path": path,
        "split": address.split,
        "shift": address.shift,
        "label": address.label,
        "index": address.index,
        **({"attempt": address.attempt} if address.attempt else {}),
        "params": _rounded(scene.params),
        "mean_rgb": [round(float(value), 4) for value in frames.mean(axis=(0, 1, 2))],
        "sha256": _sha256((folder / path).read_bytes()),
    }


def encode(frames: np.ndarray, path: Path, *, rate_fps: int = RATE_FPS) -> None:
    """Write uint8 RGB frames (T, H, W, 3) as H.264, or as MPEG-4 part 2 without libx264.

    No B-frames and closed groups: random access is exact in every decoder.
    """
    import av

    encoders = (
        ("libx264", {"crf": "26", "preset": "veryfast", "g": "12", "bf": "0", "threads": "1"}),
        ("mpeg4", {"g": "12", "bf": "0", "qmin": "4", "qmax": "4"}),
    )
    codec, options = encoders["libx264" not in av.codecs_available]
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=Fraction(rate_fps), options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def _write_annotations(
    dataset: str, folder: Path, knobs: Knobs, clips: list[dict[str, Any]]
) -> None:
    sets = {"train": [clip for clip in clips if clip["split"] == "train"]}
    for shift in SHIFTS:
        name = "validation" if shift == "clean" else f"validation-{shift}"
        sets[name] = [c for c in clips if c["split"] != "train" and c["shift"] == shift]
    if dataset == "motes-ssv2":
        _write_ssv2(folder, knobs, sets)
    elif dataset == "motes-vtt":
        _write_vtt(folder, knobs, sets)
    elif dataset == "motes-howto":
        _write_howto(folder, knobs, sets)
    elif dataset == "motes-qa":
        _write_questions(folder, sets)
    elif dataset == "motes-qa-choice":
        _write_choices(folder, knobs, sets)
    elif dataset == "motes-mosi":
        _write_mosi(folder, sets)
    else:
        _write_ucf(folder, sets)


def _write_ssv2(folder: Path, knobs: Knobs, sets: Mapping[str, list[dict[str, Any]]]) -> None:
    names = class_names("motes-ssv2", knobs.classes)
    _write_json(folder / "labels.json", {name: str(i) for i, name in enumerate(names)})
    captions = {}
    for split, clips in sets.items():
        rows = []
        for clip in clips:
            number = Path(clip["path"]).stem
            template = TEMPLATES[clip["params"]["motion"]]
            thing = f"{with_article(clip['params']['colour'])} {clip['params']['shape']}"
            sentence = template.replace("[something]", thing)
            rows.append(
                {
                    "id": number,
                    "label": sentence[0].lower() + sentence[1:],
                    "template": template,
                    "placeholders": [thing] * template.count("[something]"),
                }
            )
            captions[number] = _captions("motes-ssv2", clip, knobs)
        _write_json(folder / f"{split}.json", rows)
    _write_json(folder / "captions.json", captions)


def _captions(dataset: str, clip: Mapping[str, Any], knobs: Knobs) -> list[str]:
    """Five sentences on what the clip shows, synonyms drawn anew for each."""
    p = clip["params"]
    address = Address(
        dataset, clip["split"], clip["shift"], clip["label"], clip["index"], knobs.seed
    )
    generator = address.generator(_CAPTION_STREAM)
    size = "small " if p["size"] < 0.28 else "big " if p["size"] > 0.32 else ""
    sentences = (
        "{a_colour} {shape} {does} over {a_background} {texture} background",
        "{doing} {colour} {shape}",
        "the {shape} which is {colour} {does}",
        "on {a_background} background {a_colour} {shape} {does}",
        "{size}{colour} {shape} {does}",
    )
    captions = []
    for sentence in sentences:
        shapes, phrases = SYNONYMS.get(p["shape"], (p["shape"],)), PHRASES[p["motion"]]
        shape = shapes[int(generator.integers(len(shapes)))]
        does, doing = phrases[int(generator.integers(len(phrases)))]
        words = {"shape": shape, "does": does, "doing": doing, "size": size}
        words |= {name: p[name] for name in ("colour", "texture")}
        words |= {f"a_{name}": with_article(p[name]) for name in ("colour", "background")}
        captions.append(sentence.format(**words))
    return captions


def _write_vtt(folder: Path, knobs: Knobs, sets: Mapping[str, list[dict[str, Any]]]) -> None:
    """Captions of training and test videos in one file, pairs to retrieve in lists.

    The appearance shift changes the words too. `test-appearance-known.csv` therefore describes the
    same videos in words that the training set has.
    """
    videos: list[dict[str, Any]] = []
    sentences: list[dict[str, Any]] = []
    for split, clips in sets.items():
        captions = [_captions("motes-vtt", clip, knobs) for clip in clips]
        names = [Path(clip["path"]).stem for clip in clips]
        if split != "train":
            captions = [told[:1] for told in captions]
            pairs = [(name, told[0]) for name, told in zip(names, captions, strict=True)]
            shift = split.removeprefix("validation").removeprefix("-")
            file = f"test-{shift}.csv" if shift else "MSRVTT_JSFUSION_test.csv"
            _write_pairs(folder / file, pairs)
            if shift == "appearance":
                plain = [_plain_caption(clip["params"]) for clip in clips]
                _write_pairs(
                    folder / "test-appearance-known.csv", list(zip(names, plain, strict=True))
                )
            if shift:
                continue  # as little a part of the official file as other data sets are
        for name, clip, told in zip(names, clips, captions, strict=True):
            videos.append(
                {
                    "category": clip["label"],
                    "url": "",
                    "video_id": name,
                    "start time": 0.0,
                    "end time": knobs.frames / RATE_FPS,
                    "split": "train" if split == "train" else "test",
                    "id": len(videos),
                }
            )
            for caption in told:
                row = {"caption": caption, "video_id": name, "sen_id": len(sentences)}
                sentences.append(row)
    about = {"description": "motes-vtt, made by auxsweep", "version": str(MOTES_VERSION)}
    content = {"info": about, "videos": videos, "sentences": sentences}
    _write_json(folder / "MSRVTT_data.json", content)
    trained = [video["video_id"] for video in videos if video["split"] == "train"]
    _write_lines(folder / "MSRVTT_train.9k.csv", ["video_id", *trained])


def _write_pairs(path: Path, pairs: list[tuple[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["key", "vid_key", "video_id", "sentence"])
        for number, (name, sentence) in enumerate(pairs):
            writer.writerow([f"ret{number}", name.replace("video", "msr"), name, sentence])


def _plain_caption(params: Mapping[str, Any]) -> str:
    """Shape and motion alone, always in the same words."""
    return f"{with_article(params['shape'])} {PHRASES[params['motion']][0][0]}"


def _write_ucf(folder: Path, sets: Mapping[str, list[dict[str, Any]]]) -> None:
    lists = folder / "ucfTrainTestlist"
    lists.mkdir()
    names = class_names("motes-ucf")
    _write_lines(lists / "classInd.txt", [f"{i + 1} {name}" for i, name in enumerate(names)])
    for split, clips in sets.items():
        paths = [clip["path"].removeprefix("UCF-101/").replace(".mp4", ".avi") for clip in clips]
        if split == "train":
            paths = [f"{path} {clip['label'] + 1}" for path, clip in zip(paths, clips, strict=True)]
        name = {"train": "trainlist01", "validation": "testlist01"}.get(split)
        name = name or split.replace("validation", "testlist")
        _write_lines(lists / f"{name}.txt", paths)


def _write_howto(folder: Path, knobs: Knobs, sets: Mapping[str, list[dict[str, Any]]]) -> None:
    """Narration that does not quite fit to train on, clips with the right words to test on."""
    (folder / "captions").mkdir()
    names = [Path(clip["path"]).name for clip in sets["train"]]
    _write_lines(folder / "videos.csv", ["video_path", *names])
    seconds = knobs.frames / RATE_FPS
    for clip in sets["train"]:
        generator = _address("motes-howto", clip, knobs).generator(_CAPTION_STREAM)
        said = spoken(told_in(clip["params"], seconds, generator), seconds, generator)
        columns = [list(column) for column in zip(*said, strict=True)]
        content = dict(zip(("start", "end", "text"), columns, strict=True))
        _write_json(folder / "captions" / f"{Path(clip['path']).stem}.json", content)
    for split, clips in sets.items():
        if split == "train":
            continue
        rows: list[tuple[Any, ...]] = []
        for clip in clips:
            generator = _address("motes-howto", clip, knobs).generator(_CAPTION_STREAM)
            task = 1 + SHAPES.index(clip["params"]["shape"])
            for start, end, text in told_in(clip["params"], seconds, generator):
                rows.append((end, start, task, text, Path(clip["path"]).stem))
        shift = split.removeprefix("validation")
        _write_table(folder / f"crosstask{shift}.csv", _clip_columns("task_id"), rows)
        if not shift:
            _write_table(folder / "validation_youcook.csv", _clip_columns("task"), rows)


def _clip_columns(task: str) -> tuple[str, ...]:
    return ("end", "start", task, "text", "video_id")


def _write_questions(folder: Path, sets: Mapping[str, list[dict[str, Any]]]) -> None:
    """Four questions on every clip, of which two have no answer in training where words are new."""
    mapping, key = [], 0
    for split, clips in sets.items():
        rows = []
        for clip in clips:
            name = Path(clip["path"]).stem
            number = int(name.removeprefix("video"))
            mapping.append(f"{name} vid{number}")
            for question, answer in asked_about(
                clip["params"], is_new=clip["shift"] == "appearance"
            ):
                rows.append({"id": key, "video_id": number, "question": question, "answer": answer})
                key += 1
        name = split.replace("validation", "test_qa") if split != "train" else "train_qa"
        _write_json(folder / f"{name}.json", rows)
    _write_lines(folder / "youtube_mapping.txt", mapping)


def _write_choices(folder: Path, knobs: Knobs, sets: Mapping[str, list[dict[str, Any]]]) -> None:
    """What the object of every clip does: five motions, the reverse of the right one among them."""
    columns = ("gif_name", "question", "a1", "a2", "a3", "a4", "a5", "answer", "vid_id", "key")
    key = 0
    for split, clips in sets.items():
        rows = []
        for clip in clips:
            generator = _address("motes-vtt", clip, knobs).generator(_CAPTION_STREAM, 1)
            options, answer = options_of(clip["params"]["motion"], generator)
            question = "what does the shape in front do ?"
            name = Path(clip["path"]).stem
            rows.append((name, question, *options, answer, f"ACTION{key}", key))
            key += 1
        side, shift = "Train" if split == "train" else "Test", split.partition("-")[2]
        name = f"{side}_action_question{'-' if shift else ''}{shift}.csv"
        _write_table(folder / name, columns, rows, delimiter="\t", end="\r\n")


def _write_mosi(folder: Path, sets: Mapping[str, list[dict[str, Any]]]) -> None:
    """How far the object rises, from -3 to 3; what is said tells the object alone."""
    columns = (
        *("video_id", "clip_id", "text", "label", "label_T", "label_A", "label_V"),
        *("annotation", "mode"),
    )
    files: dict[str, list[tuple[Any, ...]]] = {}
    for split, clips in sets.items():
        shift = split.removeprefix("validation") if split != "train" else ""
        for clip in clips:
            video, _, number = Path(clip["path"]).stem.rpartition("_")
            rating = round(clip["params"]["rating"], 1) + 0.0
            sign = (rating > 0) - (rating < 0)
            annotation = ("Neutral", "Positive", "Negative")[sign]
            colour, shape = clip["params"]["colour"], clip["params"]["shape"]
            row = (video, number, f"{with_article(colour)} {shape} moves", rating, "", "", "")
            mode = "train" if split == "train" else "test"
            files.setdefault(f"label{shift}.csv", []).append((*row, annotation, mode))
    for name, rows in files.items():
        _write_table(folder / name, columns, rows)


def _address(task: str, clip: Mapping[str, Any], knobs: Knobs) -> Address:
    return Address(task, clip["split"], clip["shift"], clip["label"], clip["index"], knobs.seed)


def _write_table(
    path: Path,
    columns: tuple[str, ...],
    rows: list[tuple[Any, ...]],
    *,
    delimiter: str = ",",
    end: str = "\n",
) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator=end, delimiter=delimiter)
        writer.writerow(columns)
        writer.writerows(rows)


def _write_manifest(dataset: str, folder: Path, knobs: Knobs, clips: list[dict[str, Any]]) -> None:
    digest = _sha256(json.dumps([[c["path"], c["params"]] for c in clips]).encode())
    counts = {"train_per_class": knobs.train_per_class, "val_per_class": knobs.val_per_class}
    default = Knobs.of(dataset, **counts)
    known = (MOTES_VERSION, dataset, knobs.train_per_class, knobs.val_per_class)
    if knobs == default and PARAMS_SHA256.get(known, digest) != digest:
        raise RuntimeError(f"{dataset}: this platform draws other clips than the ones published")
    manifest = {
        "version": MOTES_VERSION,
        "dataset": dataset,
        "knobs": asdict(knobs),
        "params_sha256": digest,
        "clips": clips,
    }
    _write_json(folder / "manifest.json", manifest)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        assert math.isfinite(value)
        return round(value, 6)
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list) else value


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value) + "\n", encoding="utf-8")


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")

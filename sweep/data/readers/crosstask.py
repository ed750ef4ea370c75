"""Reader of CrossTask folders: the steps of tasks in videos, a clip each.

A root (or its folder `crosstask_release`) holds the release: `tasks_primary.txt`, `videos.csv`,
`videos_val.csv` and `annotations/<task>_<video>.csv`; videos of related tasks, which have no
annotation, are not read. Instead of the validation part, `crosstask.csv` (the form of VT-TWINS) may
be tested on, and `train_crosstask.csv` of that form may be trained on. Videos stand in
`videos/<task>/<video>` or `videos/`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweep.data.label_maps import LabelMap
from sweep.data.readers.annotation import VideoFolder, in_folders, read_text, require
from sweep.data.readers.captioned import clips_of, own_split, read_table, window_of
from sweep.data.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_FOLDERS = ("", "crosstask_release/")
_VIDEOS = ("videos", "crosstask/videos", ".")


def splits(root: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    """List of every split: "train" and "test" (the validation part).

    Args:
        root: Folder of the data set.
        options: `encoding` of the files, which :func:`read` reads.

    Raises:
        ValueError: A list lacks; says which names were looked for.
    """
    del options
    train, test = ["videos.csv", "train_crosstask.csv"], ["crosstask.csv", "videos_val.csv"]
    return {
        "train": require(root, in_folders(train, _FOLDERS), "list of videos"),
        "test": require(root, in_folders(test, _FOLDERS), "list of test videos"),
    }


def read(root: Path, split: str, options: Mapping[str, Any]) -> tuple[list[Record], LabelMap]:
    """A record of every step in a video of a split, in list order; no video is opened.

    The caption is the step; `Record.meta` has the `task`, by which recalls are averaged, and
    `segments`, the times of the clip in its video.

    Args:
        root: Folder of the data set.
        split: A key of :func:`splits`.
        options: See :func:`splits`.

    Raises:
        ValueError: A file is missing or says something that cannot be; names it.
    """
    known = splits(root, options)
    split = own_split("test" if split == "validation" else split, known, root)
    path = known[split]
    videos = VideoFolder(*(root / name for name in _VIDEOS))
    if path.name.endswith("crosstask.csv"):
        return clips_of(path, "task_id", videos, options), LabelMap.of(())
    wanted = _pairs(path, options)
    if split == "train":
        held = require(root, in_folders(["videos_val.csv"], _FOLDERS), "list of validation videos")
        kept_out = set(_pairs(held, options))
        wanted = [pair for pair in wanted if pair not in kept_out]
    steps = _steps(root, options)
    records: list[Record] = []
    for task, video in wanted:
        if task in steps:
            records += _clips(path, task, video, steps[task], videos, options)
    return records, LabelMap.of(())


def _pairs(path: Path, options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Task and video of every line."""
    table = read_table(path, options, columns=("task", "video", "url"), has_header=False)
    pairs = []
    for where, row in table:
        if not row["task"].strip() or not row["video"].strip():
            raise ValueError(f"{where}: no task or video")
        pairs.append((row["task"].strip(), row["video"].strip()))
    return pairs


def _steps(root: Path, options: Mapping[str, Any]) -> dict[str, list[str]]:
    """Task -> its steps, from blocks of five lines and an empty one."""
    path = require(root, in_folders(["tasks_primary.txt"], _FOLDERS), "list of tasks")
    found: dict[str, list[str]] = {}
    blocks = [block.strip() for block in read_text(path, options).split("\n\n")]
    for number, block in enumerate(block for block in blocks if block):
        lines = [line.strip() for line in block.split("\n")]
        where = f"{path}: task {number}"
        if len(lines) != 5:
            raise ValueError(
                f"{where}: {len(lines)} lines (allowed: id, title, url, number, steps)"
            )
        steps = [step.strip() for step in lines[4].split(",")]
        if lines[3] != str(len(steps)) or not all(steps):
            raise ValueError(f"{where} ({lines[0]}): {len(steps)} steps, announced {lines[3]}")
        found[lines[0]] = steps
    return found


def _clips(
    path: Path,
    task: str,
    video: str,
    steps: list[str],
    videos: VideoFolder,
    options: Mapping[str, Any],
) -> Iterator[Record]:
    """The annotated steps of a video."""
    source = path.parent / "annotations" / f"{task}_{video}.csv"
    if not source.is_file():
        raise ValueError(f"{path}: no annotation of {video}: looked for {source}")
    found = videos.find(f"{task}/{video}") or videos.find(video)
    table = read_table(source, options, columns=("step", "start", "end"), has_header=False)
    for number, (where, row) in enumerate(table):
        step = row["step"].strip()
        if not step.isdecimal() or not 1 <= int(step) <= len(steps):
            raise ValueError(f"{where}: step {step!r} (allowed: 1..{len(steps)})")
        start, end = window_of(row["start"], row["end"], where)
        yield Record(
            f"{task}_{video}_{number}",
            found,
            captions=(steps[int(step) - 1],),
            start=start,
            end=end,
            group=video,
            meta={"task": task, "segments": ((start, end),)},
        )

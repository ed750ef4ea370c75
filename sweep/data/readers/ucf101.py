"""Reader of UCF101 folders: the official one, `motes-ucf`, and a user's own of the same form.

A root holds `ucfTrainTestlist/` (or the lists themselves) with `classInd.txt`, `trainlist0N.txt`,
`testlist0N.txt` and any number of shifted evaluation sets `testlist-<name>.txt`, and the videos in
`UCF-101/<Class>/`. The test list is the validation split.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.data.label_maps import LabelMap
from sweep.data.readers.annotation import (
    VideoFolder,
    first_existing,
    fold_of,
    in_folders,
    number_in,
    read_entries,
    read_lines,
    require,
    split_called,
    with_shifts,
)
from sweep.data.records import Record, check_unique

if TYPE_CHECKING:
    from collections.abc import Mapping

_FOLDERS = ("ucfTrainTestlist/", "", "annotations/")
_VIDEOS = ("UCF-101", "UCF101", "videos", ".")


def splits(root: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    """List of every split: "train", "validation" (the test list) and the names of the shifts.

    Args:
        root: Folder of the data set.
        options: `fold`: which of the official splits, from 1 (default 1); `encoding` of the lists.

    Raises:
        ValueError: No train or test list of that fold; says which names were looked for.
    """
    fold = fold_of(options)
    train = in_folders([f"trainlist{fold:02d}.txt"], _FOLDERS)
    test = in_folders([f"testlist{fold:02d}.txt"], _FOLDERS)
    found = {
        "train": require(root, train, "train list"),
        "validation": require(root, test, "test list"),
    }
    return with_shifts(found, root, in_folders(["testlist-*.txt"], _FOLDERS), "testlist-")


def read(root: Path, split: str, options: Mapping[str, Any]) -> tuple[list[Record], LabelMap]:
    """Records of a split in list order, and the classes; no video is opened.

    Args:
        root: Folder of the data set.
        split: A key of :func:`splits`; `test` means `validation`, `test-<shift>` means `<shift>`.
        options: See :func:`splits`.

    Raises:
        ValueError: A file is missing or says something that cannot be; names it.
    """
    known = splits(root, options)
    split = split_called(split, known, root)
    names = _class_names(root, known["train"], options)
    index = {name.lower(): label for label, name in enumerate(names)}
    videos = VideoFolder(*(root / name for name in _VIDEOS))
    path = known[split]
    parents: dict[str, set[Path]] = {}
    for one in known.values():
        for _, name, _ in _rows(one, options):
            parents.setdefault(_stem(name), set()).add(Path(name).parent)
    records = []
    for where, name, text in _rows(path, options):
        record = _record(name, videos, index, is_twin=len(parents[_stem(name)]) > 1)
        # Quirk: lists say HandStandPushups where files say HandstandPushups; case is ignored.
        if record.label < 0:
            raise ValueError(f"{where}: {name!r} is in the folder of no known class")
        if text and number_in(text) - 1 != record.label:
            raise ValueError(f"{where}: label {text} is not that of the folder, {record.label + 1}")
        records.append(record)
    check_unique(records, path)
    return records, LabelMap.of(names)


def _stem(name: str) -> str:
    return Path(name).stem


def _record(name: str, videos: VideoFolder, index: Mapping[str, int], *, is_twin: bool) -> Record:
    """A clip; its id is the stem, with its folder where files of other folders have that stem.

    Official stems stand once. Which lists name the other file does not matter, so that one id
    never means two clips.
    """
    path = Path(name)
    folder = path.parent.name
    group = re.search(r"_g(\d+)_c\d+$", path.stem)
    key = path.with_suffix("").as_posix() if is_twin else path.stem
    return Record(
        id=key,
        path=videos.find(name),
        label=index.get(folder.lower(), -1),
        group=f"{folder}_g{group[1]}" if group else key,
    )


def _rows(path: Path, options: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Place, path and label (empty where the list has none); blanks in paths are kept."""
    rows = []
    for entry in read_entries(path, options):
        has_label = entry.name and entry.last.isdecimal()
        name, label = (entry.name, entry.last) if has_label else (entry.text, "")
        if not Path(name).stem:
            raise ValueError(f"{entry.where}: not the path of a video: {entry.text!r}")
        rows.append((entry.where, name, label))
    return rows


def _class_names(root: Path, train: Path, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Class names from the class file, else from the training list, never from the split read."""
    path = first_existing(root, in_folders(["classInd.txt"], _FOLDERS))
    numbered: dict[int, str] = {}
    if path is not None:
        for place, line in read_lines(path, options):
            number, _, name = line.partition(" ")
            if number_in(number) < 0 or not name.strip():
                raise ValueError(f"{path}:{place}: not a number and a class name: {line!r}")
            numbered[number_in(number)] = name.strip()
    else:
        path = train
        numbered = {
            number_in(label): Path(name).parent.name
            for _, name, label in _rows(train, options)
            if label
        }
    if sorted(numbered) != list(range(1, len(numbered) + 1)):
        raise ValueError(f"{path}: the classes are not numbered 1..{len(numbered)}")
    return tuple(numbered[number] for number in sorted(numbered))

"""Reader of plain folders: one folder per class, in it videos, images or folders of frames.

A root holds folders of classes, or `train/` and one to test on (`test/`, `val/`) that hold them;
any other folder beside these that holds a class of `train/` is a shifted test set, and so is `val/`
where there is a `test/`. Without `train/`, a share of every class is tested on
(`data.options.test_share`). Classes are the folders for training, in the order of their names, also
where they are empty; folders within them are looked through. A folder of numbered images is one
clip.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from sweep.data.image_files import holds_numbered, is_image
from sweep.data.label_maps import LabelMap
from sweep.data.readers.annotation import (
    VIDEO_SUFFIXES,
    missing,
    refuse_split_options,
    split_called,
    split_of_own,
)
from sweep.data.records import Record, check_unique

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_TRAIN = ("train", "training")
_TEST = ("test", "testing", "val", "valid", "validation")
_LOOKED = ("train/<class>/*.mp4", "<class>/*.mp4", "<class>/*.jpg", "<class>/<clip>/img_00001.jpg")


def splits(root: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    """Folder of every split: "train", "validation" (what is tested on) and the names of the shifts.

    Args:
        root: Folder of the data set.
        options: `test_share` and `split_seed`, where the folder has no `train/`.

    Raises:
        ValueError: No folders of classes, or none to test on; says what was looked for.
    """
    if not root.is_dir():
        raise missing(root, _LOOKED, "folder per class")
    held = {path.name.lower(): path for path in _folders(root)}
    train = next((held[name] for name in _TRAIN if name in held), None)
    if train is None:
        split_of_own(options, (), ())  # refuses options that cannot be
        if not any(True for folder in _folders(root) for _ in _clips(folder)):
            raise missing(root, _LOOKED, "folder per class")
        return {"train": root, "validation": root}
    refuse_split_options(options, f"{train} is there")
    tests = [held[name] for name in _TEST if name in held]
    if not tests:
        wanted = [f"{name}/<class>/*.mp4" for name in _TEST]
        raise missing(root, wanted, f"folder to test on, beside {train.name}/")
    classes = {path.name for path in _folders(train)}
    others = [
        path
        for path in _folders(root)
        if path not in {train, tests[0]} and classes & {one.name for one in _folders(path)}
    ]
    return {"train": train, "validation": tests[0]} | {
        "val" if path.name.lower() == "validation" else path.name: path for path in others
    }


def read(root: Path, split: str, options: Mapping[str, Any]) -> tuple[list[Record], LabelMap]:
    """Clips of a split by class and name, and the classes of its folder; no video is opened.

    Args:
        root: Folder of the data set.
        split: A key of :func:`splits`.
        options: See :func:`splits`.

    Raises:
        ValueError: See :func:`splits`.
    """
    known = splits(root, options)
    split = split_called(split, known, root)
    classes = _folders(known[split])
    found = [(label, path) for label, folder in enumerate(classes) for path in _clips(folder)]
    stems = Counter(_key(path, root, whole=False) for _, path in found)
    records = []
    for label, path in found:
        # below the root: names in `train/` and `test/` may be equal, the clips are not
        key = _key(path, root, whole=False)
        if stems[key] > 1:  # files of one name and several extensions are several clips
            key = _key(path, root, whole=True)
        records.append(Record(key, path, label, group=key))
    if known["train"] == known["validation"]:
        names = [classes[record.label].name for record in records]
        drawn = split_of_own(options, [record.id for record in records], names)
        records = [r for r in records if (r.id in drawn) == (split == "validation")]
    check_unique(records, known[split])
    return records, LabelMap.of(folder.name for folder in classes)


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and path.name[0] != ".")


def _clips(folder: Path) -> Iterator[Path]:
    """Videos, images and folders of frames below the folder of a class."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if holds_numbered(path) and not any(map(_is_video, path.iterdir())):
                yield path
            else:
                yield from _clips(path)
        elif _is_video(path) or is_image(path):
            yield path


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def _key(path: Path, root: Path, *, whole: bool) -> str:
    name = path if whole or path.is_dir() else path.with_suffix("")
    return name.relative_to(root).as_posix()

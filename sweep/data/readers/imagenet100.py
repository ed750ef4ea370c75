"""Reader of ImageNet-100 folders: still images, as clips of one frame.

A root holds `train/<wnid>/` and `val/<wnid>/` with images, of these classes alone or of all of
ImageNet, and the list of the hundred wnids, one a line. Several lists are in circulation, and none
is implied: the file must be there. A label is the position in the list, which is not sorted in the
usual one; `data.options.order=sorted` numbers by wnid instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweep.data.image_files import is_image
from sweep.data.label_maps import LabelMap
from sweep.data.readers.annotation import (
    first_existing,
    in_folders,
    missing,
    read_lines,
    require,
    split_called,
)
from sweep.data.records import Record, check_unique

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LISTS = (
    "imagenet100.txt",
    "ImageNet100.txt",
    "IN100.txt",
    "in100.txt",
    "classes.txt",
    "wnids.txt",
)
_SIDES = {"train": ("train",), "validation": ("val", "validation", "valid")}
_BEFORE = "val-"
_ORDERS = ("list", "sorted")


def splits(root: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    """Folder of every split: "train", "validation", and shifts from folders `val-<name>`.

    Args:
        root: Folder of the data set.
        options: `order` of the classes: `list` or `sorted`; `encoding` of the list.

    Raises:
        ValueError: No list or no folder; says which names were looked for.
    """
    order = options.get("order", "list")
    if order not in _ORDERS:
        raise ValueError(f"data.options.order: {order!r} (allowed: {', '.join(_ORDERS)})")
    _list_of(root)
    found = {}
    for name, folders in _SIDES.items():
        folder = first_existing(root, folders)
        if folder is None or not folder.is_dir():
            raise missing(root, [f"{one}/<wnid>/*.JPEG" for one in folders], f"{name} images")
        found[name] = folder
    for folder in sorted(root.glob(f"{_BEFORE}*")):
        if folder.is_dir():
            found.setdefault(folder.name.removeprefix(_BEFORE), folder)
    return found


def read(root: Path, split: str, options: Mapping[str, Any]) -> tuple[list[Record], LabelMap]:
    """Images of a split, by class and name, and the classes; no image is opened.

    Args:
        root: Folder of the data set.
        split: A key of :func:`splits`.
        options: See :func:`splits`.

    Raises:
        ValueError: A folder of a class is missing, or the list says something that cannot be.
    """
    known = splits(root, options)
    folder = known[split_called(split, known, root)]
    path = _list_of(root)
    lines = read_lines(path, options)
    names = [line.split()[0] for _, line in lines]  # a name in words may stand behind the wnid
    for (place, _), name in zip(lines, names, strict=True):
        if names.count(name) > 1:
            raise ValueError(f"{path}:{place}: {name!r} stands there twice")
        if not (folder / name).is_dir():
            raise ValueError(f"{path}:{place}: looked for {folder / name}, which is no folder")
    if options.get("order", "list") == "sorted":
        names.sort()
    records = []
    for label, name in enumerate(names):
        for image in sorted((folder / name).iterdir()):
            if is_image(image) and not image.name.startswith("."):
                key = image.relative_to(root).with_suffix("").as_posix()
                records.append(Record(key, image, label, group=key))
    check_unique(records, folder)
    return records, LabelMap.of(names)


def _list_of(root: Path) -> Path:
    return require(root, in_folders(_LISTS, ("", "annotations/")), "list of the hundred classes")

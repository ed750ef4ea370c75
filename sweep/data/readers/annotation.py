"""What the readers of published data sets share: folders of videos, lists, messages."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.data.records import Record
from sweep.settings.section import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

VIDEO_SUFFIXES = (
    *(".mp4", ".mkv", ".webm", ".avi", ".mov", ".gif", ".m4v", ".mpg", ".mpeg", ".ts", ".mts"),
    *(".m2ts", ".wmv", ".flv", ".3gp", ".3g2", ".ogv"),
)


class VideoFolder:
    """The videos below some folders, found by stem whatever their extension."""

    def __init__(self, *folders: Path) -> None:
        self.folders = tuple(folder for folder in folders if folder.is_dir())
        self._listings: dict[Path, tuple[Path, dict[str, str]]] = {}

    def find(self, name: str) -> Path | None:
        """The file that has the folder and stem of ``name``; None when there is none.

        A file at the very place is found whatever its extension.
        Names that differ in case alone match when no exact one exists (official lists and archives
        of UCF101 disagree on `HandStandPushups`).
        """
        wanted = Path(name)
        stem = wanted.stem if wanted.suffix.lower() in VIDEO_SUFFIXES else wanted.name
        for folder in self.folders:
            place, entries = self._listing(folder / wanted.parent)
            found = entries.get(wanted.name) or entries.get(stem) or entries.get(stem.lower())
            if found is not None:
                return place / found
        return None

    def _listing(self, place: Path) -> tuple[Path, dict[str, str]]:
        """The folder as it is on disk, and its video names by stem and by lower-case stem."""
        if place not in self._listings:
            real = _in_any_case(place)
            entries: dict[str, str] = {}
            held = list(os.scandir(real)) if real.is_dir() else []
            for name in sorted((entry.name for entry in held), key=_preference):
                path = Path(name)
                if path.suffix.lower() in VIDEO_SUFFIXES:
                    entries.setdefault(path.stem, name)
            for stem, name in list(entries.items()):
                entries.setdefault(stem.lower(), name)
            entries |= {entry.name: entry.name for entry in held if entry.is_file()}
            self._listings[place] = real, entries
        return self._listings[place]


def _in_any_case(place: Path) -> Path:
    """The folder itself, or else its neighbour whose name differs in case alone."""
    if place.is_dir() or not place.parent.is_dir():
        return place
    twins = (one for one in place.parent.iterdir() if one.name.lower() == place.name.lower())
    return next((one for one in twins if one.is_dir()), place)


def _preference(name: str) -> tuple[int, str]:
    suffix = Path(name).suffix.lower()
    return VIDEO_SUFFIXES.index(suffix) if suffix in VIDEO_SUFFIXES else 99, name


def read_lines(path: Path) -> list[str]:
    """Lines of a text file without ends (LF or CRLF), byte order mark and empty lines."""
    text = path.read_text(encoding="utf-8-sig")
    return [line.strip() for line in text.splitlines() if line.strip()]


def first_existing(root: Path, names: Sequence[str]) -> Path | None:
    """The first of ``names`` that exists below ``root``."""
    return next((root / name for name in names if (root / name).exists()), None)


def require(root: Path, names: Sequence[str], what: str) -> Path:
    """The first of ``names`` below ``root``.

    Raises:
        ValueError: None exists; says what was looked for and what the folder holds instead.
    """
    found = first_existing(root, names)
    if found is None:
        raise missing(root, names, what)
    return found


def missing(root: Path, names: Sequence[str], what: str) -> ValueError:
    """The error that none of ``names`` is below ``root``; says what is there instead."""
    looked = ", ".join(names[:4]) + (f" and {len(names) - 4} variants" if names[4:] else "")
    if not root.is_dir():
        return ValueError(f"data.root: {root} is not a folder (looked there for {what}: {looked})")
    held = sorted(entry.name for entry in root.iterdir())
    shown = ", ".join(held[:8]) + (f" and {len(held) - 8} more" if len(held) > 8 else "")
    return ValueError(f"{root} has no {what}: looked for {looked}; it holds {shown or 'nothing'}")


def without_brackets(template: str) -> str:
    """A template of Something-Something V2 as its class file has it."""
    return template.replace("[", "").replace("]", "")


def check_split(split: str, known: Iterable[str], root: Path) -> None:
    """Refuse a split that the folder does not have, naming the nearest one."""
    known = list(known)
    if split not in known:
        raise ValueError(
            f"{root} has no split {split!r}; it has {', '.join(known)}{nearest(split, known)}"
        )


def fold_of(options: Mapping[str, Any]) -> int:
    """Which of several official splits is asked for: the option `fold`, from 1 (default 1)."""
    fold = options.get("fold", 1)
    if not isinstance(fold, int) or isinstance(fold, bool) or fold < 1:
        raise ValueError(f"data.options.fold: a number from 1, given {fold!r}")
    return fold


def read_path_labels(path: Path, videos: VideoFolder, names: Sequence[str] | None) -> list[Record]:
    """Records of a list of `path label` lines (one blank, or `::` where the path holds blanks).

    The label is a class index from 0, or a class name. The id is the path without its extension.

    Args:
        path: The list.
        videos: Where to look the paths up.
        names: Class names; None when no class file exists, then any index is taken.

    Raises:
        ValueError: A line that is no such pair, or an unknown label; says which line.
    """
    index = {name: label for label, name in enumerate(names or ())}
    records = []
    for number, line in enumerate(read_lines(path), start=1):
        pair = line.rsplit("::" if "::" in line else " ", 1)
        if len(pair) != 2:
            raise ValueError(f"{path}:{number}: not a path and a label: {line!r}")
        name, text = pair[0].strip(), pair[1].strip()
        label = int(text) if text.isdecimal() else index.get(text, -1)
        if label < 0 or (names is not None and label >= len(names)):
            raise ValueError(f"{path}:{number}: label {text!r} is none of {len(index)} classes")
        records.append(Record(without_suffix(name), videos.find(name), label))
    return records


def without_suffix(name: str) -> str:
    """A path without the extension of a video (other dots stay)."""
    path = Path(name)
    return str(path.with_suffix("")) if path.suffix.lower() in VIDEO_SUFFIXES else name

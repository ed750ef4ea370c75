"""What the readers of published data sets share: folders of videos, lists, messages."""

from __future__ import annotations

import codecs
import csv
import errno
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.data.records import Record
from sweep.settings.names import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: Of text files, where `data.options.encoding` says nothing else.
ENCODING = "utf-8"

VIDEO_SUFFIXES = (
    *(".mp4", ".mkv", ".webm", ".avi", ".mov", ".gif", ".m4v", ".mpg", ".mpeg", ".ts", ".mts"),
    *(".m2ts", ".wmv", ".flv", ".3gp", ".3g2", ".ogv"),
)


class VideoFolder:
    """The videos below some folders, found by stem whatever their extension."""

    def __init__(self, *folders: Path) -> None:
        self.folders = tuple(folder for folder in folders if folder.is_dir())
        self._listings: dict[Path, _Listing] = {}
        self._twins: dict[Path, list[Path]] = {}

    def find(self, name: str) -> Path | None:
        """The file that has the folder and stem of ``name``; None when there is none.

        A file at the very place is found whatever its extension.
        Names that differ in case alone match when no exact one exists and exactly one spelling does
        (official lists and archives of UCF101 disagree on `HandStandPushups`). Whether another
        record claims that file is for who knows all records to say.
        """
        wanted = Path(name)
        stem = wanted.stem if wanted.suffix.lower() in VIDEO_SUFFIXES else wanted.name
        for folder in self.folders:
            listing = self._listing(folder / wanted.parent)
            found = listing.files.get(wanted.name) or listing.stems.get(stem)
            if found is not None:
                return listing.place / found
        similar: dict[Path, None] = {}
        for folder in self.folders:
            near = folder / wanted.parent
            if near not in self._twins:
                self._twins[near] = _in_any_case(near)
            for place in self._twins[near]:
                listing = self._listing(place)
                for spelling in listing.spellings.get(stem.lower(), ()):
                    similar[listing.place / listing.stems[spelling]] = None
        return next(iter(similar)) if len(similar) == 1 else None

    def _listing(self, place: Path) -> _Listing:
        if place not in self._listings:
            held = _entries(place)
            files = {entry.name: entry.name for entry in held if entry.is_file()}
            stems: dict[str, str] = {}
            for name in sorted((entry.name for entry in held), key=_preference):
                path = Path(name)
                if path.suffix.lower() in VIDEO_SUFFIXES:
                    stems.setdefault(path.stem, name)
            spellings: dict[str, list[str]] = {}
            for stem in stems:
                spellings.setdefault(stem.lower(), []).append(stem)
            self._listings[place] = _Listing(place, files, stems, spellings)
        return self._listings[place]


@dataclass(frozen=True, slots=True)
class _Listing:
    """A folder: names of its files, video names by stem, and stems by their lower-case form."""

    place: Path
    files: Mapping[str, str]
    stems: Mapping[str, str]
    spellings: Mapping[str, Sequence[str]]


def _entries(place: Path) -> list[os.DirEntry[str]]:
    """What a folder holds; nothing where there is none, or none can be."""
    try:
        with os.scandir(place) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return []
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return []
        raise ValueError(f"{place}: cannot be read: {error.strerror}") from error


def _in_any_case(place: Path) -> list[Path]:
    """The folder itself, or else its neighbours whose names differ in case alone."""
    around = [entry for entry in _entries(place.parent) if entry.is_dir()]
    twins = [one.name for one in around if one.name.lower() == place.name.lower()]
    return [place] if place.name in twins or not twins else [place.parent / name for name in twins]


def _preference(name: str) -> tuple[int, str]:
    suffix = Path(name).suffix.lower()
    return VIDEO_SUFFIXES.index(suffix) if suffix in VIDEO_SUFFIXES else 99, name


def read_text(path: Path, options: Mapping[str, Any]) -> str:
    """The text of an annotation file, without a byte order mark and with LF as end of lines.

    Args:
        path: The file.
        options: `encoding`: default UTF-8.

    Raises:
        ValueError: It cannot be read, or not in that encoding; says the line.
    """
    encoding = options.get("encoding", ENCODING)
    try:
        known = isinstance(encoding, str) and codecs.lookup(encoding)
        "".encode(encoding)  # refuses codecs that are none of text, such as `hex`
    except (LookupError, TypeError):
        known = False
    if not known:
        raise ValueError(
            f"data.options.encoding: unknown {encoding!r} (allowed: those of Python, such as "
            f"{ENCODING}, latin-1, cp1252, utf-16, gb18030)"
        )
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        text = content.decode("utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding)
    except UnicodeError as error:
        start = error.start if isinstance(error, UnicodeDecodeError) else 0
        number = content.count(b"\n", 0, start) + 1
        raise ValueError(
            f"{path}:{number}: not text in {encoding} (byte 0x{content[start]:02x}); save it as "
            "UTF-8, or say what it is in, such as data.options.encoding=latin-1"
        ) from error
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def read_lines(path: Path, options: Mapping[str, Any]) -> list[tuple[int, str]]:
    """Number, from 1, and content of every line that is not empty; see :func:`read_text`."""
    lines = enumerate(read_text(path, options).split("\n"), start=1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def read_rows(path: Path, options: Mapping[str, Any]) -> list[tuple[int, dict[str, str]]]:
    """Line number and fields, by name of the column, of every row of a CSV file with a header.

    Raises:
        ValueError: No CSV; names the line.
    """
    reader = csv.DictReader(io.StringIO(read_text(path, options), newline=""), restval="")
    rows: list[tuple[int, dict[str, str]]] = []
    try:
        for row in reader:
            more = row.pop(None, None)  # type: ignore[call-overload]
            if more:
                raise ValueError(
                    f"{path}:{reader.line_num}: {len(row) + len(more)} columns, the header has "
                    f"{len(row)}; quote what holds a comma"
                )
            rows.append((reader.line_num, row))
    except csv.Error as error:
        raise ValueError(f"{path}:{reader.line_num}: not CSV: {error}") from error
    return rows


def read_json(path: Path, options: Mapping[str, Any]) -> Any:
    """The content of a JSON file.

    Raises:
        ValueError: It is none; says from where on. An object has a key twice, of which JSON would
            keep the last; names it.
    """
    text = read_text(path, options)

    def of_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise _twice(path, pairs)
        return found

    try:
        return json.loads(text, object_pairs_hook=of_pairs)
    except _TwiceError:
        raise
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    except (RecursionError, ValueError) as error:  # nested too deeply, a number of 5,000 digits
        raise ValueError(f"{path}: JSON that cannot be read: {error}") from error


class _TwiceError(ValueError):
    """A key stands twice in one object."""


def _twice(path: Path, pairs: Sequence[tuple[str, Any]]) -> _TwiceError:
    values: dict[str, list[Any]] = {}
    for key, value in pairs:
        values.setdefault(key, []).append(value)
    key, given = next((key, found) for key, found in values.items() if len(found) > 1)
    shown = " and ".join(f"{json.dumps(value)[:40]}" for value in given[:3])
    return _TwiceError(
        f"{path}: the key {key!r} stands {len(given)} times in one object ({shown}); keep one"
    )


def mapping_of(value: Any, where: str) -> dict[str, Any]:
    """The value, if it is a JSON object; ``where`` names the file, and the item if any."""
    if not isinstance(value, dict):
        raise _shape(value, where, "an object {...}")
    return value


def list_of(value: Any, where: str) -> list[Any]:
    """The value, if it is a JSON list."""
    if not isinstance(value, list):
        raise _shape(value, where, "a list [...]")
    return value


def words_of(value: Any, where: str) -> str:
    """The value, if it is a text with something in it."""
    if not isinstance(value, str) or not value.strip() or not _is_writable(value):
        raise _shape(value, where, "a text that is not empty")
    return value


def name_of(value: Any, where: str) -> str:
    """The id of an item: a text that is not empty, or a whole number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip() or not _is_writable(value):
        raise _shape(value, where, "a text that is not empty or a whole number")
    return value


def _is_writable(text: str) -> bool:
    """Whether a text can be a name in files of ours: JSON may hold halves of characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def number_in(text: str) -> int:
    """The number that a text is, from 0 to 999,999, such as an index of a class; else -1."""
    return int(text) if text.isdecimal() and len(text) <= 6 else -1


def _shape(value: Any, where: str, allowed: str) -> ValueError:
    shown = json.dumps(value)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    return ValueError(f"{where}: {shown} (allowed: {allowed})")


def refuse_frame_list(columns: Sequence[str], where: str) -> None:
    """Refuse a line of a list of frame folders: a path, how many frames, and a label."""
    if len(columns) == 3 and columns[1].isdecimal() and columns[2].isdecimal():
        raise ValueError(
            f"{where}: three columns: is this a frame list? {' '.join(columns)!r} (allowed: a path "
            "and a label, of videos)"
        )


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


def in_folders(names: Iterable[str], folders: Sequence[str]) -> tuple[str, ...]:
    """Every name in every folder, such as `lists/`; the first name comes first in all of them."""
    return tuple(folder + name for name in names for folder in folders)


def with_shifts(
    found: Mapping[str, Path],
    root: Path,
    patterns: Iterable[str],
    before: str,
    suffixes: Sequence[str] = (),
) -> dict[str, Path]:
    """Splits and, after them, shifted evaluation sets: name -> list, the first of every name.

    Args:
        found: The splits that a folder always has.
        root: Folder of the data set.
        patterns: Of the files below it, such as `lists/test-*.txt`.
        before: What stands before the name in the stem of a file, such as `test-`.
        suffixes: Files of others are passed over; empty = none are.
    """
    splits = dict(found)
    for pattern in patterns:
        for path in sorted(root.glob(pattern)):
            name = path.stem.partition(before)[2]
            if name and (not suffixes or path.suffix in suffixes):
                splits.setdefault(name, path)
    return splits


def split_called(split: str, known: Iterable[str], root: Path) -> str:
    """The name in ``known`` that is meant: `test` is `validation`, `test-warm` the shift `warm`.

    Raises:
        ValueError: The folder has no such split; names the nearest one.
    """
    known = list(known)
    meant = "validation" if split == "test" else split.removeprefix("test-")
    meant = meant.removeprefix("validation-")
    if meant not in known:
        raise ValueError(
            f"{root} has no split {meant!r}; it has {', '.join(known)}{nearest(meant, known)}"
        )
    return meant


def fold_of(options: Mapping[str, Any]) -> int:
    """Which of several official splits is asked for: the option `fold`, from 1 (default 1)."""
    fold = options.get("fold", 1)
    if not isinstance(fold, int) or isinstance(fold, bool) or fold < 1:
        raise ValueError(f"data.options.fold: a number from 1, given {fold!r}")
    return fold


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a list that ends with a word on its own, such as a label.

    Attributes:
        where: File and number of the line.
        text: The line.
        name: What stands before its last blank, or before its last `::`; "" without one.
        last: What stands behind it.
    """

    where: str
    text: str
    name: str
    last: str


def read_entries(path: Path, options: Mapping[str, Any]) -> list[Entry]:
    """The lines of a list of `path label` (one blank, or `::` where the path holds blanks).

    Raises:
        ValueError: It is a list of frame folders; see also :func:`read_text`.
    """
    entries = []
    for number, line in read_lines(path, options):
        separator = "::" if "::" in line else None
        refuse_frame_list([part.strip() for part in line.split(separator)], f"{path}:{number}")
        name, last = ["", *line.rsplit(separator, 1)][-2:]
        entries.append(Entry(f"{path}:{number}", line, name.strip(), last.strip()))
    return entries


def read_names(path: Path, column: str, options: Mapping[str, Any]) -> list[str]:
    """Names of videos: a column of a CSV file, or a list of one a line; without extensions.

    Raises:
        ValueError: A line that is no name; says which.
    """
    lines = read_lines(path, options)
    if lines and column in [name.strip('" ') for name in lines[0][1].split(",")]:
        rows = read_rows(path, options)
        # a heading may stand in blanks; where its quotes are torn, no row holds the column
        found = [(n, {name.strip(): value for name, value in row.items()}) for n, row in rows]
        lines = [(number, row.get(column, "")) for number, row in found]
    names = []
    for number, name in lines:
        if len(name.split()) != 1 or "," in name:
            raise ValueError(
                f"{path}:{number}: {name!r} (allowed: the id of a video, alone or in a column "
                f"`{column}`)"
            )
        names.append(without_suffix(name.strip()))
    return names


def read_path_labels(
    path: Path, videos: VideoFolder, names: Sequence[str] | None, options: Mapping[str, Any]
) -> list[Record]:
    """Records of a list of `path label` lines; see :func:`read_entries`.

    The label is a class index from 0, or a class name. The id is the path without its extension.

    Args:
        path: The list.
        videos: Where to look the paths up.
        names: Class names; None when no class file exists, then any index is taken.
        options: See :func:`read_text`.

    Raises:
        ValueError: A line that is no such pair, or an unknown label; says which line.
    """
    index = {name: label for label, name in enumerate(names or ())}
    records = []
    for entry in read_entries(path, options):
        if not entry.name or not entry.last:
            raise ValueError(f"{entry.where}: not a path and a label: {entry.text!r}")
        text = entry.last
        label = number_in(text) if text.isdecimal() else index.get(text, -1)
        if label < 0 or (names is not None and label >= len(names)):
            raise ValueError(f"{entry.where}: label {text!r} is none of {len(index)} classes")
        records.append(Record(without_suffix(entry.name), videos.find(entry.name), label))
    return records


def without_suffix(name: str) -> str:
    """A path without the extension of a video (other dots stay)."""
    path = Path(name)
    return str(path.with_suffix("")) if path.suffix.lower() in VIDEO_SUFFIXES else name

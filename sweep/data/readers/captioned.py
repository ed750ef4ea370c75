"""What readers of videos with sentences, questions or ratings share: tables, pickles, seconds."""

from __future__ import annotations

import csv
import io
import json
import math
import pickle
from collections import Counter
from typing import TYPE_CHECKING, Any

from sweep.data.readers.annotation import list_of, mapping_of, name_of, read_json, read_text
from sweep.data.records import Record
from sweep.settings.names import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from sweep.data.readers.annotation import VideoFolder


def own_split(split: str, known: Iterable[str], root: Path) -> str:
    """The split, where a data set has `train`, `val` and `test`; `validation` means `val`.

    Raises:
        ValueError: The folder has no such split; names the nearest one.
    """
    known = list(known)
    meant = "val" if split == "validation" and "val" in known else split.removeprefix("test-")
    if meant not in known:
        raise ValueError(
            f"{root} has no split {meant!r}; it has {', '.join(known)}{nearest(meant, known)}"
        )
    return meant


def choice_of(options: Mapping[str, Any], name: str, allowed: Sequence[Any]) -> Any:
    """The option ``name``, one of ``allowed``, of which the first is the default."""
    value = options.get(name, allowed[0])
    if value not in allowed or isinstance(value, bool) != isinstance(allowed[0], bool):
        shown = ", ".join(map(str, allowed))
        raise ValueError(f"data.options.{name}: {value!r} given (allowed: {shown})")
    return value


def read_table(
    path: Path,
    options: Mapping[str, Any],
    *,
    columns: Sequence[str],
    has_header: bool = True,
    delimiter: str = ",",
    is_quoted: bool = True,
) -> list[tuple[str, dict[str, str]]]:
    """Where it stands, `file:line`, and the fields by column of every row of a table.

    Args:
        path: The file.
        options: See ``annotation.read_text``.
        columns: With a header, those that must be there, in any order; else all, in their order.
        has_header: Whether the first line names the columns.
        delimiter: Between fields.
        is_quoted: Whether a field may stand in double quotes, a doubled one inside being one.

    Raises:
        ValueError: A column lacks, or a row has another number of fields; says where.
    """
    lines = io.StringIO(read_text(path, options), newline="")
    if is_quoted:
        reader = csv.reader(lines, delimiter=delimiter)
    else:
        reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    names = None if has_header else list(columns)
    rows = []
    try:
        for fields in reader:
            if not "".join(fields).strip():
                continue
            if names is None:
                names = _header(path, fields, columns)
            elif len(fields) != len(names):
                raise ValueError(
                    f"{path}:{reader.line_num}: {len(fields)} fields, expected {len(names)}: "
                    f"{', '.join(names)}"
                )
            else:
                rows.append((f"{path}:{reader.line_num}", dict(zip(names, fields, strict=True))))
    except csv.Error as error:
        raise ValueError(f"{path}:{reader.line_num}: not CSV: {error}") from error
    if names is None:
        raise ValueError(f"{path}: empty; its first line names the columns {', '.join(columns)}")
    return rows


def _header(path: Path, fields: Sequence[str], wanted: Sequence[str]) -> list[str]:
    names = [name.strip() for name in fields]
    lacking = [name for name in wanted if name not in names]
    if lacking:
        raise ValueError(
            f"{path}:1: no column {', '.join(lacking)}; the columns are {', '.join(names)}"
        )
    for name, count in Counter(names).items():
        if count > 1 and name in wanted:
            raise ValueError(f"{path}:1: the column {name} stands there {count} times")
    return names


def read_objects(
    path: Path, options: Mapping[str, Any], *, keys: Sequence[str] = (), is_lines: bool = False
) -> list[tuple[str, dict[str, Any]]]:
    """Where it stands and the content of every object of a JSON list, or of one a line (`.jsonl`).

    Args:
        path: The file.
        options: See ``annotation.read_text``.
        keys: Where the file is one object that holds lists, as Violet's are: which list; the first
            that there is.
        is_lines: One object a line, whatever the extension.

    Raises:
        ValueError: No JSON, or no such list; says where.
    """
    found: list[tuple[str, Any]] = []
    if is_lines or path.suffix == ".jsonl":
        for number, line in enumerate(read_text(path, options).split("\n"), start=1):
            if line.strip():
                try:
                    content = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise ValueError(f"{path}:{number}: not JSON: {error}") from error
                found.append((f"{path}:{number}", content))
    else:
        content, place = read_json(path, options), str(path)
        if isinstance(content, dict) and keys:
            key = next((key for key in keys if key in content), None)
            if key is None:
                raise ValueError(
                    f"{path}: no list {' or '.join(keys)}; it has {', '.join(content)}"
                )
            content, place = content[key], f"{path}: {key}"
        rows = enumerate(list_of(content, place))
        found += [(f"{place}: item {number}", one) for number, one in rows]
    return [(where, mapping_of(one, where)) for where, one in found]


def field_of(row: Mapping[str, Any], names: Sequence[str], where: str) -> Any:
    """The first of several fields that an object has.

    Raises:
        ValueError: It has none of them.
    """
    for name in names:
        if name in row:
            return row[name]
    raise ValueError(f"{where}: no {' or '.join(names)}; it has {', '.join(row) or 'nothing'}")


def read_pickle(path: Path, options: Mapping[str, Any]) -> Any:
    """The content of a pickle of plain values; nothing in it is run.

    Args:
        path: The file.
        options: `encoding`: of the byte strings that Python 2 wrote; default UTF-8.

    Raises:
        ValueError: It holds anything but dicts, lists, tuples, texts, numbers and None, or is
            broken; says what.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from error
    reader = _PlainUnpickler(io.BytesIO(content), encoding=options.get("encoding", "utf-8"))
    try:
        found = reader.load()
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path}: {error}") from error
    except Exception as error:  # damaged bytes raise nearly anything
        raise ValueError(f"{path}: not a pickle that can be read: {error!r}") from error
    _check_plain(found, str(path))
    return found


class _PlainUnpickler(pickle.Unpickler):
    """Reads values that need no class or function."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(
            f"a pickle that asks for {module}.{name} (allowed: dicts, lists, texts and numbers, "
            "which need nothing); save it as JSON"
        )


def _check_plain(value: Any, where: str) -> None:
    """Refuse what JSON has no form for, down to the last value; a list in itself, too."""
    seen: set[int] = set()
    open_values = [value]
    while open_values:
        one = open_values.pop()
        if isinstance(one, dict | list | tuple):
            if id(one) in seen:
                continue
            seen.add(id(one))
        if isinstance(one, dict):
            odd = [key for key in one if not isinstance(key, str | int)]
            if odd:
                raise ValueError(f"{where}: the key {odd[0]!r} (allowed: a text)")
            open_values += one.values()
        elif isinstance(one, list | tuple):
            open_values += one
        elif not (one is None or isinstance(one, str | int | float)):
            raise ValueError(
                f"{where}: {one!r} of type {type(one).__name__} (allowed: plain values)"
            )


def number_of(value: Any, where: str) -> float:
    """A finite number, or a text that is one.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            found = float(str(value).replace("_", "?"))  # Python's own, in no annotation
        except (ValueError, OverflowError):
            found = math.nan
        if math.isfinite(found):
            return found
    raise ValueError(f"{where}: {_shown(value)} (allowed: a number)")


def sentence_of(value: Any, where: str) -> str:
    """A sentence without the blanks around it.

    Raises:
        ValueError: No text, or an empty one, or a number where words belong.
    """
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError(f"{where}: {_shown(value)} (allowed: a sentence)")
    return value.strip()


def segment_of(start: Any, end: Any, where: str) -> tuple[float, float]:
    """Start and end in seconds, in this order (some annotators gave them the other way round)."""
    first, last = number_of(start, f"{where}: start"), number_of(end, f"{where}: end")
    if min(first, last) < 0:
        raise ValueError(f"{where}: from {first:g} to {last:g} s (allowed: times from 0 on)")
    return min(first, last), max(first, last)


def window_of(start: Any, end: Any, where: str) -> tuple[float, float]:
    """Start and end of a clip in seconds; one of no length lasts a second, as in the protocols.

    Raises:
        ValueError: It ends before it begins.
    """
    first, last = number_of(start, f"{where}: start"), number_of(end, f"{where}: end")
    if first < 0 or last < first:
        raise ValueError(f"{where}: from {first:g} to {last:g} s (allowed: forward, from 0 on)")
    return first, last if last > first else first + 1


class Numbering:
    """Ids of several items of one video: its name and how many came before."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def next(self, video: str) -> str:
        """The id of the next item of a video."""
        self._counts[video] += 1
        return f"{video}_{self._counts[video] - 1}"


def clips_of(
    path: Path, task: str, videos: VideoFolder, options: Mapping[str, Any]
) -> list[Record]:
    """Records of a table of clips and sentences, as VT-TWINS has them; any order of columns.

    Args:
        path: The table; its columns are `start`, `end`, `text`, `video_id` and ``task``.
        task: Column of the task, by which recalls may be averaged.
        videos: Where to look the videos up, in a folder per task or in one.
        options: See ``annotation.read_text``.
    """
    numbering, records = Numbering(), []
    for where, row in read_table(path, options, columns=("start", "end", "text", "video_id", task)):
        name, kind = row["video_id"].strip(), row[task].strip()
        if not name or not kind:
            raise ValueError(f"{where}: no video_id or {task}")
        start, end = window_of(row["start"], row["end"], f"{where} ({name})")
        sentence = sentence_of(row["text"], f"{where} ({name}): text")
        records.append(
            Record(
                numbering.next(name),
                find_in_task(videos, name, kind),
                captions=(sentence,),
                start=start,
                end=end,
                group=name,
                meta={"task": kind, "segments": ((start, end),)},
            )
        )
    return records


def find_in_task(videos: VideoFolder, name: str, folder: str) -> Path | None:
    """A video, in the folder of its task or recipe, or beside the others."""
    inner = folder.rpartition("/")[2]
    places = (f"{folder}/{name}", f"{inner}/{name}", f"validation/{inner}/{name}", name)
    return next((found for place in places if (found := videos.find(place))), None)


def ids_of(path: Path, options: Mapping[str, Any]) -> frozenset[str]:
    """The names in a JSON list."""
    rows = enumerate(list_of(read_json(path, options), str(path)))
    return frozenset(name_of(one, f"{path}: item {number}") for number, one in rows)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."

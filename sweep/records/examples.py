"""`examples/` of a sweep: a few frames of its clips, clean and under each perturbation tested.

Made by ``sweep.commands.examples`` where the frames are, read by the report where they are not.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sweep.records.files import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDER = "examples"
_INDEX = "index.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A film strip: some frames of one clip under one condition, side by side.

    Attributes:
        file: Name of the picture in the folder.
        condition: What the clip was tested under, such as `clean` or `jpeg/5`.
        category: Of the condition.
        clip: Id of the clip.
        label: Its class, or its first caption.
        level: The perturbation's constants, for people; "" without one.
        frames: Which frames of the model's clip the strip shows, from 0.
        of: Number of frames of the model's clip.
        shown: Which stored frames stand there, where the perturbation is one of time.
        stored: Number of stored frames.
    """

    file: str
    condition: str
    category: str
    clip: str
    label: str
    level: str = ""
    frames: tuple[int, ...] = ()
    of: int = 0
    shown: tuple[int, ...] = ()
    stored: int = 0


def write_examples(sweep: Path, rows: Iterable[Example]) -> None:
    """Write the list of the strips; it means that all of them are there."""
    write_json(sweep / FOLDER / _INDEX, {"examples": [asdict(row) for row in rows]})


def has_examples(sweep: Path) -> bool:
    """Whether a sweep has its strips."""
    return (sweep / FOLDER / _INDEX).is_file()


def read_examples(sweep: Path) -> list[tuple[Example, bytes]]:
    """Strips with their pictures; those that are gone or not told whole are left out."""
    index = read_json(sweep / FOLDER / _INDEX)
    rows = index.get("examples") if isinstance(index, dict) else None
    found = []
    for row in rows if isinstance(rows, list) else ():
        try:
            example = Example(
                **{**row, "frames": tuple(row["frames"]), "shown": tuple(row["shown"])}
            )
            # a name, never a path: nothing outside the folder gets into a report
            content = (sweep / FOLDER / Path(example.file).name).read_bytes()
        except (KeyError, TypeError, OSError):
            continue
        found.append((example, content))
    return found

"""Labelled clips, as readers give them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Record:
    """One item of a data set.

    Attributes:
        id: Unique within its split.
        path: The video, a folder of its numbered frames, or an image; None when there is none
            under the root. It was looked up, not opened.
        label: Class index, -1 = none.
        captions: Sentences on the video.
        start: Where the clip begins in the video, in seconds; None = at its beginning.
        end: Where it ends; None = at the end of the video, behind which it may lie, too.
        group: Identity of the recording: items of one group never stand in two splits.
        meta: What else the annotation says.
    """

    id: str
    path: Path | None
    label: int = -1
    captions: tuple[str, ...] = ()
    start: float | None = None
    end: float | None = None
    group: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_window(self) -> bool:
        """Whether the clip is a part of its video, by the annotation."""
        return self.start is not None or self.end is not None


def check_unique(records: Sequence[Record], path: Path) -> None:
    """Refuse an annotation that names an item twice: ids are the join key of all reports."""
    seen: set[str] = set()
    for record in records:
        if record.id in seen:
            raise ValueError(f"{path}: {record.id!r} stands there twice")
        seen.add(record.id)

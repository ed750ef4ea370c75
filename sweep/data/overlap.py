"""What test clips share with training clips. Reads no file; reports import it, too."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sweep.data.records import Record

#: What a test clip may share with a training clip, in words.
_SHARED = {
    "ids": "share the id",
    "groups": "share the recording",
    "bytes": "share the bytes",
}


def shared_with_training(
    sets: Mapping[str, Sequence[Record]], digests: Mapping[Path, str]
) -> dict[str, dict[str, int]]:
    """How many clips of every test set share something with a training clip; zeros left out.

    Counted are clips, by set: `n_shared_ids`, `n_shared_groups` (recordings), `n_shared_bytes`
    (files of equal content, as far as the index has seen them). Accuracy on clips that were
    trained on is no test.

    Args:
        sets: All records, by set.
        digests: Of the content of every whole video that the index has seen.
    """

    def marks(record: Record) -> dict[str, str]:
        content = digests.get(record.path, "") if record.path is not None else ""
        if content and record.has_window:  # other windows of a file are other bytes
            content = f"{content} {record.start} {record.end}"
        found = {"ids": record.id, "groups": record.group, "bytes": content}
        return {kind: mark for kind, mark in found.items() if mark}

    trained: dict[str, set[str]] = {kind: set() for kind in _SHARED}
    for record in sets["train"]:
        for kind, mark in marks(record).items():
            trained[kind].add(mark)
    found = {}
    for name, records in sets.items():
        if name in {"train", "validation"}:
            continue
        shared = Counter(
            f"n_shared_{kind}"
            for record in records
            for kind, mark in marks(record).items()
            if mark in trained[kind]
        )
        found[name] = {f"n_shared_{k}": shared[f"n_shared_{k}"] for k in _SHARED}
        found[name] = {kind: count for kind, count in found[name].items() if count}
    return found


def describe_shared(counts: Mapping[str, Mapping[str, Any]]) -> str:
    """What test clips share with training clips, in words; nothing shared, no words."""
    parts = []
    for name, count in counts.items():
        shared = [
            f"{count[f'n_shared_{kind}']} {words}"
            for kind, words in _SHARED.items()
            if count.get(f"n_shared_{kind}")
        ]
        if shared:
            parts.append(f"{name}: of {count['n_total']} clips {', '.join(shared)}")
    return "; ".join(parts)

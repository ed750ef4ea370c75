"""Which clips of a data set are trained on, chosen by, and tested on. Imports no numpy.

`train` trains; `validation` decides what a search chooses and stops early, where a data set has
such clips or `data.validation_share` asks for some; `clean` and the shifts are tested on and decide
nothing.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sweep.data.records import Record


def cut_validation(
    records: Sequence[Record], share: float, seed: int, *, per_class: int | None = None
) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """Training records that stay, and those kept out to choose by, both in their order.

    Recordings (`Record.group`) are kept out whole, in an order drawn from ``seed`` and their name,
    each where it brings the classes nearer to ``share`` of their clips. What is drawn depends
    neither on which videos exist nor, where all labels are used, on the order of the records.

    Where training may use the labels of a few clips only, recordings without any of these go
    first: the few stay with training as far as there are others, and what is chosen by is a share
    of all clips, not of the few.

    Args:
        records: All training records.
        share: Of the clips of every class, above 0 and at most one half.
        seed: Of the draw.
        per_class: See ``labelled``.

    Raises:
        ValueError: No recording can be kept out; says how many there are.
    """
    groups: dict[str, list[Record]] = {}
    taught: set[str] = set()
    for record, flag in zip(records, labelled(records, per_class), strict=True):
        name = record.group or record.id
        groups.setdefault(name, []).append(record)
        if flag and per_class is not None:
            taught.add(name)
    wanted = {label: share * n for label, n in Counter(r.label for r in records).items()}
    kept_out: set[str] = set()
    for name in sorted(groups, key=lambda name: (name in taught, _draw(seed, name))):
        gain = 0.0
        for label, count in Counter(r.label for r in groups[name]).items():
            gain += wanted[label] ** 2 - (wanted[label] - count) ** 2
        if gain > 0:
            kept_out.add(name)
            for record in groups[name]:
                wanted[record.label] -= 1
    if not kept_out:
        raise ValueError(
            f"data.validation_share: {share:g} of {len(records)} training clips in {len(groups)} "
            "recordings is none; give a larger share, or 0"
        )
    sides: tuple[list[Record], list[Record]] = [], []
    for record in records:
        sides[(record.group or record.id) in kept_out].append(record)
    return tuple(sides[0]), tuple(sides[1])


def _draw(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"validation/{seed}/{name}".encode(), digest_size=16).digest()


def labelled(records: Iterable[Record], per_class: int | None) -> tuple[bool, ...]:
    """Whether a training clip's label may be used: the first ``per_class`` of every class."""
    seen: Counter[int] = Counter()
    flags = []
    for record in records:
        flags.append(per_class is None or seen[record.label] < per_class)
        seen[record.label] += 1
    return tuple(flags)

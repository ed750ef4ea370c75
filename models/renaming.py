"""Names of weights in published files and in ours, one table for both ways.

A table has rows ``(published, ours)`` of patterns; ``{i}`` and ``{rest}`` stand for a number and
for the rest of a name. The first row that fits a name decides.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torch import Tensor

Table = tuple[tuple[str, str], ...]
_PARTS = {"i": r"(?P<i>\d+)", "j": r"(?P<j>\d+)", "rest": r"(?P<rest>.*)"}


def to_ours(state: Mapping[str, Tensor], table: Table) -> dict[str, Tensor]:
    """Weights under our names; one that no row knows keeps its name, to be refused by it."""
    rows = tuple((published, ours) for published, ours in table)
    return {_renamed(name, rows): value for name, value in state.items()}


def to_published(state: Mapping[str, Tensor], table: Table) -> dict[str, Tensor]:
    """The way back of :func:`to_ours`."""
    rows = tuple((ours, published) for published, ours in table)
    return {_renamed(name, rows): value for name, value in state.items()}


def dropped(state: Mapping[str, Tensor], ignored: Iterable[str]) -> dict[str, Tensor]:
    """Weights without those in whose names one of these regular expressions is found."""
    patterns = [re.compile(text) for text in ignored]
    return {n: v for n, v in state.items() if not any(p.search(n) for p in patterns)}


def split(
    state: Mapping[str, Tensor], whole: str, parts: tuple[str, ...], *, axis: int = 0
) -> dict[str, Tensor]:
    """Weights in which every one that has ``whole`` in its name is cut into equal parts.

    Args:
        state: Weights by name.
        whole: Segment of names, such as `.attn.qkv.`.
        parts: What stands in its place, such as `.attn.q.`, in the order of the cut.
        axis: Along which it is cut.
    """
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        if whole in name:
            for part, piece in zip(parts, value.chunk(len(parts), axis), strict=True):
                found[name.replace(whole, part)] = piece
        else:
            found[name] = value
    return found


def joined(
    state: Mapping[str, Tensor], parts: tuple[str, ...], whole: str, *, axis: int = 0
) -> dict[str, Tensor]:
    """The way back of :func:`split`; parts that are not all there stay as they are."""
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        part = next((p for p in parts if p in name), None)
        if part is None:
            found[name] = value
            continue
        names = [name.replace(part, other) for other in parts]
        if not all(other in state for other in names):
            found[name] = value
        elif part == parts[0]:
            found[name.replace(part, whole)] = torch.cat([state[n] for n in names], axis)
    return found


def _renamed(name: str, rows: Table) -> str:
    for old, new in rows:
        if match := _matcher(old)(name):
            return new.format(**match.groupdict())
    return name


@lru_cache(maxsize=1024)
def _matcher(pattern: str) -> Callable[[str], re.Match[str] | None]:
    pieces = re.split(r"(\{\w+\})", pattern)
    return re.compile(
        "".join(_PARTS[p[1:-1]] if p.startswith("{") else re.escape(p) for p in pieces)
    ).fullmatch

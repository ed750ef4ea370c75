"""Which conditions show the same frames, known before a frame is read (imports no torch).

A segment as long as the clip moves nothing, a stride as long as the clip shows one frame whatever
its direction, and a quantiser above what encoders take is that one: under such severities a model
is tested on the same frames again.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from perturb.catalogue import PERTURBATIONS, PerturbSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

CLEAN = "clean"
#: Draws by which two random orders of frames are compared.
_DRAWS = 50


@dataclass(frozen=True, slots=True)
class Same:
    """What a condition is equal to.

    Attributes:
        other: `clean`, or an earlier condition such as `sampling/5`.
        why: The level and what it meets, in words.
        draws: Whether the random numbers still differ: the same strength, met a second time, on
            other frames.
    """

    other: str
    why: str
    draws: bool = False


def same_frames(
    conditions: Iterable[tuple[str, int]],
    *,
    ladder: str,
    stored: int,
    shown: Sequence[int],
    side_px: int,
) -> dict[str, Same]:
    """Conditions that equal clean or an earlier one; those that differ from all are left out.

    Sure for what is found; further conditions may be equal on given pixels.

    Args:
        conditions: Perturbation and severity, in the order of the test.
        ladder: Key of `LADDERS`.
        stored: Frames per clip, on which orders are made.
        shown: Which of these a model sees.
        side_px: Short side of the frames.
    """
    picks = tuple(shown)
    first: dict[Hashable, str] = {picks: CLEAN}
    found = {}
    for name, severity in conditions:
        spec = PERTURBATIONS.get(name)
        if spec is None or spec.missing or severity not in spec.severities:
            continue
        title = f"{name}/{severity}"
        if spec.temporal:
            mark, draws = _order(spec, severity, ladder, stored, picks)
            seen = "all" if len(picks) == stored else f"{len(picks)}"
            met = f"of {stored} stored frames {seen} are shown"
        else:
            level = _level(spec, severity, ladder, side_px, len(picks))
            mark = picks if level is None else (name, level)
            draws = level is not None and not spec.deterministic
            met = f"frames of {side_px} px"
        other = first.setdefault(mark, title)
        if other != title:
            size = stored if spec.temporal else len(picks)
            words = spec.describe(severity, ladder, short_side_px=side_px, frames=size)
            found[title] = Same(other, f"{words}; {met}", draws)
    return found


def _order(
    spec: PerturbSpec, severity: int, ladder: str, stored: int, picks: tuple[int, ...]
) -> tuple[Hashable, bool]:
    """The frames shown, where they are the same for every draw; else the first draws of them.

    The draws are the same for every perturbation and severity, so that equal orders under them are
    equal orders by law.
    """
    arguments = spec.arguments(severity, ladder, frames=stored)
    build = cast("Callable[..., list[int]]", spec.load())
    if spec.deterministic:
        order = build(stored, **arguments)
        return tuple(order[i] for i in picks), False
    drawn = []
    for key in range(_DRAWS):
        order = build(stored, random.Random(key), **arguments)
        drawn.append(tuple(order[i] for i in picks))
    return (drawn[0], False) if len(set(drawn)) == 1 else (tuple(drawn), True)


def _level(
    spec: PerturbSpec, severity: int, ladder: str, side_px: int, frames: int
) -> tuple[float, ...] | None:
    """The level as far as it changes pixels; None where it changes none."""
    level = spec.arguments(severity, ladder, short_side_px=side_px, frames=frames)
    if any(level[name] <= least for name, least in spec.least.items()):
        return None
    for name, most in spec.most.items():
        level[name] = min(level[name], most)
    for name in spec.windows:  # from every frame as far as the other end of the clip
        level[name] = min(level[name], 2 * frames)
    return tuple(level.values())

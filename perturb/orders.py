"""Which frame a perturbation of time shows at each time, as plain lists (imports no torch)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from perturb.draws import draws_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perturb.catalogue import PerturbSpec


def orders(
    spec: PerturbSpec,
    severity: int,
    length: int,
    clip_ids: Sequence[str | int],
    seed: int,
    ladder: str,
) -> list[list[int]]:
    """The frame that is shown at each time, for every clip.

    Args:
        spec: A temporal perturbation.
        severity: One of its severities.
        length: Number of frames of the clip, at least 1.
        clip_ids: One identity per clip; the key of its random numbers.
        seed: Seed of the evaluation.
        ladder: Key of `LADDERS`.
    """
    arguments = spec.arguments(severity, ladder, frames=length)
    build = cast("Callable[..., list[int]]", spec.load())
    if spec.deterministic:
        return [build(length, **arguments)] * len(clip_ids)
    draws = (draws_for(spec.name, severity, clip_id, seed) for clip_id in clip_ids)
    return [build(length, draw.order(), **arguments) for draw in draws]

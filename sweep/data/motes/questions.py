"""Questions on `motes` clips, whose answers follow from what was drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweep.data.motes.scene import MOTIONS
from sweep.data.motes.words import PHRASES

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np


def asked_about(params: Mapping[str, Any], *, is_new: bool) -> list[tuple[str, str]]:
    """Questions on a clip and their answers, a word each; `moves-up` is one.

    The object is drawn last and thus in front; what floats behind it may have its shape or colour.

    Args:
        params: Of the scene.
        is_new: Whether colours are none of those of training; then nobody asks for them.
    """
    questions = [
        ("which shape is in front ?", params["shape"]),
        ("what does the shape in front do ?", did(params["motion"])),
    ]
    if not is_new:
        questions += [
            ("what colour is the shape in front ?", params["colour"]),
            ("what colour is behind it ?", params["background"]),
        ]
    return questions


def options_of(motion: str, generator: np.random.Generator) -> tuple[tuple[str, ...], int]:
    """Five motions in words, in a drawn order, and the place of the right one.

    The reverse of the right one is always among them: a bag of frames does not answer it.
    """
    reverse = MOTIONS[MOTIONS.index(motion) ^ 1]
    others = [one for one in MOTIONS if one not in {motion, reverse}]
    chosen = [motion, reverse]
    while len(chosen) < 5:
        chosen.append(others.pop(int(generator.integers(len(others)))))
    order: list[str] = []
    while chosen:
        order.append(chosen.pop(int(generator.integers(len(chosen)))))
    return tuple(PHRASES[one][0][0] for one in order), order.index(motion)


def did(motion: str) -> str:
    """A motion in one word."""
    return PHRASES[motion][0][0].replace(" ", "-")

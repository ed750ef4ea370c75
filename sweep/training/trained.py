"""Whether a training did anything: the value that its final primary loss must fall below.

A model that did not train looks robust, since it has nothing to lose; its record is flagged.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from losses.catalogue import LossSpec
    from sweep.settings.train import TrainSettings

#: Of the loss of a model that says nothing, where that is known.
OF_CHANCE = 0.8
#: By which share of its value at the start any other loss must fall.
FALL = 0.1


def early_steps(steps: int) -> int:
    """The first 2 % of the steps, one at least: what a loss without known chance starts at."""
    return max(1, steps // 50)


def threshold(
    primary: LossSpec, settings: TrainSettings, *, classes: int, early: Sequence[float]
) -> float:
    """The value, in units of the primary loss, that its mean at the end must be below.

    Args:
        primary: Row of the primary loss.
        settings: ``trained_below``, where it is given, is the answer.
        classes: Of the data set.
        early: The primary loss at the first ``early_steps``; at least one value.
    """
    if settings.trained_below is not None:
        return settings.trained_below
    chosen_from = {"ln classes": classes, "ln batch": settings.batch, "": 1}[primary.chance]
    if chosen_from > 1:
        return OF_CHANCE * math.log(chosen_from)
    mean = sum(early) / len(early)
    return mean - FALL * abs(mean)


def rule(primary: LossSpec) -> str:
    """What the threshold is where none is given, for people."""
    if primary.chance:
        return f"{OF_CHANCE:g} of chance level, {primary.chance.replace(' ', '(')})"
    return f"{1 - FALL:g} of its mean over the first 2 % of the steps"

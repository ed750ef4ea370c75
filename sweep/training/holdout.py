"""Labelled clips kept out of training, by which meta steps judge.

The draw follows from the seed and the share alone: a study with such a combiner keeps the same
clips out of training in all its cells, or they would not be compared in pairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sweep.training.batches import Clips


def hold_out(
    clips: Clips, share: float, *, seed: int, supervised: bool = True
) -> tuple[Clips, Clips]:
    """Clips to train on, and labelled ones kept out, drawn class by class.

    Where no loss reads labels, all clips are of one class. At least one clip of a class is kept out
    and at least one stays, so that a class with a single labelled clip gives none.

    Args:
        clips: Of the training set.
        share: Of the labelled clips.
        seed: Of the draw.
        supervised: Whether a loss reads labels.

    Raises:
        ValueError: No class has two labelled clips.
    """
    rng = np.random.default_rng(seed)
    chosen: list[np.ndarray] = []
    labels = clips.labels if supervised else np.zeros_like(clips.labels)
    for label in np.unique(labels[labels >= 0]):
        rows = rng.permutation(np.flatnonzero(labels == label))
        count = min(max(1, round(share * len(rows))), len(rows) - 1)
        chosen.append(rows[:count])
    kept_out = np.sort(np.concatenate(chosen))
    if not len(kept_out):
        raise ValueError(
            "meta data holdout: every class has a single labelled clip, none can be kept out of "
            "training (use data: memory)"
        )
    rest = np.setdiff1d(np.arange(len(clips.labels)), kept_out)
    return clips.part(rest), clips.part(kept_out)

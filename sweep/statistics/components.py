"""Where the spread of outcomes comes from: loss sets, seeds, clips; and which to buy more of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Source = Literal["set", "seed", "clip"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """Variances of an outcome over loss sets, seeds and clips, in the unit of the data squared.

    Attributes:
        set: Between loss sets.
        seed: Between seeds, common to all sets: pairing takes it away.
        clip: Between clips, common to all sets: pairing takes it away.
        set_seed: What a seed does to one set alone.
        set_clip: What a clip does to one set alone.
        seed_clip: What a seed does to a clip in all sets.
        rest: What is left, the chance of a single answer among it.
        sets: Number of loss sets.
        seeds: Number of seeds.
        clips: Number of clips.
    """

    set: float
    seed: float
    clip: float
    set_seed: float
    set_clip: float
    seed_clip: float
    rest: float
    sets: int
    seeds: int
    clips: int

    def of_difference(self) -> dict[Source, float]:
        """Variance of a paired difference of two sets, by what more of would shrink it.

        The rest shrinks with either; it counts to the seeds, as a further seed halves it sooner.
        """
        return {
            "seed": 2 * (self.set_seed / self.seeds + self.rest / (self.seeds * self.clips)),
            "clip": 2 * self.set_clip / self.clips,
        }

    def of_trend(self) -> dict[Source, float]:
        """Variance of one set about a trend over sets, by source; more sets shrink all of it."""
        parts = self.of_difference()
        return {"set": self.set, "seed": parts["seed"] / 2, "clip": parts["clip"] / 2}

    def buy(self, question: Literal["difference", "trend"], *, sets_left: bool = True) -> Source:
        """What to have more of.

        For a trend over sets: sets as long as there are any, since N runs leave the variance
        (seeds x set + set_seed) / N, least with one seed each. Else the source of the larger part.
        """
        if question == "trend" and sets_left:
            return "set"
        parts = self.of_difference()
        return max(parts, key=lambda source: parts[source])


def variance_components(outcomes: np.ndarray) -> Components:
    """Components of a complete crossing of sets, seeds and clips, by mean squares.

    Random effects without replicates (Searle, Casella and McCulloch 1992, 4.7): every mean square
    is set equal to its expectation; negative estimates become 0.

    Args:
        outcomes: (sets, seeds, clips), finite: one value per clip, a mean over conditions or a
            single answer as 0 and 1 (or 0 and 100).

    Raises:
        ValueError: with fewer than two of a kind, or values that are missing.
    """
    y = np.asarray(outcomes, dtype=float)
    if y.ndim != 3 or min(y.shape) < 2:
        raise ValueError(f"two sets, seeds and clips at least are needed, given {y.shape}")
    if not np.isfinite(y).all():
        raise ValueError("every set needs every seed and clip; leave out those that are incomplete")
    a, b, c = y.shape

    def square(kept: tuple[int, ...]) -> float:
        """Mean square of the effect of these axes: inclusion and exclusion of marginal means."""
        effect = np.zeros([n if i in kept else 1 for i, n in enumerate(y.shape)])
        for size in range(2 ** len(kept)):
            chosen = {axis for i, axis in enumerate(kept) if size >> i & 1}
            mean = y.mean(axis=tuple({0, 1, 2} - chosen), keepdims=True)
            effect = effect + (-1) ** (len(kept) - len(chosen)) * mean
        freedom = np.prod([y.shape[axis] - 1 for axis in kept])
        return float((effect**2).sum() * y.size / effect.size / freedom)

    rest = square((0, 1, 2))
    ab, ac, bc = square((0, 1)), square((0, 2)), square((1, 2))
    return Components(
        set=max((square((0,)) - ab - ac + rest) / (b * c), 0.0),
        seed=max((square((1,)) - ab - bc + rest) / (a * c), 0.0),
        clip=max((square((2,)) - ac - bc + rest) / (a * b), 0.0),
        set_seed=max((ab - rest) / c, 0.0),
        set_clip=max((ac - rest) / b, 0.0),
        seed_clip=max((bc - rest) / a, 0.0),
        rest=rest,
        sets=a,
        seeds=b,
        clips=c,
    )

"""How much of the meta gradient is signal: does a loss help the primary, or do batches differ?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


class MetaSignal:
    """Mean and noise of what each loss is judged by, over all meta steps.

    The meta gradient is the sum over losses of s_t d(dM/dl_t)/dphi with s_t the derivative of loss
    t along the gradient of the primary loss on other clips (``meta_gradient``), so s_t alone says
    whether to raise a loss. Both batches are drawn anew at every meta step; noise is half the mean
    squared difference of successive steps (von Neumann 1941), which the course of training hardly
    enters. Sums are kept, no values: nothing is computed besides.
    """

    def __init__(self) -> None:
        self.count = 0
        self.sums: list[float] = []
        self.jumps: list[float] = []
        self.last: list[float] = []

    def add(self, values: Sequence[float]) -> None:
        """Take in s of a meta step, in the order of the losses."""
        if not self.count:
            self.sums, self.jumps = [0.0] * len(values), [0.0] * len(values)
        else:
            pairs = zip(self.jumps, values, self.last, strict=True)
            self.jumps = [jump + (now - before) ** 2 for jump, now, before in pairs]
        self.sums = [total + value for total, value in zip(self.sums, values, strict=True)]
        self.last = list(values)
        self.count += 1

    def ratios(self) -> list[float]:
        """Mean over the standard deviation of one step, per loss; NaN below two steps."""
        if self.count < 2:
            return [math.nan] * len(self.sums)
        noise = [math.sqrt(jump / (2 * (self.count - 1))) for jump in self.jumps]
        return [
            total / self.count / one if one > 0 else math.nan
            for total, one in zip(self.sums, noise, strict=True)
        ]

    def state_dict(self) -> dict[str, Any]:
        """What a continued training needs."""
        return dict(vars(self))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state from :meth:`state_dict`."""
        vars(self).update(state)

"""Which values of a numeric knob a search may try (imports no torch).

Rows of the catalogues say the range of each of their knobs: it holds every value in published use
and little beyond it. Here is what a range is, and those that several rows share.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KnobRange:
    """Allowed values of a knob.

    Attributes:
        low: Smallest value; an `int` where the knob takes whole numbers only.
        high: Largest value.
        log: Whether equal ratios matter rather than equal differences.
    """

    low: float
    high: float
    log: bool = False


BLOCK = KnobRange(1, 64)
EXPONENT = KnobRange(0.5, 4.0)
FACTOR = KnobRange(0.0, 10.0)
FEEDFORWARD = KnobRange(16, 4096, log=True)
FLOOR = KnobRange(1e-8, 1.0, log=True)
HIDDEN = KnobRange(2, 4096, log=True)
LAYERS = KnobRange(1, 12)
LEVELS = KnobRange(1, 4)
MARGIN = KnobRange(0.0, 2.0)
INNER_SHARE = KnobRange(0.05, 0.95)
SCALE = KnobRange(1.0, 200.0, log=True)
SEED = KnobRange(0, 2**31 - 1)
SHARE = KnobRange(0.0, 1.0)
SPREAD = KnobRange(0.0, 50.0)
TEMPERATURE = KnobRange(5e-3, 10.0, log=True)
WIDTH = KnobRange(4, 4096, log=True)

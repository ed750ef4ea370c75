"""What every video model is, for those that train and test it."""

from __future__ import annotations

#: Pixels as the tiny models see them: (x - MEAN) / STD of the range 0..1.
MEAN, STD = 0.5, 0.25

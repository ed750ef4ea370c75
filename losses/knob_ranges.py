"""Which values of a numeric knob a search may try (imports no torch).

A range holds every value in published use and little beyond it. One name means the same thing
wherever it occurs; where it does not, the entry is ``<loss or combiner>.<knob>``.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class KnobRange:
    """Allowed values of a knob.

    Attributes:
        low: Smallest value.
        high: Largest value.
        log: Whether equal ratios matter rather than equal differences.
    """

    low: float
    high: float
    log: bool = False


KNOB_RANGES: Mapping[str, KnobRange] = MappingProxyType(
    {
        "alpha": KnobRange(0.0, 3.0),
        "beta": KnobRange(1e-4, 0.1, log=True),
        "bias": KnobRange(-20.0, 0.0),
        "block": KnobRange(1, 64),
        "c": KnobRange(0.0, 1.0),
        "clip_norm": KnobRange(0.1, 1000.0, log=True),
        "codes": KnobRange(64, 16384, log=True),
        "consistency": KnobRange(0.0, 1.0),
        "consistency_target": KnobRange(0.0, 1.0),
        "contrast": KnobRange(0.0, 10.0),
        "covariance": KnobRange(0.0, 1.0),
        "directions": KnobRange(16, 4096, log=True),
        "diversity": KnobRange(0.0, 1.0),
        "diversity_margin": KnobRange(0.0, 1.0),
        "dropout": KnobRange(0.0, 0.9),
        "dt": KnobRange(0.01, 1.0, log=True),
        "exponent": KnobRange(0.5, 4.0),
        "feedforward": KnobRange(16, 4096, log=True),
        "floor": KnobRange(1e-8, 1.0, log=True),
        "gamma": KnobRange(0.0, 10.0),
        "s2dtw.gamma": KnobRange(1e-3, 10.0, log=True),
        "gap": KnobRange(0.0, 10.0),
        "hard_rate": KnobRange(0.0, 1.0),
        "heads": KnobRange(1, 16),
        "hidden": KnobRange(2, 4096, log=True),
        "holdout_share": KnobRange(0.01, 0.5),
        "initial": KnobRange(1e-3, 10.0, log=True),
        "interval": KnobRange(1, 100),
        "invariance": KnobRange(0.0, 50.0),
        "layers": KnobRange(1, 12),
        "levels": KnobRange(1, 4),
        "local_weight": KnobRange(0.0, 1.0),
        "lr": KnobRange(1e-6, 1.0, log=True),
        "margin": KnobRange(0.0, 2.0),
        "orthogonality": KnobRange(0.0, 1.0),
        "percentile": KnobRange(0.05, 0.95),
        "period": KnobRange(1, 1000),
        "queries": KnobRange(1, 64),
        "ratio": KnobRange(0.05, 0.95),
        "scale": KnobRange(1.0, 200.0, log=True),
        "seed": KnobRange(0, 2**31 - 1),
        "static": KnobRange(0.0, 1.0),
        "target": KnobRange(0.0, 1.0),
        "temperature": KnobRange(5e-3, 10.0, log=True),
        "threshold": KnobRange(0.0, 1.0),
        "variance": KnobRange(0.0, 50.0),
        "weight_decay": KnobRange(0.0, 1.0),
        "width": KnobRange(4, 4096, log=True),
        "xi_decay": KnobRange(0.0, 0.1),
        "xi_lr": KnobRange(1e-4, 1.0, log=True),
    }
)


def knob_range(owner: str, knob: str) -> KnobRange | None:
    """The allowed values of a knob of a loss or combiner; None for a knob that is no number."""
    return KNOB_RANGES.get(f"{owner}.{knob}") or KNOB_RANGES.get(knob)

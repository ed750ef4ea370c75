"""What the losses of a run weighed: by the primary, by gradient, and on what signal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweep.statistics.intervals import NAN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sweep.records.record import TrialRecord
    from sweep.report.evidence import Evidence

#: Signal of a meta step below this share of its noise: a hundred steps are needed to tell it from
#: chance, and Adam averages over about ten.
NOISE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighing:
    """What one loss weighed at the end of one run.

    Attributes:
        slope: dM/dl over the last tenth of training; depends on the unit of the loss.
        relative: The same over that of the primary loss.
        share: |slope| times the norm of the loss's gradient at what the encoders put out, as a
            share of the sum over losses, 0..1; NaN where no gradients were logged.
        signal: Mean over standard deviation of one meta step; NaN where nothing was taught.
    """

    slope: float
    relative: float
    share: float
    signal: float


def weighings(evidence: Evidence, record: TrialRecord) -> dict[str, Weighing]:
    """Loss -> what it weighed, the primary included; empty where the record holds no weights."""
    slopes = {name: value for name, value in record.weights.items() if math.isfinite(value)}
    primary = next((slopes[name] for name in slopes if name not in record.losses), NAN)
    pulls = {
        name: abs(slopes[name]) * norm
        for name, norm in _norms(evidence, record).items()
        if name in slopes
    }
    whole = sum(pulls.values())
    signals = (record.training.get("meta") or {}).get("signal_to_noise") or {}
    return {
        name: Weighing(
            slope=slope,
            relative=slope / primary if primary else NAN,
            share=pulls[name] / whole if name in pulls and whole > 0 else NAN,
            signal=NAN if signals.get(name) is None else signals[name],
        )
        for name, slope in slopes.items()
    }


def clipped_share(evidence: Evidence, record: TrialRecord) -> float:
    """Share of the logged steps whose gradient was cut to `train.clip_norm`; NaN without any.

    A step whose norm is no number is not counted: it was not cut but lost.
    """
    limit = (record.config.get("train") or {}).get("clip_norm")
    norms = [row.get("gradient_norm") for row in evidence.history(record)]
    rows = [norm for norm in norms if norm is not None]
    if limit is None or not rows:
        return NAN
    return sum(norm > limit for norm in rows) / len(rows)


def _norms(evidence: Evidence, record: TrialRecord) -> Mapping[str, float]:
    """Gradient norms of the last step at which they were logged, 0 where a loss has none."""
    rows = [row["gradients"] for row in evidence.history(record) if row.get("gradients")]
    return {name: norm or 0.0 for name, norm in rows[-1]["norms"].items()} if rows else {}

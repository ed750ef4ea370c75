"""Whether a model is right as often as it is sure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweep.metrics.robustness import NAN, as_float

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Calibration:
    """How far confidence is from accuracy; everything in 0 to 1 except `nll`.

    Attributes:
        ece: Expected calibration error, equal-width bins closed on the right.
        mce: Largest gap of those bins.
        adaptive_ece: The same error over bins of equal counts.
        rms: Root of the mean squared gap over bins of equal counts.
        brier: Mean over clips of the squared distance to the one-hot label.
        nll: Mean negative log-likelihood, nats.
    """

    ece: float
    mce: float
    adaptive_ece: float
    rms: float
    brier: float
    nll: float


def calibration(probabilities: ArrayLike, labels: ArrayLike, *, bins: int = 15) -> Calibration:
    """Compare confidence with accuracy.

    Args:
        probabilities: (N, V), rows sum to 1.
        labels: Classes (N,).
        bins: Number of bins.
    """
    chance = as_float(probabilities)
    truth = np.asarray(labels)
    count = len(chance)
    if not count:
        return Calibration(NAN, NAN, NAN, NAN, NAN, NAN)
    confidence = chance.max(axis=1)
    right = (chance.argmax(axis=1) == truth).astype(np.float64)
    width, width_share = _gaps(confidence, right, _bins(confidence, bins))
    # the first (N mod bins) parts hold one more
    equal = np.array_split(np.argsort(confidence, kind="stable"), bins)
    counted, counted_share = _gaps(confidence, right, equal)
    one_hot = np.zeros_like(chance)
    one_hot[np.arange(count), truth] = 1
    likelihood = chance[np.arange(count), truth]
    with np.errstate(divide="ignore"):
        nll = -np.log(likelihood)
    return Calibration(
        ece=float(width @ width_share),
        mce=float(width.max()),
        adaptive_ece=float(counted @ counted_share),
        rms=float(np.sqrt(counted**2 @ counted_share)),
        brier=float(((chance - one_hot) ** 2).sum(axis=1).mean()),
        nll=float(nll.mean()),
    )


def calibration_error(confidence: ArrayLike, right: ArrayLike, *, bins: int = 15) -> float:
    """Return the expected calibration error where only the largest probability is known.

    Args:
        confidence: Largest probabilities (N,), 0 to 1.
        right: Whether the predicted class is the true one (N,).
        bins: Number of equal-width bins, closed on the right.
    """
    known = as_float(confidence)
    if not len(known):
        return NAN
    gaps, shares = _gaps(known, as_float(right), _bins(known, bins))
    return float(gaps @ shares)


def _bins(confidence: np.ndarray, bins: int) -> list[np.ndarray]:
    """Members of equal-width bins, closed on the right."""
    edges = np.linspace(0, 1, bins + 1)
    of_bin = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    return [np.flatnonzero(of_bin == b) for b in range(bins)]


def _gaps(
    confidence: np.ndarray, right: np.ndarray, members: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """|confidence - accuracy| of every bin that holds something, and its share of the clips."""
    filled = [index for index in members if len(index)]
    gaps = [abs(confidence[index].mean() - right[index].mean()) for index in filled]
    shares = [len(index) / len(confidence) for index in filled]
    return np.array(gaps), np.array(shares)

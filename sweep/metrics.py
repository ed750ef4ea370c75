"""Robustness, consistency and calibration on plain arrays.

Accuracies are in percent (0 to 100), probabilities and shares in 0 to 1. What is undefined (no
clean accuracy, no clips, too few models) is NaN, never a number that looks like an answer.

Perturbed accuracies are arrays whose last two axes are (perturbation, severity); leading axes, if
any, are models. Definitions: Schiappa et al. (arXiv:2207.01398) for gamma, Hendrycks and Dietterich
(arXiv:1903.12261) for corruption errors and flips, Yi et al. (arXiv:2110.06513) for mPC and rPC,
Taori et al. (arXiv:2007.00644) for effective robustness.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

NAN = float("nan")
_TINY = 1e-6
_LOGIT_MARGIN = 1e-3


# ---------------------------------------------------------------------------------- robustness
def absolute_robustness(clean: ArrayLike, perturbed: ArrayLike) -> np.ndarray:
    """Return gamma_a = 1 - (clean - perturbed) / 100, accuracies in percent (they broadcast)."""
    return 1 - (_float(clean) - _float(perturbed)) / 100


def relative_robustness(clean: ArrayLike, perturbed: ArrayLike) -> np.ndarray:
    """Return gamma_r = perturbed / clean; NaN where clean is 0, above 1 where it helped."""
    return _ratio(_float(perturbed), _float(clean))


@dataclass(frozen=True)
class Robustness:
    """One kind of gamma, aggregated. Never to be read without the clean accuracy.

    Attributes:
        by_perturbation: Mean over severities.
        by_category: Mean over the perturbations of a category.
        macro: Mean over categories.
        micro: Mean over perturbations; the headline.
        perturbations: Number of perturbations that were scored.
    """

    by_perturbation: Mapping[str, float]
    by_category: Mapping[str, float]
    macro: float
    micro: float
    perturbations: int


def robustness(
    clean: float,
    perturbed: Mapping[str, Sequence[float]],
    categories: Mapping[str, str],
    *,
    kind: Literal["absolute", "relative"] = "relative",
) -> Robustness:
    """Aggregate accuracies under perturbation to gamma per perturbation, category and overall.

    Args:
        clean: Accuracy, percent.
        perturbed: Perturbation -> accuracies over its severities, percent. What was skipped is
            left out, not guessed.
        categories: Perturbation -> category.
        kind: Which gamma.
    """
    gamma = absolute_robustness if kind == "absolute" else relative_robustness
    by_perturbation = {name: _mean(gamma(clean, values)) for name, values in perturbed.items()}
    members: dict[str, list[float]] = {}
    for name, value in by_perturbation.items():
        members.setdefault(categories[name], []).append(value)
    by_category = {category: _mean(values) for category, values in members.items()}
    return Robustness(
        by_perturbation=by_perturbation,
        by_category=by_category,
        macro=_mean(list(by_category.values())),
        micro=_mean(list(by_perturbation.values())),
        perturbations=len(by_perturbation),
    )


def mean_performance(perturbed: ArrayLike) -> np.ndarray:
    """Return mPC: mean over perturbations and severities (..., P, S) -> (...), percent."""
    return _float(perturbed).mean(axis=(-2, -1))


def relative_performance(clean: ArrayLike, perturbed: ArrayLike) -> np.ndarray:
    """Return rPC = mPC / clean; NaN where clean is 0."""
    return _ratio(mean_performance(perturbed), _float(clean))


def corruption_error(perturbed: ArrayLike, baseline: ArrayLike) -> np.ndarray:
    """Return CE: summed error relative to a baseline model's, (..., P, S) -> (..., P).

    Its mean over perturbations is the mCE.

    Args:
        perturbed: Accuracies, percent.
        baseline: Those of the baseline model, (P, S) or broadcastable.
    """
    return _ratio((100 - _float(perturbed)).sum(-1), (100 - _float(baseline)).sum(-1))


def relative_corruption_error(
    clean: ArrayLike, perturbed: ArrayLike, baseline_clean: ArrayLike, baseline: ArrayLike
) -> np.ndarray:
    """Return the relative CE: summed rise of the error over a baseline's, (..., P, S) -> (..., P).

    Args:
        clean: Clean accuracies (...), percent.
        perturbed: Accuracies (..., P, S), percent.
        baseline_clean: Clean accuracy of the baseline model.
        baseline: Its accuracies (P, S).
    """
    rise = _float(clean)[..., None, None] - _float(perturbed)
    base = _float(baseline_clean)[..., None, None] - _float(baseline)
    return _ratio(rise.sum(-1), base.sum(-1))


def worst_perturbation(gamma: ArrayLike) -> np.ndarray:
    """Return the smallest mean over severities, (..., P, S) -> (...)."""
    return _float(gamma).mean(axis=-1).min(axis=-1)


def worst_condition(gamma: ArrayLike) -> np.ndarray:
    """Return the smallest value of all conditions, (..., P, S) -> (...)."""
    return _float(gamma).min(axis=(-2, -1))


def value_at_risk(values: ArrayLike, *, share: float = 0.2) -> float:
    """Return CVaR: the mean of the lowest `share` of the conditions (rounded up to a whole number).

    Args:
        values: One per condition, any shape.
        share: Share of the conditions, 0 to 1.
    """
    flat = np.sort(_float(values).ravel())
    # the ratio of two decimals may end a hair above a whole number
    count = max(1, math.ceil(len(flat) * share - 1e-9))
    return _mean(flat[:count])


def area_under_severity(
    clean: float, perturbed: ArrayLike, severities: ArrayLike | None = None
) -> float:
    """Return AUS: mean of accuracy / clean over severity 0..S by the trapezoid rule.

    Args:
        clean: Accuracy at severity 0, percent.
        perturbed: Accuracies, percent.
        severities: Their increasing severities; None = 1..S. Gaps are interpolated.
    """
    curve = _ratio(np.concatenate([[clean], _float(perturbed)]), _float(clean))
    if len(curve) < 2:
        return NAN
    steps = np.arange(len(curve)) if severities is None else np.append(0, _float(severities))
    return float(np.trapezoid(curve, steps) / steps[-1])


def severity_to_half(clean: float, perturbed: ArrayLike) -> float:
    """Return the interpolated severity at which half the clean accuracy is lost; inf if never.

    Args:
        clean: Accuracy at severity 0, percent.
        perturbed: Accuracies at severities 1..S, percent.
    """
    if not clean > 0:
        return NAN
    curve = np.concatenate([[clean], _float(perturbed)])
    below = np.flatnonzero(curve <= clean / 2)
    if not len(below):
        return math.inf
    first = int(below[0])
    before, after = curve[first - 1], curve[first]
    return float(first - 1 + (before - clean / 2) / (before - after))


# -------------------------------------------------------------------- effective robustness
@dataclass(frozen=True)
class AccuracyLine:
    """logit(shifted accuracy) = slope * logit(clean accuracy) + intercept.

    Attributes:
        slope: NaN if it could not be fitted.
        intercept: NaN if it could not be fitted.
        r2: Share of variance explained; below 0.8 the line says little.
        models: Number of models it was fitted to.
    """

    slope: float
    intercept: float
    r2: float
    models: int

    def expected(self, clean: ArrayLike) -> np.ndarray:
        """Return the accuracy under shift that the line predicts, as shares."""
        logits = self.slope * _logit(_float(clean)) + self.intercept
        return 1 / (1 + np.exp(-logits))


def accuracy_line(clean: ArrayLike, shifted: ArrayLike) -> AccuracyLine:
    """Fit the line of a pool of models by least squares; at least three models.

    Args:
        clean: Accuracies of the pool, shares 0 to 1.
        shifted: Their accuracies under shift, shares 0 to 1.
    """
    x, y = _logit(_float(clean)), _logit(_float(shifted))
    if len(x) < 3 or np.ptp(x) == 0:
        return AccuracyLine(NAN, NAN, NAN, len(x))
    centred = x - x.mean()
    slope = float(centred @ (y - y.mean()) / (centred @ centred))
    intercept = float(y.mean() - slope * x.mean())
    residual = y - slope * x - intercept
    total = ((y - y.mean()) ** 2).sum()
    r2 = float(1 - (residual**2).sum() / total) if total > 0 else NAN
    return AccuracyLine(slope, intercept, r2, len(x))


def effective_robustness(clean: ArrayLike, shifted: ArrayLike, line: AccuracyLine) -> np.ndarray:
    """Return rho: accuracy under shift beyond what the clean accuracy predicts, as shares."""
    return _float(shifted) - line.expected(clean)


def leave_one_out_robustness(clean: ArrayLike, shifted: ArrayLike) -> np.ndarray:
    """Return rho of every model of a pool, against a line fitted to the others.

    Args:
        clean: Accuracies (N,), shares 0 to 1.
        shifted: Accuracies under shift (N,).
    """
    x, y = _float(clean), _float(shifted)
    rho = np.full(len(x), NAN)
    for index in range(len(x)):
        others = np.arange(len(x)) != index
        line = accuracy_line(x[others], y[others])
        rho[index] = effective_robustness(x[index], y[index], line)
    return rho


# ------------------------------------------------------------------------------- consistency
def consistency(clean: ArrayLike, perturbed: ArrayLike) -> float:
    """Return the share of clips whose prediction stays; the flip rate is 1 minus it.

    Args:
        clean: Predicted classes (N,).
        perturbed: Predicted classes of the same clips, perturbed (N,).
    """
    return _mean(np.asarray(clean) == np.asarray(perturbed))


def flip_rate(clean: ArrayLike, perturbed: ArrayLike) -> float:
    """Return the share of clips whose prediction changes.

    Args:
        clean: Predicted classes (N,).
        perturbed: Predicted classes of the same clips, perturbed (N,).
    """
    return 1 - consistency(clean, perturbed)


def resist_rate(clean: ArrayLike, perturbed: ArrayLike, labels: ArrayLike) -> float:
    """Return the share of correctly classified clips that stay correct.

    Args:
        clean: Predicted classes (N,).
        perturbed: Predicted classes of the same clips, perturbed (N,).
        labels: Classes (N,).
    """
    right = np.asarray(clean) == np.asarray(labels)
    return _mean((np.asarray(perturbed) == np.asarray(labels))[right])


def temporal_sensitivity(clean: ArrayLike, disordered: ArrayLike, labels: ArrayLike) -> float:
    """Return the share of correct predictions that change when the order of frames is destroyed.

    Args:
        clean: Predicted classes (N,).
        disordered: Predicted classes of the same clips in another order (N,).
        labels: Classes (N,).
    """
    right = np.asarray(clean) == np.asarray(labels)
    return _mean((np.asarray(disordered) != np.asarray(clean))[right])


def flip_probability(
    predictions: ArrayLike, *, against: Literal["previous", "first"] = "previous"
) -> float:
    """Return the mean share of changes along sequences such as clean, severity 1, ..., 5.

    Args:
        predictions: Classes (N, S).
        against: What each member is compared with.
    """
    found = np.asarray(predictions)
    reference = found[:, :-1] if against == "previous" else found[:, :1]
    return _mean(found[:, 1:] != reference)


def rank_distance(
    logits: ArrayLike,
    *,
    kind: Literal["zipf", "top5"] = "zipf",
    against: Literal["previous", "first"] = "previous",
) -> float:
    """Return how far class rankings move along sequences, mean over pairs.

    With sigma(i) the later rank of the class that was i-th, 1 = best: zipf is
    sum_i |1/i - 1/sigma(i)| / i; top5 is sum_{i <= 5} |i - 1 - min(sigma(i) - 1, 5)|.

    Args:
        logits: (N, S, V) over V classes.
        kind: Which distance.
        against: What each member is compared with.
    """
    scores = _float(logits)
    order = np.argsort(-scores, axis=-1, kind="stable")
    ranks = np.argsort(order, axis=-1, kind="stable")  # 0 = best
    reference = (
        order[:, :-1]
        if against == "previous"
        else np.broadcast_to(order[:, :1], order[:, 1:].shape)
    )
    sigma = np.take_along_axis(ranks[:, 1:], reference, axis=-1)
    place = np.arange(scores.shape[-1])
    if kind == "top5":
        first = slice(0, 5)
        return _mean(np.abs(place[first] - np.minimum(sigma[..., first], 5)).sum(-1))
    inverse = 1 / (place + 1)
    return _mean((np.abs(inverse - 1 / (sigma + 1)) * inverse).sum(-1))


def representation_shift(clean: ArrayLike, perturbed: ArrayLike) -> tuple[float, float]:
    """Return the mean and the 95th percentile of 1 - cosine between features.

    Args:
        clean: Features (N, D).
        perturbed: Features of the same clips, perturbed (N, D).
    """
    a, b = _float(clean), _float(perturbed)
    if not len(a):
        return NAN, NAN
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    shift = 1 - _ratio((a * b).sum(-1), norms)
    return float(shift.mean()), float(np.quantile(shift, 0.95))


# ------------------------------------------------------------------------------- calibration
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
    chance = _float(probabilities)
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
    known = _float(confidence)
    if not len(known):
        return NAN
    gaps, shares = _gaps(known, _float(right), _bins(known, bins))
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


# ------------------------------------------------------------------------------------ numbers
def _float(values: ArrayLike) -> np.ndarray:
    return np.asarray(values, dtype=np.float64)


def _mean(values: ArrayLike) -> float:
    array = _float(values)
    return float(array.mean()) if array.size else NAN


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Quotient; NaN where the denominator is (nearly) nothing."""
    above, below = np.broadcast_arrays(above, below)
    out = np.full(above.shape, NAN)
    return np.divide(above, below, out=out, where=below > _TINY)


def _logit(share: np.ndarray) -> np.ndarray:
    inside = np.clip(share, _LOGIT_MARGIN, 1 - _LOGIT_MARGIN)
    return np.log(inside / (1 - inside))

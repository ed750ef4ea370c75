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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike


NAN = float("nan")
_TINY = 1e-6
_LOGIT_MARGIN = 1e-3


def absolute_robustness(clean: ArrayLike, perturbed: ArrayLike) -> np.ndarray:
    """Return gamma_a = 1 - (clean - perturbed) / 100, accuracies in percent (they broadcast)."""
    return 1 - (as_float(clean) - as_float(perturbed)) / 100


def relative_robustness(clean: ArrayLike, perturbed: ArrayLike) -> np.ndarray:
    """Return gamma_r = perturbed / clean; NaN where clean is 0, above 1 where it helped."""
    return ratio(as_float(perturbed), as_float(clean))


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
    by_perturbation = {
        name: mean_or_nan(gamma(clean, values)) for name, values in perturbed.items()
    }
    members: dict[str, list[float]] = {}
    for name, value in by_perturbation.items():
        members.setdefault(categories[name], []).append(value)
    by_category = {category: mean_or_nan(values) for category, values in members.items()}
    return Robustness(
        by_perturbation=by_perturbation,
        by_category=by_category,
        macro=mean_or_nan(list(by_category.values())),
        micro=mean_or_nan(list(by_perturbation.values())),
        perturbations=len(by_perturbation),
    )


def mean_performance(perturbed: ArrayLike) -> np.ndarray:
    """Return mPC: mean over perturbations and severities (..., P, S) -> (...), percent."""
    return as_float(perturbed).mean(axis=(-2, -1))


def relative_performance(clean: ArrayLike, perturbed: ArrayLike) -> np.ndarray:
    """Return rPC = mPC / clean; NaN where clean is 0."""
    return ratio(mean_performance(perturbed), as_float(clean))


def corruption_error(perturbed: ArrayLike, baseline: ArrayLike) -> np.ndarray:
    """Return CE: summed error relative to a baseline model's, (..., P, S) -> (..., P).

    Its mean over perturbations is the mCE.

    Args:
        perturbed: Accuracies, percent.
        baseline: Those of the baseline model, (P, S) or broadcastable.
    """
    return ratio((100 - as_float(perturbed)).sum(-1), (100 - as_float(baseline)).sum(-1))


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
    rise = as_float(clean)[..., None, None] - as_float(perturbed)
    base = as_float(baseline_clean)[..., None, None] - as_float(baseline)
    return ratio(rise.sum(-1), base.sum(-1))


def worst_perturbation(gamma: ArrayLike) -> np.ndarray:
    """Return the smallest mean over severities, (..., P, S) -> (...)."""
    return as_float(gamma).mean(axis=-1).min(axis=-1)


def worst_condition(gamma: ArrayLike) -> np.ndarray:
    """Return the smallest value of all conditions, (..., P, S) -> (...)."""
    return as_float(gamma).min(axis=(-2, -1))


def value_at_risk(values: ArrayLike, *, share: float = 0.2) -> float:
    """Return CVaR: the mean of the lowest `share` of the conditions (rounded up to a whole number).

    Args:
        values: One per condition, any shape.
        share: Share of the conditions, 0 to 1.
    """
    flat = np.sort(as_float(values).ravel())
    # the ratio of two decimals may end a hair above a whole number
    count = max(1, math.ceil(len(flat) * share - 1e-9))
    return mean_or_nan(flat[:count])


def area_under_severity(
    clean: float, perturbed: ArrayLike, severities: ArrayLike | None = None
) -> float:
    """Return AUS: mean of accuracy / clean over severity 0..S by the trapezoid rule.

    Args:
        clean: Accuracy at severity 0, percent.
        perturbed: Accuracies, percent.
        severities: Their increasing severities; None = 1..S. Gaps are interpolated.
    """
    curve = ratio(np.concatenate([[clean], as_float(perturbed)]), as_float(clean))
    if len(curve) < 2:
        return NAN
    steps = np.arange(len(curve)) if severities is None else np.append(0, as_float(severities))
    return float(np.trapezoid(curve, steps) / steps[-1])


def severity_to_half(clean: float, perturbed: ArrayLike) -> float:
    """Return the interpolated severity at which half the clean accuracy is lost; inf if never.

    Args:
        clean: Accuracy at severity 0, percent.
        perturbed: Accuracies at severities 1..S, percent.
    """
    if not clean > 0:
        return NAN
    curve = np.concatenate([[clean], as_float(perturbed)])
    below = np.flatnonzero(curve <= clean / 2)
    if not len(below):
        return math.inf
    first = int(below[0])
    before, after = curve[first - 1], curve[first]
    return float(first - 1 + (before - clean / 2) / (before - after))


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
        logits = self.slope * logit(as_float(clean)) + self.intercept
        return 1 / (1 + np.exp(-logits))


def accuracy_line(clean: ArrayLike, shifted: ArrayLike) -> AccuracyLine:
    """Fit the line of a pool of models by least squares; at least three models.

    Args:
        clean: Accuracies of the pool, shares 0 to 1.
        shifted: Their accuracies under shift, shares 0 to 1.
    """
    x, y = logit(as_float(clean)), logit(as_float(shifted))
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
    return as_float(shifted) - line.expected(clean)


def leave_one_out_robustness(clean: ArrayLike, shifted: ArrayLike) -> np.ndarray:
    """Return rho of every model of a pool, against a line fitted to the others.

    Args:
        clean: Accuracies (N,), shares 0 to 1.
        shifted: Accuracies under shift (N,).
    """
    x, y = as_float(clean), as_float(shifted)
    rho = np.full(len(x), NAN)
    for index in range(len(x)):
        others = np.arange(len(x)) != index
        line = accuracy_line(x[others], y[others])
        rho[index] = effective_robustness(x[index], y[index], line)
    return rho


def as_float(values: ArrayLike) -> np.ndarray:
    """The same numbers as float64."""
    return np.asarray(values, dtype=np.float64)


def mean_or_nan(values: ArrayLike) -> float:
    """Their mean; NaN of none."""
    array = as_float(values)
    return float(array.mean()) if array.size else NAN


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Quotient; NaN where the denominator is (nearly) nothing."""
    above, below = np.broadcast_arrays(above, below)
    out = np.full(above.shape, NAN)
    return np.divide(above, below, out=out, where=below > _TINY)


def logit(share: np.ndarray) -> np.ndarray:
    """Log odds of shares, kept off 0 and 1."""
    inside = np.clip(share, _LOGIT_MARGIN, 1 - _LOGIT_MARGIN)
    return np.log(inside / (1 - inside))

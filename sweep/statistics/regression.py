"""Curves and slopes: regression, dose and response, mixed models."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize
from scipy import stats as scipy_stats

from sweep.statistics.intervals import NAN, t_quantile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficient:
    """One term of a regression on standardised predictors.

    Attributes:
        name: Predictor.
        mean: Change of the response per standard deviation of the predictor.
        low: Lower bound of the 95 % interval.
        high: Upper bound.
        p: Two-sided.
        vif: Variance inflation factor: 1 = alone, above about 5 the term is hard to tell from the
            others.
    """

    name: str
    mean: float
    low: float
    high: float
    p: float
    vif: float


def standardised_regression(
    response: Sequence[float], predictors: Mapping[str, Sequence[float]]
) -> list[Coefficient]:
    """Least squares on standardised predictors with HC3 errors (MacKinnon and White 1985).

    Rows with a NaN are left out. HC3 errors hold where the spread of the response differs between
    rows; intervals are by t.

    Raises:
        ValueError: with fewer than three rows more than coefficients, or predictors of which one
            follows from the others.
    """
    import statsmodels.api as sm

    table = np.column_stack([response, *predictors.values()]).astype(float)
    table = table[np.isfinite(table).all(axis=1)]
    count = len(predictors)
    spread = table[:, 1:].std(axis=0, ddof=1) if len(table) > 1 else np.zeros(count)
    if len(table) < count + 4 or not (spread > 0).all():
        raise ValueError(f"{len(table)} rows do not determine {count} predictors and a constant")
    scaled = (table[:, 1:] - table[:, 1:].mean(axis=0)) / spread
    correlation = np.corrcoef(scaled, rowvar=False).reshape(count, count)
    if np.linalg.cond(correlation) > 1e8:
        raise ValueError(f"one of {', '.join(predictors)} follows from the others")
    fitted = sm.OLS(table[:, 0], sm.add_constant(scaled)).fit(cov_type="HC3", use_t=True)
    inflation = np.linalg.inv(correlation).diagonal()
    bounds = fitted.conf_int(0.05)
    return [
        Coefficient(
            name=name,
            mean=float(fitted.params[i]),
            low=float(bounds[i][0]),
            high=float(bounds[i][1]),
            p=float(fitted.pvalues[i]),
            vif=float(inflation[i - 1]),
        )
        for i, name in enumerate(predictors, start=1)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """One curve through (dose, response).

    Attributes:
        name: `constant`, `linear`, `quadratic` or `saturating` (a + b (1 - exp(-x / c))).
        parameters: Coefficients; for `saturating` (a, b, c).
        rss: Residual sum of squares.
        aicc: Corrected Akaike criterion; infinite where the data are too few.
        weight: Akaike weight within the family.
    """

    name: str
    parameters: tuple[float, ...]
    rss: float
    aicc: float
    weight: float

    def curve(self, x: Iterable[float]) -> np.ndarray:
        """Predicted responses."""
        points = np.asarray(list(x), dtype=float)
        if self.name == "saturating":
            a, b, c = self.parameters
            return a + b * -np.expm1(-points / c)
        return np.polynomial.polynomial.polyval(points, self.parameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class DoseResponse:
    """The fits, best AICc first."""

    fits: tuple[Fit, ...]
    n: int

    @property
    def best(self) -> Fit:
        """The fit of lowest AICc."""
        return self.fits[0]


def dose_response(x: Iterable[float], y: Iterable[float]) -> DoseResponse:
    """Constant, linear, quadratic and saturating fits compared by AICc.

    The constant stands among them so that "the dose does not matter" can win. Use one point per
    configuration (its mean over seeds): seeds of one configuration are not independent.

    Raises:
        ValueError: with fewer than three points or fewer than two doses.
    """
    doses, responses = (np.asarray(list(v), dtype=float) for v in (x, y))
    kept = np.isfinite(doses) & np.isfinite(responses)
    doses, responses = doses[kept], responses[kept]
    levels = np.unique(doses).size
    if doses.size < 3 or levels < 2:
        raise ValueError(
            f"a dose-response needs three points at two doses or more, given {doses.size} "
            f"points at {levels} doses"
        )
    found = [_polynomial("constant", 0, doses, responses)]
    found.append(_polynomial("linear", 1, doses, responses))
    if levels >= 3:
        found.append(_polynomial("quadratic", 2, doses, responses))
        found.append(_saturating(doses, responses))
    aicc = np.array([_aicc(rss, doses.size, len(p) + 1) for _, p, rss in found])
    finite = np.isfinite(aicc)
    relative = np.zeros(len(found))
    if finite.any():
        relative[finite] = np.exp(-(aicc[finite] - aicc[finite].min()) / 2)
        relative /= relative.sum()
    fits = [
        Fit(name=name, parameters=p, rss=rss, aicc=float(a), weight=float(w))
        for (name, p, rss), a, w in zip(found, aicc, relative, strict=True)
    ]
    return DoseResponse(fits=tuple(sorted(fits, key=lambda fit: fit.aicc)), n=doses.size)


def _polynomial(
    name: str, degree: int, x: np.ndarray, y: np.ndarray
) -> tuple[str, tuple[float, ...], float]:
    design = np.vander(x, degree + 1, increasing=True)
    parameters = np.linalg.lstsq(design, y, rcond=None)[0]
    rss = float(np.sum((y - design @ parameters) ** 2))
    return name, tuple(float(v) for v in parameters), rss


def _saturating(x: np.ndarray, y: np.ndarray) -> tuple[str, tuple[float, ...], float]:
    """For a fixed scale the curve is linear: search the scale alone, between 1/10 and 3 ranges."""

    def solve(log_scale: float) -> tuple[np.ndarray, float]:
        design = np.column_stack([np.ones_like(x), -np.expm1(-x / math.exp(log_scale))])
        parameters = np.linalg.lstsq(design, y, rcond=None)[0]
        return parameters, float(np.sum((y - design @ parameters) ** 2))

    grid = np.log(scales(x))
    start = int(np.argmin([solve(value)[1] for value in grid]))
    near = (float(grid[max(start - 1, 0)]), float(grid[min(start + 1, 24)]))
    best = optimize.minimize_scalar(lambda v: solve(v)[1], bounds=near, method="bounded").x
    parameters, rss = solve(float(best))
    return "saturating", (float(parameters[0]), float(parameters[1]), math.exp(float(best))), rss


def scales(x: np.ndarray) -> np.ndarray:
    """Grid of the scales that a saturating curve may have: a tenth of the range to three of it."""
    reach = float(x.max() - x.min())
    return np.exp(np.linspace(math.log(reach / 10), math.log(reach * 3), 25))


def _aicc(rss: float, n: int, parameters: int) -> float:
    """Gaussian AICc with the variance counted among the parameters."""
    if n - parameters - 1 <= 0:
        return math.inf
    correction = 2 * parameters * (parameters + 1) / (n - parameters - 1)
    return n * math.log(max(rss, 1e-12) / n) + 2 * parameters + correction


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """Effect of one unit of a predictor in a model with other terms.

    Attributes:
        mean: Estimate.
        low: Lower bound of the 95 % interval.
        high: Upper bound.
        p: Two-sided.
        n: Rows.
        method: `mixed model` (random intercept per group), `OLS, cluster-robust` or `OLS`.
    """

    mean: float
    low: float
    high: float
    p: float
    n: int
    method: str


def set_slope(
    response: Sequence[float],
    predictor: Sequence[float],
    covariates: Mapping[str, Sequence[float]] | None = None,
) -> Slope:
    """Least-squares slope over loss sets, one point each (its mean over seeds); t interval.

    What a set adds of its own is in the residuals then. A model with an intercept per seed alone
    takes the seeds of a set for independent, and finds slopes that are not there in 15 to 28 %.

    Args:
        response: One value per set.
        predictor: Such as the number of losses.
        covariates: Further columns, such as 1 for sets with a loss that reads captions.

    Raises:
        ValueError: with fewer than two rows more than coefficients, or columns of which one
            follows from the others.
    """
    table = np.column_stack([response, predictor, *(covariates or {}).values()]).astype(float)
    table = table[np.isfinite(table).all(axis=1)]
    design = np.column_stack([np.ones(len(table)), table[:, 1:]])
    n, count = design.shape
    if n < count + 2 or np.linalg.matrix_rank(design) < count:
        raise ValueError(f"{n} loss sets do not determine {count} coefficients")
    found = np.linalg.lstsq(design, table[:, 0], rcond=None)[0]
    freedom = n - count
    rss = float(np.sum((table[:, 0] - design @ found) ** 2))
    error = math.sqrt(rss / freedom * np.linalg.inv(design.T @ design)[1, 1])
    mean, half = float(found[1]), t_quantile(0.95, freedom) * error
    p = float(2 * scipy_stats.t.sf(abs(mean) / error, freedom)) if error > 0 else NAN
    return Slope(mean=mean, low=mean - half, high=mean + half, p=p, n=n, method="OLS")

"""Statistics of ablations: intervals, paired contrasts, multiplicity, attribution, dose-response.

Everything works on plain numbers (numpy in, small frozen dataclasses out) and knows nothing of
records. Seeds are the unit of replication: cells that share a seed share initialisation, data
order and perturbation draws, so contrasts are paired by seed. What cannot be computed (one seed,
no spread) is NaN, never a number that looks like an answer.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import optimize, special
from scipy import stats as scipy_stats

NAN = float("nan")
#: From this many seeds on an interval of a mean is BCa instead of Student's t.
BCA_FROM = 8
#: Sign flips and permutations are enumerated up to this number, sampled beyond.
ENUMERATE_UP_TO = 9_999


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean with its confidence interval; the bounds are NaN where there is none.

    Attributes:
        mean: In the unit of the data.
        low: Lower bound.
        high: Upper bound.
        n: Number of values.
        method: `t`, `BCa`, `bootstrap`, or `none` (fewer than two values).
    """

    mean: float
    low: float
    high: float
    n: int
    method: str

    @property
    def half(self) -> float:
        """Half of the width."""
        return (self.high - self.low) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """A difference paired by seed, treated minus reference.

    Attributes:
        mean: Mean difference.
        low: Lower bound of the t interval, NaN for fewer than two pairs.
        high: Upper bound.
        n: Number of pairs.
        missing: Seeds of which only one side exists; dropped, never imputed.
        sd: Standard deviation of the differences.
        t_p: Two-sided p of the paired t test.
        sign_flip_p: Two-sided p of the exact sign-flip test; never below 2 / 2**n.
        effect: Hedges' g_z, the mean in standard deviations of the difference, bias-corrected.
        differences: Seed -> difference.
    """

    mean: float
    low: float
    high: float
    n: int
    missing: int
    sd: float
    t_p: float
    sign_flip_p: float
    effect: float
    differences: Mapping[int, float]

    @property
    def half(self) -> float:
        """Half width of the interval."""
        return (self.high - self.low) / 2

    @property
    def resolved(self) -> bool:
        """Whether the interval excludes 0. Equal differences in all seeds resolve nothing."""
        return self.sd > 0 and (self.low > 0 or self.high < 0)

    @property
    def share_improved(self) -> float:
        """Share of the pairs with a positive difference; ties count one half."""
        values = np.fromiter(self.differences.values(), dtype=float)
        return float(np.mean((np.sign(values) + 1) / 2)) if values.size else NAN


# ---------------------------------------------------------------------------- means and contrasts


def mean_interval(
    values: Iterable[float], *, level: float = 0.95, resamples: int = 9_999, seed: int = 0
) -> Interval:
    """Mean of one value per seed: Student's t, BCa bootstrap from eight values on.

    NaN values are left out. One value has no interval.
    """
    x = _finite(values)
    n = x.size
    if n < 2:
        return Interval(mean=float(x[0]) if n else NAN, low=NAN, high=NAN, n=n, method="none")
    mean, sd = float(x.mean()), _spread(x)
    if n >= BCA_FROM and sd > 0:
        found = scipy_stats.bootstrap(
            (x,),
            np.mean,
            confidence_level=level,
            n_resamples=resamples,
            method="BCa",
            rng=np.random.default_rng(seed),
        ).confidence_interval
        if math.isfinite(found.low) and math.isfinite(found.high):
            low, high = float(found.low), float(found.high)
            return Interval(mean=mean, low=low, high=high, n=n, method="BCa")
    half = _t_quantile(level, n - 1) * sd / math.sqrt(n)
    return Interval(mean=mean, low=mean - half, high=mean + half, n=n, method="t")


def paired_contrast(
    treated: Mapping[int, float], reference: Mapping[int, float], *, level: float = 0.95
) -> Contrast:
    """Contrast of two cells given as seed -> value. A NaN counts as missing."""
    there = {seed for seed, value in treated.items() if math.isfinite(value)}
    here = {seed for seed, value in reference.items() if math.isfinite(value)}
    differences = {seed: treated[seed] - reference[seed] for seed in sorted(there & here)}
    x = np.fromiter(differences.values(), dtype=float)
    n = x.size
    mean = float(x.mean()) if n else NAN
    sd = _spread(x) if n > 1 else NAN
    low = high = t_p = NAN
    if n > 1:
        half = _t_quantile(level, n - 1) * sd / math.sqrt(n)
        low, high = mean - half, mean + half
        if sd > 0:
            t_p = float(2 * scipy_stats.t.sf(abs(mean) / (sd / math.sqrt(n)), n - 1))
    return Contrast(
        mean=mean,
        low=low,
        high=high,
        n=n,
        missing=len(there ^ here),
        sd=sd,
        t_p=t_p,
        sign_flip_p=sign_flip_p(x),
        effect=hedges_g(x),
        differences=differences,
    )


def sign_flip_p(differences: Iterable[float], *, resamples: int = 9_999, seed: int = 0) -> float:
    """Two-sided p of "the differences are symmetric around 0"; exact while 2**n is small."""
    x = _finite(differences)
    n = x.size
    if n == 0:
        return NAN
    observed = abs(x.sum())
    slack = 1e-12 * max(1.0, float(np.abs(x).sum()))
    if 2**n <= ENUMERATE_UP_TO:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=n)))
        return float(np.mean(np.abs(signs @ x) >= observed - slack))
    signs = np.random.default_rng(seed).choice((1.0, -1.0), size=(resamples, n))
    return float((1 + np.sum(np.abs(signs @ x) >= observed - slack)) / (1 + resamples))


def hedges_g(differences: Iterable[float]) -> float:
    """Hedges' g_z with the exact small-sample factor; NaN below three values or without spread."""
    x = _finite(differences)
    if x.size < 3 or _spread(x) == 0:
        return NAN
    return _hedges_factor(x.size - 1) * float(x.mean()) / _spread(x)


def hedges_interval(differences: Iterable[float], *, level: float = 0.95) -> Interval:
    """Interval of Hedges' g_z by inverting the noncentral t distribution."""
    x = _finite(differences)
    g = hedges_g(x)
    n = x.size
    if not math.isfinite(g):
        return Interval(mean=NAN, low=NAN, high=NAN, n=n, method="none")
    t = math.sqrt(n) * float(x.mean()) / _spread(x)
    factor = _hedges_factor(n - 1) / math.sqrt(n)

    def bound(tail: float) -> float:
        reach = 10.0 + 4.0 * abs(t)
        noncentral = optimize.brentq(
            lambda d: scipy_stats.nct.cdf(t, n - 1, d) - tail, t - reach, t + reach
        )
        return factor * float(noncentral)

    low, high = bound((1 + level) / 2), bound((1 - level) / 2)
    return Interval(mean=g, low=low, high=high, n=n, method="t")


def adjust(p_values: Sequence[float], method: Literal["holm", "bh"]) -> list[float]:
    """Adjusted p of a family, in the order given. Undefined (NaN) tests are not in the family."""
    p = np.asarray(p_values, dtype=float)
    adjusted = np.full(p.shape, NAN)
    known = np.flatnonzero(np.isfinite(p))
    if known.size == 0:
        return [NAN] * p.size
    if method == "bh":
        adjusted[known] = scipy_stats.false_discovery_control(p[known])
    else:  # statsmodels takes 50 ms per family for these three lines
        order = known[np.argsort(p[known], kind="stable")]
        scaled = p[order] * np.arange(order.size, 0, -1)
        adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return [float(value) for value in adjusted]


def detectable_effect(pairs: int, *, power: float = 0.8, alpha: float = 0.05) -> float:
    """Smallest mean difference that a paired t test finds with this power, in its own SDs.

    NaN for fewer than two pairs. Three pairs need 3.26 SD, five 1.68, ten 1.00.
    """
    if pairs < 2:
        return NAN
    from statsmodels.stats.power import TTestPower

    return float(TTestPower().solve_power(nobs=pairs, alpha=alpha, power=power))


# --------------------------------------------------------------------------------- clips and cells


def clip_bootstrap(
    treated: Sequence[np.ndarray],
    reference: Sequence[np.ndarray],
    *,
    level: float = 0.95,
    resamples: int = 2_000,
    seed: int = 0,
) -> Interval:
    """Difference of an outcome with the uncertainty of the choice of test clips.

    The cluster is the clip: a resample draws clips, and all conditions of a clip move together.
    The difference is taken within each seed and then averaged over seeds; the same clips are
    drawn for every seed, because every seed was tested on them.

    Args:
        treated: One bool array (seeds, conditions, clips) per clip set.
        reference: The same of the other cell, clips in the same order.
        level: Of the percentile interval.
        resamples: Number of resamples.
        seed: Of the resampling.

    Returns:
        Interval in percentage points; ``n`` counts clips. The outcome is the mean over all
        conditions of all clip sets.
    """
    conditions = sum(array.shape[1] for array in treated)
    rng = np.random.default_rng(seed)
    total = np.zeros(resamples)
    mean, clips = 0.0, 0
    for left, right in zip(treated, reference, strict=True):
        gain = left.astype(float) - right.astype(float)
        per_clip = 100 * gain.mean(axis=0).sum(axis=0) / conditions
        n = per_clip.size
        weights = rng.multinomial(n, np.full(n, 1 / n), size=resamples) / n
        total += weights @ per_clip
        mean += float(per_clip.mean())
        clips += n
    if conditions == 0 or clips == 0:
        return Interval(mean=NAN, low=NAN, high=NAN, n=0, method="none")
    low, high = np.quantile(total, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean=mean, low=float(low), high=float(high), n=clips, method="bootstrap")


@dataclass(frozen=True, slots=True, kw_only=True)
class RankStability:
    """Kendall's tau between the rankings of the cells in every pair of seeds.

    ``cells`` counts those that ran with two seeds or more.
    """

    tau: float
    lowest: float
    highest: float
    pairs: int
    cells: int


def rank_stability(values: Mapping[str, Mapping[int, float]]) -> RankStability:
    """How alike the seeds rank the cells: mean Kendall's tau-b over the pairs of seeds.

    Args:
        values: Cell -> seed -> outcome. A pair of seeds uses the cells that have both.
    """
    seeds = sorted({seed for row in values.values() for seed in row})
    taus = []
    for one, two in itertools.combinations(seeds, 2):
        rows = [
            (row[one], row[two])
            for row in values.values()
            if math.isfinite(row.get(one, NAN)) and math.isfinite(row.get(two, NAN))
        ]
        if len(rows) >= 3:
            left, right = zip(*rows, strict=True)
            if len(set(left)) > 1 and len(set(right)) > 1:
                taus.append(float(scipy_stats.kendalltau(left, right).statistic))
    return RankStability(
        tau=float(np.mean(taus)) if taus else NAN,
        lowest=min(taus, default=NAN),
        highest=max(taus, default=NAN),
        pairs=len(taus),
        cells=sum(len(row) > 1 for row in values.values()),
    )


# ------------------------------------------------------------------------------------ association


@dataclass(frozen=True, slots=True, kw_only=True)
class Association:
    """A rank correlation over configurations.

    Attributes:
        rho: Spearman's rho, -1..1.
        low: Lower bound of the percentile bootstrap over configurations.
        high: Upper bound.
        p: Two-sided; by permutation, for a partial correlation by t.
        n: Number of configurations.
        given: Names or number of the covariates that are held constant.
    """

    rho: float
    low: float
    high: float
    p: float
    n: int
    given: int = 0


def spearman(
    x: Iterable[float],
    y: Iterable[float],
    *,
    level: float = 0.95,
    resamples: int = 2_000,
    seed: int = 0,
) -> Association:
    """Spearman's rho with a permutation p and a bootstrap interval over configurations."""
    return partial_spearman(x, y, (), level=level, resamples=resamples, seed=seed)


def partial_spearman(
    x: Iterable[float],
    y: Iterable[float],
    covariates: Sequence[Iterable[float]],
    *,
    level: float = 0.95,
    resamples: int = 2_000,
    seed: int = 0,
) -> Association:
    """Spearman's rho of x and y with covariates held constant.

    Ranks of x and y are regressed on the ranks of the covariates; the residuals are correlated.
    p comes from t with n - 2 - (number of covariates) degrees of freedom. Robustness and clean
    accuracy are confounded: this is the number to read, the plain rho beside it.
    """
    columns = [np.asarray(list(c), dtype=float) for c in (x, y, *covariates)]
    if len({c.size for c in columns}) != 1:
        raise ValueError(f"columns of equal length are needed, given {[c.size for c in columns]}")
    table = np.stack(columns)
    table = table[:, np.isfinite(table).all(axis=0)]
    n, k = table.shape[1], len(covariates)
    freedom = n - 2 - k
    rho = float(_partial_rho(table)) if freedom >= 1 else NAN
    if not math.isfinite(rho):
        return Association(rho=NAN, low=NAN, high=NAN, p=NAN, n=n, given=k)
    drawn = np.random.default_rng(seed).integers(0, n, (resamples, n))
    found = _partial_rho(table[:, drawn])
    found = found[np.isfinite(found)]
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2]) if found.size else (NAN, NAN)
    p = _t_of_correlation(rho, freedom) if k else _permutation_p(table[0], table[1], seed)
    return Association(rho=rho, low=float(low), high=float(high), p=p, n=n, given=k)


def _partial_rho(table: np.ndarray) -> np.ndarray:
    """Correlation of the rank residuals of rows 0 and 1 given the other rows.

    Args:
        table: (rows, n), or (rows, resamples, n).

    Returns:
        A number, or one per resample; NaN where a row is constant or explained by the others.
    """
    ranks = scipy_stats.rankdata(table, axis=-1)
    ranks -= ranks.mean(axis=-1, keepdims=True)
    x, y = ranks[0], ranks[1]
    if len(ranks) > 2:
        # an orthonormal basis of the covariates; directions without length are none
        basis, size, _ = np.linalg.svd(np.moveaxis(ranks[2:], 0, -1), full_matrices=False)
        basis = basis * (size > 1e-9 * ranks.shape[-1])[..., None, :]
        x = x - (basis @ (np.swapaxes(basis, -1, -2) @ x[..., None]))[..., 0]
        y = y - (basis @ (np.swapaxes(basis, -1, -2) @ y[..., None]))[..., 0]
    scale = np.sqrt((x * x).sum(axis=-1) * (y * y).sum(axis=-1))
    # residuals of an exactly explained column are rounding noise, not signal
    known = scale > 1e-9
    rho = (x * y).sum(axis=-1) / np.where(known, scale, 1.0)
    return np.where(known, np.clip(rho, -1, 1), NAN)


def _permutation_p(x: np.ndarray, y: np.ndarray, seed: int) -> float:
    ranks_x, ranks_y = scipy_stats.rankdata(x), scipy_stats.rankdata(y)
    centred = ranks_x - ranks_x.mean()
    n = x.size
    observed = abs(float(centred @ ranks_y)) - 1e-9
    if math.factorial(min(n, 12)) <= ENUMERATE_UP_TO:
        orders = np.array(list(itertools.permutations(ranks_y)))
        return float(np.mean(np.abs(orders @ centred) >= observed))
    rng = np.random.default_rng(seed)
    orders = rng.permuted(np.tile(ranks_y, (ENUMERATE_UP_TO, 1)), axis=1)
    return float((1 + np.sum(np.abs(orders @ centred) >= observed)) / (1 + ENUMERATE_UP_TO))


def _t_of_correlation(rho: float, freedom: int) -> float:
    if abs(rho) >= 1:
        return 0.0
    return float(2 * scipy_stats.t.sf(abs(rho) * math.sqrt(freedom / (1 - rho * rho)), freedom))


def configurations_needed(rho: float, given: int = 0, *, power: float = 0.8) -> float:
    """Number of configurations that find a rank correlation of this size; infinite for 0.

    Two-sided 5 %, by Fisher's z with the variance 1.06 / (n - 3 - given) of Spearman's rho
    (Fieller, Hartley and Pearson 1957).

    Args:
        rho: True rank correlation.
        given: Covariates held constant.
        power: Share of the repetitions in which it is found.
    """
    z = abs(math.atanh(np.clip(rho, -1 + 1e-12, 1 - 1e-12)))
    if not z > 0:
        return NAN if math.isnan(rho) else math.inf
    return float(1.06 * (_correlation_reach(power) / z) ** 2 + 3 + given)


def detectable_correlation(n: int, given: int = 0, *, power: float = 0.8) -> float:
    """Smallest rank correlation that ``n`` configurations find; see `configurations_needed`."""
    freedom = n - 3 - given
    if freedom < 1:
        return NAN
    return math.tanh(_correlation_reach(power) * math.sqrt(1.06 / freedom))


def _correlation_reach(power: float) -> float:
    return float(scipy_stats.norm.ppf(0.975) + scipy_stats.norm.ppf(power))


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


# ----------------------------------------------------------------------------------- dose-response


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

    reach = float(x.max() - x.min())
    bounds = (math.log(reach / 10), math.log(reach * 3))
    grid = np.linspace(*bounds, 25)
    start = int(np.argmin([solve(value)[1] for value in grid]))
    near = (float(grid[max(start - 1, 0)]), float(grid[min(start + 1, 24)]))
    best = optimize.minimize_scalar(lambda v: solve(v)[1], bounds=near, method="bounded").x
    parameters, rss = solve(float(best))
    return "saturating", (float(parameters[0]), float(parameters[1]), math.exp(float(best))), rss


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
        method: `mixed model` (random intercept per group) or `OLS, cluster-robust`.
    """

    mean: float
    low: float
    high: float
    p: float
    n: int
    method: str


def mixed_slope(
    response: Sequence[float],
    predictor: Sequence[float],
    groups: Sequence[Any],
    covariates: Mapping[str, Sequence[float]],
) -> Slope:
    """Slope of a predictor given covariates, with a random intercept per group (seed).

    Falls back to least squares with standard errors clustered by group, t with (groups - 1)
    degrees of freedom, where the mixed model does not converge or its variance is 0; ``method``
    says which was used.

    Raises:
        ValueError: with fewer rows than the model needs, or a predictor that does not vary.
    """
    import warnings

    import statsmodels.api as sm

    table = np.column_stack([response, predictor, *covariates.values()]).astype(float)
    kept = np.isfinite(table).all(axis=1)
    table = table[kept]
    labels = np.asarray([str(group) for group in groups])[kept]
    names = np.unique(labels)
    design = np.column_stack([np.ones(len(table)), table[:, 1:]])
    if len(table) < design.shape[1] + 2 or np.linalg.matrix_rank(design) < design.shape[1]:
        raise ValueError(f"{len(table)} rows do not determine {design.shape[1]} coefficients")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # convergence is judged below, from the result
        if names.size > 1:
            try:
                fitted = sm.MixedLM(table[:, 0], design, groups=labels).fit(reml=True)
                variance = float(fitted.cov_re[0, 0])
                error = float(fitted.bse_fe[1])
                if fitted.converged and variance > 1e-6 * fitted.scale and math.isfinite(error):
                    mean = float(fitted.fe_params[1])
                    z = scipy_stats.norm.ppf(0.975)
                    p = float(2 * scipy_stats.norm.sf(abs(mean) / error))
                    return Slope(
                        mean=mean,
                        low=mean - z * error,
                        high=mean + z * error,
                        p=p,
                        n=len(table),
                        method="mixed model",
                    )
            except (np.linalg.LinAlgError, ValueError):
                pass  # a singular fit: the fallback below answers
        fitted = sm.OLS(table[:, 0], design).fit()
        freedom = len(table) - design.shape[1]
        method = "OLS"
        if names.size > 2:
            codes = np.searchsorted(names, labels)
            fitted = fitted.get_robustcov_results("cluster", groups=codes)
            freedom, method = names.size - 1, "OLS, cluster-robust"
    mean, error = float(fitted.params[1]), float(fitted.bse[1])
    half = _t_quantile(0.95, freedom) * error
    p = float(2 * scipy_stats.t.sf(abs(mean) / error, freedom)) if error > 0 else NAN
    return Slope(mean=mean, low=mean - half, high=mean + half, p=p, n=len(table), method=method)


# ------------------------------------------------------------------------------------- attribution

Values = Mapping[frozenset[str], float]


def shapley(values: Values, players: Sequence[str]) -> dict[str, float]:
    """Exact Shapley values of a full factorial: their sum is v(all) - v(none).

    Args:
        values: Loss set -> outcome, all 2**K sets.
        players: The K losses.

    Raises:
        ValueError: if a set is missing.
    """
    names = list(players)
    sets = [
        frozenset(subset)
        for size in range(len(names) + 1)
        for subset in itertools.combinations(names, size)
    ]
    absent = [subset for subset in sets if not math.isfinite(values.get(subset, NAN))]
    if absent:
        shown = ", ".join("+".join(sorted(subset)) or "none" for subset in absent[:3])
        raise ValueError(f"the factorial lacks {len(absent)} of {len(sets)} sets: {shown}")
    total = len(names)
    share = {
        size: math.factorial(size) * math.factorial(total - size - 1) / math.factorial(total)
        for size in range(total)
    }
    return {
        name: sum(
            share[len(subset)] * (values[subset | {name}] - values[subset])
            for subset in sets
            if name not in subset
        )
        for name in names
    }


def kernel_shap(values: Values, players: Sequence[str]) -> dict[str, float]:
    """Shapley values by weighted least squares from whatever sets exist (KernelSHAP).

    A set of size s has the weight (K-1) / (C(K,s) s (K-s)); the sum is held at v(all) - v(none).
    Equal to ``shapley`` on a full factorial.

    Raises:
        ValueError: if the empty or the full set is missing or the sets do not determine all
            values.
    """
    names = list(players)
    total = len(names)
    known = {subset: value for subset, value in values.items() if math.isfinite(value)}
    empty, full = frozenset[str](), frozenset(names)
    if empty not in known or full not in known:
        raise ValueError("KernelSHAP needs the empty and the full set")
    gain = known[full] - known[empty]
    if total == 1:
        return {names[0]: gain}
    inner = [s for s in known if s < full and s]
    member = np.array([[float(n in s) for n in names] for s in inner]).reshape(len(inner), total)
    sizes = member.sum(axis=1)
    weight = np.array([(total - 1) / (math.comb(total, int(s)) * s * (total - s)) for s in sizes])
    # the sum is fixed: substitute the last value, then solve for the others
    design = member[:, :-1] - member[:, -1:]
    target = np.array([known[s] - known[empty] for s in inner]) - member[:, -1] * gain
    if np.linalg.matrix_rank(design) < total - 1:
        raise ValueError(f"{len(inner)} loss sets do not determine {total} Shapley values")
    root = np.sqrt(weight)
    first = np.linalg.lstsq(design * root[:, None], target * root, rcond=None)[0]
    found = [*first, gain - first.sum()]
    return {name: float(value) for name, value in zip(names, found, strict=True)}


def per_seed(
    values: Mapping[frozenset[str], Mapping[int, float]],
    players: Sequence[str],
    method: Callable[[Values, Sequence[str]], dict[str, float]],
) -> dict[str, Interval]:
    """Shapley values with an interval over seeds: attribution in each seed, then their mean."""
    found = shares_by_seed(values, players, method)
    return {name: mean_interval(row.values()) for name, row in found.items()}


def shares_by_seed(
    values: Mapping[frozenset[str], Mapping[int, float]],
    players: Sequence[str],
    method: Callable[[Values, Sequence[str]], dict[str, float]],
) -> dict[str, dict[int, float]]:
    """Player -> seed -> Shapley value; seeds whose cells do not suffice are left out."""
    seeds = sorted({seed for row in values.values() for seed in row})
    found: dict[str, dict[int, float]] = {name: {} for name in players}
    for seed in seeds:
        try:
            shares = method({s: row.get(seed, NAN) for s, row in values.items()}, players)
        except ValueError:
            continue
        for name, value in shares.items():
            found[name][seed] = value
    return found


# --------------------------------------------------------------------------------------- internals


def _finite(values: Iterable[float]) -> np.ndarray:
    x = np.asarray(list(values) if not isinstance(values, np.ndarray) else values, dtype=float)
    return x[np.isfinite(x)]


def _spread(x: np.ndarray) -> float:
    """Sample standard deviation; rounding noise of equal values counts as 0."""
    sd = float(x.std(ddof=1))
    return sd if sd > 1e-12 * max(1.0, float(np.abs(x).max())) else 0.0


def _t_quantile(level: float, freedom: int) -> float:
    return float(scipy_stats.t.ppf((1 + level) / 2, freedom))


def _hedges_factor(freedom: int) -> float:
    """J = Gamma(df/2) / (sqrt(df/2) Gamma((df-1)/2))."""
    log_ratio = special.gammaln(freedom / 2) - special.gammaln((freedom - 1) / 2)
    return math.exp(log_ratio) / math.sqrt(freedom / 2)

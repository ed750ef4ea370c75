"""Whether an outcome depends on the number of losses, and along which curve: one point per set.

The loss set is the unit: its seeds are averaged before, since they share whatever the set does. A
criterion such as AICc is no test: with 26 sets of pure noise it prefers a curve in a quarter of all
studies, and with six it never can. So a permutation test comes first, and only then a name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweep.statistics.intervals import NAN
from sweep.statistics.power import FEWEST_SETS
from sweep.statistics.regression import DoseResponse, Fit, dose_response, scales

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveTest:
    """A permutation test of every curve at once against no dependence.

    Attributes:
        name: `linear`, `quadratic` or `saturating` where p is below the level, by AICc among those
            tested; else `constant`; `untested` with too few sets or doses.
        p: Of the largest F statistic among permutations of the outcomes; NaN if untested.
        statistic: That F.
        tested: Names of the curves that the sets support.
        n: Number of sets.
        fits: All curves by AICc, as description; None with too few points for any.
    """

    name: str
    p: float
    statistic: float
    tested: tuple[str, ...]
    n: int
    fits: DoseResponse | None

    @property
    def fit(self) -> Fit | None:
        """The curve that is named; the constant where nothing depends; None if untested."""
        rows = self.fits.fits if self.fits else ()
        return next((fit for fit in rows if fit.name == self.name), None)


def curve_test(
    dose: Iterable[float],
    outcome: Iterable[float],
    *,
    alpha: float = 0.05,
    resamples: int = 1_999,
    seed: int = 0,
) -> CurveTest:
    """Test linear, quadratic and saturating dependence on a dose against a constant.

    The statistic is the largest F against the constant. Curves with as many parameters as there
    are doses, or more, are not fitted: they would run through every mean.

    Args:
        dose: Number of losses of every set.
        outcome: Its mean over seeds; sets without are left out.
        alpha: Below which p a curve is named.
        resamples: Number of permutations.
        seed: Of the permutations.
    """
    x, y = (np.asarray(list(values), dtype=float) for values in (dose, outcome))
    if x.size != y.size:
        raise ValueError(f"one outcome per dose is needed, given {x.size} doses, {y.size} outcomes")
    kept = np.isfinite(x) & np.isfinite(y)
    x, y = x[kept], y[kept]
    doses = np.unique(x).size
    fits = dose_response(x, y) if x.size >= 3 and doses >= 2 else None
    tested = ["linear"] if doses > 2 else []
    if doses > 3:
        tested += ["quadratic", "saturating"]
    if x.size < FEWEST_SETS or not tested or np.ptp(y) == 0:
        return CurveTest(name="untested", p=NAN, statistic=NAN, tested=(), n=x.size, fits=fits)
    rng = np.random.default_rng(seed)
    drawn = np.vstack([y, rng.permuted(np.tile(y, (resamples, 1)), axis=1)])
    found = _largest_f(x, drawn, three=doses > 3)
    p = float(np.mean(found >= found[0] * (1 - 1e-9)))
    name = "constant"
    if p < alpha and fits is not None:
        name = next(fit.name for fit in fits.fits if fit.name in tested)
    return CurveTest(
        name=name, p=p, statistic=float(found[0]), tested=tuple(tested), n=x.size, fits=fits
    )


def logit_gap(
    stressed_correct: float, stressed: float, clean_correct: float, clean: float
) -> float:
    """Robustness beyond ability: log odds under stress minus log odds on clean clips.

    A model that is merely better gains in both alike. Clean accuracy as a covariate does not take
    ability out: it is measured with error, and leaves 31 to 83 % false slopes behind. 0.5 is added
    to the counts of right and of wrong answers (Haldane 1956, Anscombe 1956), so that all right and
    all wrong stay finite.

    Args:
        stressed_correct: Right answers under stress, summed over conditions.
        stressed: Answers under stress.
        clean_correct: Right answers on clean clips.
        clean: Answers on clean clips.

    Raises:
        ValueError: for more right answers than answers.
    """
    gap = 0.0
    for sign, right, total in ((1, stressed_correct, stressed), (-1, clean_correct, clean)):
        if not 0 <= right <= total:
            raise ValueError(f"right answers: 0 to {total} (all), given {right}")
        gap += sign * math.log((right + 0.5) / (total - right + 0.5))
    return gap


def _largest_f(x: np.ndarray, outcomes: np.ndarray, *, three: bool) -> np.ndarray:
    """Largest F of the curves against the constant, one per row of outcomes (rows, n)."""
    y = outcomes - outcomes.mean(axis=1, keepdims=True)
    total = (y**2).sum(axis=1)
    n = x.size
    line = _unit(x)
    explained = (y @ line) ** 2
    best = explained / np.maximum(total - explained, 1e-12) * (n - 2)
    if three:
        bend = _unit((x - x.mean()) ** 2, line)
        squared = explained + (y @ bend) ** 2
        # for a given scale the saturating curve is linear, so a grid of scales does for all rows
        rising = np.stack([_unit(-np.expm1(-x / scale)) for scale in scales(x)])
        saturated = ((y @ rising.T) ** 2).max(axis=1)
        for gain in (squared, saturated):
            best = np.maximum(best, gain / np.maximum(total - gain, 1e-12) * (n - 3) / 2)
    return best


def _unit(column: np.ndarray, beside: np.ndarray | None = None) -> np.ndarray:
    """Centred and of length 1, orthogonal to another such column."""
    column = column - column.mean()
    if beside is not None:
        column = column - (column @ beside) * beside
    return column / np.linalg.norm(column)

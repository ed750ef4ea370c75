"""Effective robustness: unbiased line, intervals that cover."""

import math

import numpy as np
import pytest

from sweep.statistics.effective import effective_robustness
from tests.statistics.simulate import bound


def pool(rng, models, seeds, *, error=0.2, own=0.1):
    """Log odds of a pool on a line of slope .8, and what each model has beyond it."""
    ability = 1 + 0.3 * rng.normal(size=(models, 1))
    beyond = own * rng.normal(size=(models, 1))
    common, seed = error * rng.normal(size=(models, seeds)), 0.1 * rng.normal(size=(1, seeds))
    clean = ability + common + seed
    noise = 0.1 * rng.normal(size=(models, seeds))
    return clean, 0.2 + 0.8 * ability + beyond + 0.4 * common + seed + noise, beyond[:, 0]


@pytest.mark.parametrize(("models", "seeds"), [(12, 3), (12, 8), (24, 2)])
def test_slope_and_coverage(models, seeds):
    rng = np.random.default_rng(models + seeds)
    hits, slopes, flat = [], [], []
    for _ in range(120):
        clean, shifted, beyond = pool(rng, models, seeds)
        found = effective_robustness(clean, shifted)
        slopes.append(found.slope)
        flat.append(np.polyfit(clean.mean(axis=1), shifted.mean(axis=1), 1)[0])
        hits += [i.low <= b <= i.high for i, b in zip(found.residuals, beyond, strict=True)]
    assert 0.93 <= np.mean(hits) <= 0.975
    error = np.std(slopes) / math.sqrt(len(slopes))
    assert np.median(slopes) == pytest.approx(0.8, abs=4 * error)
    assert seeds == 8 or np.mean(flat) < 0.78  # least squares: too flat


def test_models_on_the_line_are_rarely_called_robust():
    rng = np.random.default_rng(1)
    p = [v for _ in range(60) for v in effective_robustness(*pool(rng, 12, 3, own=0.0)[:2]).p]
    assert np.mean(np.array(p) < 0.05) <= 0.05 + bound(0.05, 120)  # models of a pool hang together


def test_what_cannot_be_told():
    rng = np.random.default_rng(2)
    few = effective_robustness(*pool(rng, 4, 3)[:2])
    assert few.descriptive
    assert all(math.isnan(i.low) for i in few.residuals)
    same = effective_robustness(rng.normal(size=(12, 3)), rng.normal(size=(12, 3)))
    assert "error" in same.descriptive
    with pytest.raises(ValueError, match="one shape"):
        effective_robustness(np.zeros((3, 2)), np.zeros((2, 3)))

"""Looking again and again: no more false claims than with one look."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from sweep.statistics.sequential import price
from tests.statistics.simulate import bound, noise

MOST = 12


def test_the_parts_of_the_error_add_up_to_it():
    assert [price(k, 4) for k in (1, 2, 3, 4)] == [4] * 4
    assert math.fsum(1 / price(k) for k in range(1, 10_000)) == pytest.approx(1, abs=2e-4)
    assert all(price(a) < price(b) for a, b in itertools.pairwise(range(1, 9)))
    for look, planned in ((0, 0), (5, 4), (0, 4)):
        with pytest.raises(ValueError, match=f"given {look}"):
            price(look, planned)


@pytest.mark.parametrize("kind", ["normal", "heavy", "discrete"])
@pytest.mark.parametrize("at", [range(3, MOST + 1), (3, 5, 8, 12), (4, 6, 8, 10, 12)])
def test_false_claims_at_any_of_the_looks(kind, at):
    rng, runs = np.random.default_rng(3), 600
    wrong = {"once": 0, "declared": 0, "undeclared": 0}
    for _ in range(runs):
        x = noise(rng, kind, MOST) - noise(rng, kind, MOST)
        if kind == "discrete":
            x = np.round(3 * x) / 2.4
        p = [scipy_stats.ttest_1samp(x[:n], 0).pvalue if np.ptp(x[:n]) else 1.0 for n in at]
        wrong["once"] += min(p) < 0.05
        wrong["declared"] += any(price(k, len(p)) * v < 0.05 for k, v in enumerate(p, 1))
        wrong["undeclared"] += any(price(k) * v < 0.05 for k, v in enumerate(p, 1))
    assert wrong["once"] / runs > 0.08  # what `--extend` until it is resolved amounts to
    assert wrong["declared"] / runs <= 0.05 + bound(0.05, runs)
    assert wrong["undeclared"] / runs <= 0.05 + bound(0.05, runs)

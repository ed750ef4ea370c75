"""Print the rates that the rules give, beside those of the rules before them.

    python -m tests.statistics.rates [REPORTS]

Minutes; the tests beside assert a part of it.
"""

from __future__ import annotations

import math
import sys

import numpy as np
from scipy import stats as scipy_stats

from sweep.statistics.contrasts import adjust, paired_contrast
from sweep.statistics.detectable import detectable, pooled_spread, power
from sweep.statistics.sequential import price
from tests.statistics.simulate import DESIGNS, report


def any_share(rows, grade):
    return 100 * np.mean([any(c.grade == grade for c in claims) for _, claims in rows])


def claims(count):
    print(f"\nclaims: % of {count} reports; raw = some interval excludes 0 (the rule before)")
    print("design         data      n   raw  Holm per outcome  holds  suggestive only")
    for design in DESIGNS:
        for kind in ("normal", "skewed", "heavy", "discrete"):
            for n in (3, 5, 8):
                rng = np.random.default_rng(n)
                line(design, kind, n, [report(rng, design, n, kind=kind) for _ in range(count)])
    for n in (3, 5, 8):
        rng = np.random.default_rng(n)
        failing = {("abcd", ""): 0.15}
        line("loo", "15 % fail", n, [report(rng, "loo", n, failing=failing) for _ in range(count)])


def line(design, kind, n, rows):
    raw = 100 * np.mean([any(c.resolved for c in contrasts) for contrasts, _ in rows])
    outcome = 0
    for contrasts, _ in rows:
        each = len(contrasts) // 4
        families = [contrasts[i : i + each] for i in range(0, len(contrasts), each)]
        adjusted = [min(adjust([c.t_p for c in family], "holm")) for family in families]
        outcome += min(adjusted) < 0.05
    holds = any_share(rows, "holds")
    only = any_share(rows, "suggestive")
    print(
        f"{design:14} {kind:9} {n}  {raw:5.1f}  {100 * outcome / len(rows):10.1f}"
        f"        {holds:5.1f}  {only:5.1f}",
        flush=True,
    )


def planted(count):
    print("\npower of one planted effect at its printed detectable size, Holm over 5 (wanted: 80)")
    for n in (3, 5, 8):
        rng = np.random.default_rng(n)
        now, before = [], []
        for _ in range(count):
            cells = rng.normal(0, 2, (6, n))
            contrasts = [
                paired_contrast(dict(enumerate(cells[0])), dict(enumerate(row)))
                for row in cells[1:]
            ]
            true = 2 * math.sqrt(2)
            upper = pooled_spread(contrasts).upper
            now.append(power(n, detectable(n, upper, family=5), true, family=5))
            median = float(np.median([c.sd for c in contrasts]))
            before.append(power(n, detectable(n, median), true))
        print(
            f"n {n}: before {100 * np.mean(before):.0f} (no family), now {100 * np.mean(now):.0f}"
        )


def peeking(count):
    print(
        "\nfalse claims of 3 to 12 seeds in %: at each look alone, undeclared, five declared looks"
    )
    rng = np.random.default_rng(0)
    t_test = undeclared = declared = 0
    for _ in range(count):
        x = rng.normal(size=12)
        p = {n: scipy_stats.ttest_1samp(x[:n], 0).pvalue for n in range(3, 13)}
        t_test += min(p.values()) < 0.05
        undeclared += any(price(k) * one < 0.05 for k, one in enumerate(p.values(), 1))
        declared += any(price(1, 5) * p[n] < 0.05 for n in (4, 6, 8, 10, 12))
    print([round(100 * v / count, 1) for v in (t_test, undeclared, declared)])


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    claims(number)
    planted(number)
    peeking(4 * number)

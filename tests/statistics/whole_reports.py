"""Print how often whole reports claim something under no effect, and find one that is planted.

python -m tests.statistics.whole_reports [REPORTS]
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np

from sweep.statistics.detectable import detectable, power
from tests.statistics.reports import Reports, claims, found

CASES = (
    *(("quickstart", [f"seeds={n}"], kind) for n in (3, 5, 8) for kind in ("normal", "heavy")),
    ("quickstart", ["seeds=5"], "skewed"),
    ("quickstart", ["seeds=5"], "discrete"),
    ("quickstart", ["seeds=5", "primary_outcome=null"], "normal"),
    ("quickstart", ["seeds=5", "design.kind=loo+aoi"], "normal"),
    ("loss-count", [], "normal"),
    ("loss-count", [], "heavy"),
    ("loss-diversity", [], "normal"),
    ("loss-diversity", [], "heavy"),
)


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Of so many reports: with a claim, with something suggestive, with an interval without 0."""

    reports: int
    holds: int
    suggestive: int
    raw: int

    def __str__(self) -> str:
        parts = [f"{100 * n / self.reports:5.1f}" for n in (self.raw, self.holds, self.suggestive)]
        return "  ".join(parts)


def null(study, reports, *, overrides=(), kind="normal", failing=(), seed=0):
    """Reports of a study in which no loss does anything."""
    made, rng = Reports(study, overrides), np.random.default_rng(seed)
    held = suggested = raw = 0
    for _ in range(reports):
        findings = found(made.evidence(rng, kind=kind, failing=failing))
        held += bool(claims(findings))
        suggested += any(c.grade == "suggestive" for c in findings.claims.values())
        raw += any(e.contrast.resolved for e in findings.effects if e.claim is not None)
    return Rates(reports=reports, holds=held, suggestive=suggested, raw=raw)


def planted(study, reports, *, seeds, seed=0):
    """How often one planted effect of the detectable size holds, and the power that is printed.

    The size is the detectable one by the spread of many reports, so that the power printed is that
    of the true spread: 80 %.
    """
    made, rng = Reports(study, [f"seeds={seeds}"]), np.random.default_rng(seed)
    outcome = made.study.primary_outcome
    loss = sorted(made.study.losses)[0]
    first = [found(made.evidence(rng)) for _ in range(100)]
    spreads = [r.sd for f in first for r in f.resolutions if r.outcome == outcome]
    sd = float(np.sqrt(np.mean(np.square(spreads))))
    family = len(made.study.losses) + 1
    effect = detectable(seeds, sd, family=family)

    def gain(losses, on):
        return effect if loss in losses and on == outcome else 0.0

    hits = sum(
        (loss, outcome) in claims(found(made.evidence(rng, planted=gain))) for _ in range(reports)
    )
    return hits / reports, power(seeds, effect, sd, family=family)


def main(reports: int) -> None:
    """The table."""
    print(
        f"% of {reports} null reports: with an interval that excludes 0, with a claim, suggestive"
    )
    for study, overrides, kind in CASES:
        rates = null(study, reports, overrides=overrides, kind=kind)
        print(f"{study:15} {' '.join(overrides) or 'as declared':32} {kind:9} {rates}", flush=True)
    failing = null("quickstart", reports, overrides=["seeds=5"], failing=("all",))
    print(f"{'quickstart':15} {'seeds=5, 15 % of `all` fail':32} {'normal':9} {failing}")
    for seeds in (3, 5, 8):
        rate, printed = planted("quickstart", reports, seeds=seeds)
        print(f"quickstart, {seeds} seeds: found {100 * rate:.1f} %, printed {100 * printed:.1f} %")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)

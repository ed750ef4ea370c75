"""Comparisons of each design, against the same differences computed by hand."""

import numpy as np
import pytest

from sweep.report.analysis import outcome_effects
from sweep.report.comparisons import comparisons
from sweep.report.evidence import collect

LOSSES = ("consistency", "infonce", "pixel")


@pytest.fixture(scope="module")
def sweep_of(new_sweep):
    """A whole sweep of a design: its evidence, and its clean effects by name of the comparison."""

    def make(design, **options):
        whole = {"untrained": (), "failed": (), "missing": (), "outcomes": False}
        small = {"few": True, "clips": 200, "steps": 50, "losses": LOSSES}
        folder = new_sweep(**(whole | small | {"design": design} | options))
        evidence = collect(folder)
        effects = outcome_effects(evidence, comparisons(evidence))
        return evidence, {e.comparison.name: e for e in effects if e.outcome == "clean"}

    return make


def clean(evidence, *losses):
    """Mean accuracy of a loss set."""
    cell = next(c for c in evidence.cells if c.losses == tuple(sorted(losses)))
    return np.mean([*cell.values(["clean"]).values()])


def test_one_in_and_one_out_show_what_company_does_to_a_loss(sweep_of):
    evidence, effects = sweep_of("loo+aoi")
    assert {e.comparison.kind for e in effects.values()} == {"loss", "company", "set"}
    for loss in LOSSES:
        others = [n for n in LOSSES if n != loss]
        alone = clean(evidence, loss) - clean(evidence)
        inside = clean(evidence, *LOSSES) - clean(evidence, *others)
        assert effects[f"{loss} alone"].contrast.mean == pytest.approx(alone)
        assert effects[loss].contrast.mean == pytest.approx(inside)
        company = effects[f"{loss}: alone - in the set"]
        assert company.contrast.mean == pytest.approx(alone - inside)


def test_interactions_are_corrected_among_themselves(sweep_of):
    _, effects = sweep_of("loo+aoi")
    for kinds in ({"company"}, {"loss", "set"}):
        mine = [e for e in effects.values() if e.comparison.kind in kinds]
        family = [e for e in mine if np.isfinite(e.contrast.t_p)]  # no p without any spread
        best = min(family, key=lambda e: e.contrast.t_p)
        assert best.adjusted_p == pytest.approx(min(1, len(family) * best.contrast.t_p))

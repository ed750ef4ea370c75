"""Comparisons of each design, against the same differences computed by hand."""

import itertools
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest

from sweep.cells.designs.catalogue import DESIGNS
from sweep.report.analyses.shapley import (
    EXACT,
    KERNEL,
    SAMPLED,
    Attribution,
    find,
    sentences,
)
from sweep.report.comparisons import comparisons
from sweep.report.effects import graded, outcome_effects
from sweep.report.evidence import collect
from sweep.report.verdict import aliasing_sentences
from sweep.settings.design import DesignSettings
from sweep.statistics.intervals import mean_interval

LOSSES = ("consistency", "infonce", "pixel")
SEVEN = tuple("abcdefg")
FOUR = (*LOSSES, "frame_difference")


@pytest.fixture(scope="module")
def sweep_of(new_sweep):
    """A whole sweep of a design: its evidence, and its clean effects by name of the comparison."""

    @cache
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


def test_interactions_are_corrected_with_all_else(sweep_of):
    evidence, _ = sweep_of("loo+aoi")
    effects, claims = graded(evidence, outcome_effects(evidence, comparisons(evidence)))
    judged = [e for e in effects if e.outcome in evidence.headline]
    assert len(claims) == len(judged)
    assert {"company", "loss", "set"} == {e.comparison.kind for e in judged}
    family = [e for e in judged if np.isfinite(e.claim.p)]  # no p without any spread
    best = min(family, key=lambda e: e.claim.p)
    assert best.claim.p >= best.contrast.t_p
    assert best.adjusted_p == pytest.approx(min(1, len(family) * best.claim.p))


def test_pairs_show_what_two_losses_gain_beyond_their_sum(sweep_of):
    evidence, effects = sweep_of("pairs")
    assert {e.comparison.kind for e in effects.values()} == {"loss", "interaction", "set"}
    for one, two in itertools.combinations(LOSSES, 2):
        alone = clean(evidence, one) + clean(evidence, two) - 2 * clean(evidence)
        both = clean(evidence, one, two) - clean(evidence)
        found = effects[f"{one} × {two}"].contrast
        assert found.mean == pytest.approx(both - alone)


def test_factorial_interactions_are_averaged_over_the_other_losses(sweep_of):
    evidence, effects = sweep_of("factorial")
    for one, two in itertools.combinations(LOSSES, 2):
        (other,) = set(LOSSES) - {one, two}
        found = [
            clean(evidence, one, two, *rest) - clean(evidence, one, *rest)
            - clean(evidence, two, *rest) + clean(evidence, *rest)
            for rest in ((), (other,))
        ]  # fmt: skip
        assert effects[f"{one} × {two}"].contrast.mean == pytest.approx(np.mean(found))


@pytest.mark.parametrize("design", ["fractional", "plackett_burman"])
def test_main_effects_of_an_array_leave_foreign_anchors_out(sweep_of, design):
    evidence, effects = sweep_of(design, losses=FOUR)
    for loss in FOUR:
        effect = effects[loss]
        assert len(effect.comparison.treated) == len(effect.comparison.reference) == 4
        sides = [
            np.mean([clean(evidence, *cell.losses) for cell in cells])
            for cells in (effect.comparison.treated, effect.comparison.reference)
        ]
        assert effect.contrast.mean == pytest.approx(sides[0] - sides[1])
    # at resolution IV no interaction of two is told apart, so none is shown
    assert {e.comparison.kind for e in effects.values()} == {"loss", "set"}


def test_sampled_orders_give_one_sentence_per_loss(sweep_of):
    evidence, effects = sweep_of("shapley", losses=FOUR)
    assert {e.comparison.kind for e in effects.values()} == {"set"}
    found = find(evidence)
    assert {a.method for a in found} <= {SAMPLED, EXACT, KERNEL}
    sampled = [a for a in found if a.method == SAMPLED]
    assert [a.outcome for a in sampled] == evidence.headline
    for row in found:
        assert row.total == pytest.approx(row.gain, abs=1e-9)
        assert set(row.shares) == set(row.points) == set(FOUR)
    assert all(len(a.sampled.per_pair["pixel"]) == 8 for a in sampled)
    said = sentences(None, found)
    assert len(said) == len(FOUR)
    for loss in FOUR:
        assert sum(s.startswith(f"**{loss} ") for s in said) == 1
    # a verdict needs both intervals: over the drawn orders and over the seeds
    for row in sampled:
        for loss in FOUR:
            both = (row.sampled.over_orders[loss], row.shares[loss])
            assert row.resolved(loss) == (
                all(i.low > 0 for i in both) or all(i.high < 0 for i in both)
            )


def test_an_aliased_screening_design_says_so_in_the_answer():
    evidence = SimpleNamespace(row=DESIGNS["plackett_burman"], losses=SEVEN, design_settings=None)
    for fold_over, said in ((False, 1), (True, 0)):
        evidence.design_settings = DesignSettings(kind="plackett_burman", fold_over=fold_over)
        assert len(aliasing_sentences(evidence)) == said


def test_equal_values_in_all_seeds_resolve_nothing():
    points = {"a": (1.0, 1.0, 1.0), "b": (1.0, 1.1, 1.2)}
    shares = {name: mean_interval(row) for name, row in points.items()}
    row = Attribution(method=EXACT, shares=shares, points=points, total=2.1, gain=2.1)
    assert not row.resolved("a")
    assert row.resolved("b")

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
    claims,
    find,
    sentences,
    tables,
)
from sweep.report.comparisons import comparisons
from sweep.report.effects import graded, outcome_effects
from sweep.report.evidence import collect
from sweep.report.verdict import aliasing_sentences
from sweep.settings.design import DesignSettings
from sweep.statistics.shapley import shapley
from tests.report.in_memory import accuracies, evidence_of, found_in
from tests.statistics.simulate import bound

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
    judged = [e for e in judged if e.outcome == evidence.primary_outcome]
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


def test_sampled_orders_are_claimed_by_loss_and_outcome(sweep_of):
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
    rows = claims(found)
    assert [(c.comparison, c.outcome) for c in rows] == [
        (f"Shapley value of {loss}", a.outcome) for a in sampled for loss in sorted(FOUR)
    ]
    joint = [a.sampled.joint[loss].p for a in sampled for loss in sorted(FOUR)]
    assert [c.p for c in rows] == pytest.approx(joint)
    assert {c.pairs for c in rows} == {3}  # seeds, of which there are fewer than pairs of orders
    findings = found_in(evidence)
    said = sentences(findings, found)
    held = {key for key, c in findings.claims.items() if c.grade == "holds"}
    bold = [text.text for text in said if "**" in text.text]
    assert len(bold) == sum("Shapley" in name for name, _ in held) > 0
    for name, outcome in held:
        loss = name.removeprefix("Shapley value of ")
        if loss != name:
            assert sum(t.startswith(f"**{loss} ") and outcome in t for t in bold) == 1
    (left,) = [text.text for text in said if text.tone == "open"]
    assert left.startswith("Not resolved by Shapley value: ")
    written = tables(found)["shapley"]
    assert {"p", "seeds_low", "orders_low", "low"} <= set(written)


def test_runs_that_did_not_train_give_no_shapley_verdict(sweep_of):
    for lost in ((("all", 300), ("all", 301)), (("all", 300),)):
        evidence, _ = sweep_of("shapley", losses=tuple(sorted(FOUR)), untrained=lost)
        found = [a for a in find(evidence) if a.method == SAMPLED]
        for row in found:
            assert row.failed == len(lost)
            assert row.trained.gain != row.sampled.gain
            assert row.units == 3 - len(lost)
        findings = found_in(evidence)
        assert all(
            c.grade != "holds" for (name, _), c in findings.claims.items() if "Shapley" in name
        )


def test_an_aliased_screening_design_says_so_in_the_answer():
    evidence = SimpleNamespace(row=DESIGNS["plackett_burman"], losses=SEVEN, design_settings=None)
    for fold_over, said in ((False, 1), (True, 0)):
        evidence.design_settings = DesignSettings(kind="plackett_burman", fold_over=fold_over)
        assert len(aliasing_sentences(evidence)) == said


@cache
def games(design="shapley"):
    """Drawn orders and their cells for four losses."""
    settings = DesignSettings(kind=design, permutations=8)
    names = tuple("abcd")
    sets = {(), names, *DESIGNS[design].sets(names, settings).values()}
    return names, sorted(sets)


def p_values(draws, seed, *, kind="normal", seeds=3, worth=0.0, company=3.0):
    """p of every loss on clean accuracy. Sets have effects of their own (SD ``company`` points, so
    that orders differ), less what gives a loss any Shapley value, and `a` is ``worth`` points."""
    names, _ = games()
    every = [frozenset(s) for k in range(5) for s in itertools.combinations(names, k)]
    rows = {}
    for i in range(draws):
        rng = np.random.default_rng(1_000 * seed + i)
        own = dict(zip(every, company * rng.normal(size=len(every)), strict=True))
        share = shapley(own, names)
        values = {}
        for subset in games()[1]:
            gain = own[frozenset(subset)] - sum(share[n] for n in subset) + worth * ("a" in subset)
            values[subset, "static"] = accuracies(
                rng, gain - 10, kind=kind, seeds=seeds, set_sd=0.0
            )
        evidence = evidence_of(values, kind="shapley", losses=names, design={"permutations": 8})
        for claim in claims(find(evidence)):
            if claim.outcome == "clean":
                rows.setdefault(claim.comparison[-1], []).append(claim.p)
    return {key: np.array(row) for key, row in rows.items()}


@pytest.mark.parametrize("kind", ["normal", "heavy", "discrete"])
def test_shapley_nulls_are_rejected_in_five_percent(kind):
    for p in p_values(60, 1, kind=kind).values():
        assert np.mean(p < 0.05) <= 0.05 + bound(0.05, p.size)


def test_a_planted_shapley_value_is_found():
    rows = p_values(10, 2, worth=15.0)
    assert np.mean(rows["a"] < 0.05) >= 0.8
    assert np.mean(rows["b"] < 0.05) < 0.5


@pytest.mark.calibrate
@pytest.mark.parametrize("kind", ["normal", "heavy", "skewed", "discrete"])
@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_shapley_nulls_are_rejected_in_five_percent_in_many(kind, seeds):
    for p in p_values(300, seeds, kind=kind, seeds=seeds).values():
        assert np.mean(p < 0.05) <= 0.05 + bound(0.05, p.size)


def test_equal_values_in_all_seeds_and_orders_claim_nothing():
    names, sets = games()
    values = {
        (s, "static"): {seed: {"clean": 50.0 + 10 * len(s)} for seed in range(3)} for s in sets
    }
    evidence = evidence_of(values, kind="shapley", losses=names, design={"permutations": 8})
    assert {claim.p for claim in claims(find(evidence)) if claim.p <= 1} == set()

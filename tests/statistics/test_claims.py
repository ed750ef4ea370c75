"""What may be claimed, by rule and by simulation: under no effect 5 % of reports claim anything."""

import math

import numpy as np
import pytest

from sweep.statistics.claims import Claim, agree, candidate, grades
from sweep.statistics.contrasts import adjust, paired_contrast
from sweep.statistics.intervals import seeds_and_clips
from tests.statistics.simulate import DESIGNS, bound, report


def claim(p, *, comparison="a", outcome="clean", pairs=5):
    return Claim(comparison=comparison, outcome=outcome, p=p, pairs=pairs)


def contrast(*differences):
    return paired_contrast(dict(enumerate(differences)), dict.fromkeys(range(len(differences)), 0))


def test_one_family_over_comparisons_and_outcomes():
    p = [0.001, 0.04, 0.2, 0.012]
    found = grades([claim(v, comparison=str(i), outcome="xy"[i % 2]) for i, v in enumerate(p)])
    assert [c.adjusted_p for c in found] == pytest.approx(adjust(p, "holm"))
    assert [c.grade for c in found] == ["holds", "suggestive", "unresolved", "holds"]
    assert {c.family for c in found} == {4}


def test_fewer_than_three_pairs_claim_nothing_and_cost_nothing():
    two, three = contrast(5.0, 5.01), contrast(5.0, 5.01, 4.99)
    assert two.t_p < 0.001  # printed as "stands after Holm" once
    found = grades([candidate("a", "clean", two), candidate("b", "clean", three)])
    assert [c.grade for c in found] == ["unresolved", "holds"]
    assert [c.family for c in found] == [0, 1]
    assert found[1].few


def test_the_primary_outcome_is_tested_first_at_the_full_level():
    rows = [
        claim(0.02, comparison="a", outcome="noise"),
        claim(0.02, comparison="b", outcome="noise"),
        claim(0.004, comparison="a", outcome="clean"),
        claim(0.04, comparison="b", outcome="clean"),
    ]
    found = grades(rows, primary="noise")
    assert [c.grade for c in found] == ["holds", "holds", "holds", "holds"]
    assert [c.family for c in found] == [2, 2, 2, 2]
    shut = grades([claim(0.3, comparison="a", outcome="noise"), *rows[1:]], primary="noise")
    assert [c.grade for c in shut] == ["unresolved", "holds", "suggestive", "suggestive"]
    assert math.isnan(shut[2].adjusted_p)
    with pytest.raises(ValueError, match="one of noise, clean, given 'ood'"):
        grades(rows, primary="ood")


def test_a_gate_without_any_test_stays_shut():
    found = grades(
        [claim(math.nan, outcome="noise"), claim(1e-9, outcome="clean")], primary="noise"
    )
    assert [c.grade for c in found] == ["unresolved", "suggestive"]


def test_runs_that_did_not_train_take_a_verdict_back():
    everything = contrast(-40.0, -41.0, -39.0, -40.5, -39.5, -40.2)
    nothing = contrast(0.3, -0.2, 0.1)
    assert not agree(everything, nothing)
    assert grades([candidate("a", "clean", everything)])[0].grade == "holds"
    found = grades([candidate("a", "clean", everything, trained=nothing)])[0]
    assert found.disagrees
    assert found.grade == "unresolved"
    assert found.pairs == 3
    same = candidate("a", "clean", everything, trained=contrast(-40.0, -41.0, -39.0))
    assert not same.disagrees
    assert grades([same])[0].grade == "holds"
    opposite = contrast(40.0, 41.0, 39.0)
    assert not agree(everything, opposite)
    few = candidate("a", "clean", everything, trained=contrast(-40.0, -41.0))
    assert grades([few])[0].grade == "unresolved"


def test_a_claim_has_to_hold_for_other_clips_too():
    rng = np.random.default_rng(0)
    # six clips decide everything: all seeds agree, other clips need not
    treated = np.ones((5, 1, 6), bool)
    reference = treated.copy()
    reference[:, :, 0] = False
    reference[0, 0, 1] = rng.random() < 2
    reference[0, 0, 1] = False
    combined = seeds_and_clips([treated], [reference])
    over_seeds = contrast(*(100 * (treated - reference.astype(float)).mean(axis=(1, 2))))
    assert over_seeds.t_p < 0.01
    assert combined.p > 0.05
    found = candidate("a", "clean", over_seeds, combined=combined)
    assert found.p == combined.p


@pytest.mark.parametrize(("design", "seeds"), [("loo", 3), ("loo", 5), ("factorial", 5)])
def test_null_reports_rarely_claim(design, seeds):
    rng = np.random.default_rng(seeds)
    rows = [report(rng, design, seeds) for _ in range(100)]
    before = np.mean([any(c.resolved for c in contrasts) for contrasts, _ in rows])
    after = np.mean([any(c.grade == "holds" for c in claims) for _, claims in rows])
    assert before > 0.4  # the first sentence used to rest on these
    assert after <= 0.05 + bound(0.05, 100)


def test_one_real_primary_effect_does_not_open_the_gate_for_the_others():
    rng = np.random.default_rng(8)
    effects = {("noise", ("bcd", "")): -40.0}
    wrong = real = 0
    for _ in range(100):
        _, claims = report(rng, "loo", 5, primary="noise", effects=effects)
        holds = {(c.comparison, c.outcome) for c in claims if c.grade == "holds"}
        real += ("a", "noise") in holds
        wrong += bool(holds - {("a", "noise")})
    assert real / 100 > 0.95
    assert wrong / 100 <= 0.05 + bound(0.05, 100)


def test_failing_runs_make_no_claim():
    rng = np.random.default_rng(9)
    rows = [report(rng, "loo", 5, failing={("abcd", ""): 0.15}) for _ in range(100)]
    after = np.mean([any(c.grade == "holds" for c in claims) for _, claims in rows])
    assert after <= 0.05 + bound(0.05, 100)


@pytest.mark.calibrate
@pytest.mark.parametrize("kind", ["normal", "skewed", "heavy", "discrete"])
@pytest.mark.parametrize("seeds", [3, 5, 8])
@pytest.mark.parametrize("design", DESIGNS)
def test_null_reports_rarely_claim_whatever_the_data(design, seeds, kind):
    rng = np.random.default_rng(seeds)
    rows = [report(rng, design, seeds, kind=kind) for _ in range(500)]
    after = np.mean([any(c.grade == "holds" for c in claims) for _, claims in rows])
    assert after <= 0.05 + bound(0.05, 500)

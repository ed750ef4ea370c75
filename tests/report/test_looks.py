"""Claims after several looks: adjusted, said on the page, and no more often false than 5 %."""

import numpy as np
import pytest
from scipy import stats

from sweep.report.looks import looks
from tests.statistics.reports import Reports, answer, claims, found

GAIN = {"noise": 30.0}


def gain(losses, outcome):
    return GAIN.get(outcome, 0) * ("consistency" in losses)


@pytest.fixture(scope="module")
def nine():
    return Reports("quickstart", ["seeds=9"])


def grown(evidence, *before):
    """As if somebody had read a report at these numbers of seeds and asked for more."""
    seeds = evidence.seeds
    events = [
        {
            "event": "extended",
            "changes": [f"seeds: {n} -> {len(seeds)}"],
            "seeds_before": seeds[:n],
        }
        for n in before
    ]
    object.__setattr__(evidence, "events", tuple(events))
    return evidence


def declared(evidence):
    evidence.study["design"]["stopping"] = {"max_seeds": 9, "look_every": 3}
    return evidence


def test_seeds_added_after_a_report_cost_certainty(nine):
    once = found(nine.evidence(np.random.default_rng(3), planted=gain))
    later = found(grown(nine.evidence(np.random.default_rng(3), planted=gain), 3, 6))
    assert looks(later.evidence).seeds == (3, 6, 9)
    for at, claim in later.claims.items():
        assert claim.p == pytest.approx(min(1, 12 * once.claims[at].p))
    assert any("Looks: after 3, 6, 9 seeds (added" in s.text for s in answer(later))
    assert not any("Looks" in s.text for s in answer(once))


def test_declared_looks_share_the_error(nine):
    evidence = declared(nine.evidence(np.random.default_rng(3), planted=gain))
    findings = found(evidence)
    claim = findings.claims["consistency", "noise"]
    assert claim.grade == "holds"
    assert any("(declared, 3 looks in all)" in s.text for s in answer(findings))
    nine.content["design"].pop("stopping", None)


@pytest.mark.calibrate
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("how", ["declared", "extended"])
def test_looks_do_not_make_claims(how):
    """A claim at any of the looks counts, as a user would stop there."""
    reports, rng, false = Reports("quickstart", ["seeds=9"]), np.random.default_rng(8), 0
    for _ in range(500):
        evidence = reports.evidence(rng)
        if how == "declared":
            false += bool(claims(found(declared(evidence))))
        else:
            false += bool(claims(found(grown(evidence, 3, 4, 5, 6, 7, 8))))
    assert false <= stats.binom.isf(1e-3, 500, 0.05)

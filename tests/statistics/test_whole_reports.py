"""How often whole reports of the built-in studies claim something where there is nothing to claim.

The rates of the README's `How claims are made` are printed by

    python -m tests.statistics.whole_reports 500
"""

import pytest
from scipy import stats

from tests.statistics.reports import Reports, answer, found
from tests.statistics.whole_reports import null, planted

STUDIES = ("quickstart", "loss-count", "loss-diversity")


def most(reports, rate=0.05, alpha=1e-3):
    """Number of claims that a true rate exceeds once in a thousand."""
    return stats.binom.isf(alpha, reports, rate)


@pytest.mark.parametrize(("study", "reports"), [("quickstart", 40), ("loss-count", 8)])
def test_null_reports_rarely_claim(study, reports):
    assert null(study, reports).holds <= most(reports)


def test_a_planted_effect_leads_the_answer_with_its_caveat():
    import numpy as np

    reports = Reports("quickstart")
    gain = {"noise": 25.0}
    findings = found(
        reports.evidence(
            np.random.default_rng(0),
            planted=lambda losses, outcome: gain.get(outcome, 0) * ("consistency" in losses),
        )
    )
    first = answer(findings)[0]
    assert first.tone == "holds"
    assert first.text.startswith("**consistency pays on noise**")
    assert "But: view B of this loss" in first.text


@pytest.mark.calibrate
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", ["normal", "skewed", "heavy", "discrete"])
@pytest.mark.parametrize(
    ("study", "seeds"),
    [("quickstart", 3), ("quickstart", 5), ("quickstart", 8), *((s, None) for s in STUDIES[1:])],
)
def test_null_reports_claim_in_one_of_twenty_at_most(study, seeds, kind):
    overrides = [f"seeds={seeds}"] if seeds else []
    assert null(study, 500, overrides=overrides, kind=kind).holds <= most(500)


@pytest.mark.calibrate
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_a_planted_effect_is_found_as_often_as_printed(seeds):
    rate, printed = planted("quickstart", 500, seeds=seeds)
    assert rate == pytest.approx(printed, abs=0.05 + 2 * (0.8 * 0.2 / 500) ** 0.5)

"""A loss that teaches nothing is set against the sets that it joins, and counted nowhere."""

import numpy as np
import pytest

from sweep.report.analyses import dose, placebo
from sweep.statistics.intervals import mean_interval
from tests.report.in_memory import accuracies, answer_of, evidence_of, sets_of
from tests.report.test_dose import COUNTS, LOSSES

PLACEBO = "infonce_shuffled"


def sweep(shift, *, combiners=("meltr", "static"), untrained=()):
    """Sets of `count`, and those of one loss once more with a placebo that adds ``shift``."""
    rng = np.random.default_rng(3)
    values = {}
    for subset in sets_of(LOSSES, COUNTS, 8, rng):
        for combiner in combiners if subset else combiners[:1]:
            values[subset, combiner] = accuracies(rng, len(subset))
            if len(subset) == 1:
                joined = tuple(sorted((*subset, PLACEBO)))
                values[joined, combiner] = accuracies(rng, len(subset) + shift)
    return evidence_of(values, kind="count", losses=(*LOSSES, PLACEBO), untrained=untrained)


def test_each_arm_is_the_mean_over_its_sets():
    evidence = sweep(-4)
    cells = {(c.losses, c.combiner): c for c in evidence.finished}
    arms = placebo.find(evidence)
    assert [(a.combiner, a.outcome) for a in arms] == [
        ("meltr", "stress"), ("meltr", "clean"), ("static", "stress"), ("static", "clean"),
    ]  # fmt: skip
    for arm in arms:
        patterns = evidence.outcomes[arm.outcome]
        gaps = []
        for name in LOSSES:
            joined = cells[tuple(sorted((name, PLACEBO))), arm.combiner]
            alone = cells[(name,), arm.combiner]
            gaps += [joined.values(patterns)[s] - alone.values(patterns)[s] for s in (0,)]
        assert arm.difference == pytest.approx(mean_interval(gaps))
        assert arm.difference.n == 8
        assert arm.untrained == 0


def test_curves_and_combiners_are_told_of_real_losses_alone():
    with_arm, without = sweep(-30), sweep(-30)
    kept = tuple(c for c in without.cells if PLACEBO not in c.losses)
    object.__setattr__(without, "cells", kept)
    one, two = dose.find(with_arm), dose.find(without)
    assert [d.test for d in one.doses] == [d.test for d in two.doses]
    assert [d.points for d in one.doses] == [d.points for d in two.doses]
    assert one.gaps == two.gaps
    assert one.trends == two.trends


def test_the_answer_tells_it_as_a_control():
    (text,) = [t for t in answer_of(sweep(-4)) if t.text.startswith("Control: joined")]
    assert text.tone == "open"
    assert f"joined to 8 sets, `{PLACEBO}`, which teaches nothing, changes stress [meltr] by" in (
        text.text
    )
    assert "**" not in text.text


def test_without_a_placebo_nothing_is_said():
    kept = sweep(0)
    object.__setattr__(kept, "cells", tuple(c for c in kept.cells if PLACEBO not in c.losses))
    assert placebo.find(kept) is None

"""Effective robustness in the report: with an interval, or called description."""

import math

import numpy as np
import pytest

from sweep.report.page import markdown_table
from sweep.report.robustness import measure_robustness
from sweep.report.sections.measures import measure_section
from tests.report.in_memory import accuracies, evidence_of, found_in
from tests.statistics.simulate import bound

LOSSES = tuple("abcdefghijk")


def sweep(seed, *, models=11, seeds=3, robust=(), spread=9.0):
    """Cells of one loss each; those of ``robust`` keep more than their ability says."""
    rng = np.random.default_rng(seed)
    values = {
        (names, "static"): accuracies(
            rng, spread * float(rng.normal()) / 2 - 10, seeds=seeds, set_sd=0.0, seed_sd=2.0,
            beyond=1.5 * (names in robust), steady=0.0, wobble=0.1, clips=0,
        )
        for names in ((), *((name,) for name in LOSSES[: models - 1]))
    }  # fmt: skip
    return evidence_of(values, kind="aoi", losses=LOSSES)


def test_a_robust_cell_stands_out_with_its_interval():
    evidence = sweep(1, robust=[("c",)])
    found = measure_robustness(evidence)
    assert found.effective.descriptive == ""
    assert found.beyond["c [static]"].low > 0.5
    section = measure_section(found_in(evidence), found)
    (table,) = [b for b in section.blocks if "effective, log odds" in getattr(b, "columns", ())]
    row = next(line for line in markdown_table(table).splitlines() if line.startswith("| c ["))
    assert "[+" in row
    assert "description" in table.caption


@pytest.mark.parametrize(("models", "seeds"), [(4, 3), (11, 1)])
def test_too_little_for_an_interval_is_called_description(models, seeds):
    evidence = sweep(2, models=models, seeds=seeds)
    found = measure_robustness(evidence)
    section = measure_section(found_in(evidence), found)
    notes = [block.text for block in section.blocks if getattr(block, "tone", "") == "note"]
    assert any("description here, nothing to judge by: 6 models" in text for text in notes)
    assert all(math.isnan(interval.low) for interval in found.beyond.values())


def test_equal_abilities_are_called_description():
    found = [measure_robustness(sweep(i, spread=0.0)).effective for i in range(6)]
    unclear = [one for one in found if "clean accuracies differ by little" in one.descriptive]
    assert len(unclear) >= 4
    assert all(one.reliability < 0.5 for one in unclear)


def test_cells_on_the_line_are_rarely_called_robust():
    p = [v for i in range(12) for v in measure_robustness(sweep(100 + i)).effective.p]
    assert np.mean(np.array(p) < 0.05) <= 0.05 + bound(0.05, 24)  # cells of a pool hang together

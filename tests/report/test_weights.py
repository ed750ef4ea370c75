"""What losses weigh in the report: relative to the primary, of the gradient, and by what signal."""

import math
from dataclasses import replace

import numpy as np
import pytest

from sweep.report.page import markdown_table
from sweep.report.sections.training import training_sections
from sweep.report.tables import weights as table_of
from sweep.report.weights import clipped_share, weighings
from tests.report.in_memory import accuracies, evidence_of, found_in


def sweep(*, gradients=True, signal=True):
    rng = np.random.default_rng(0)
    cells = {
        (names, "meltr"): accuracies(rng, 0.0, seeds=2)
        for names in ((), ("infonce",), ("infonce", "pixel"))
    }
    evidence = evidence_of(cells, kind="sets", losses=("infonce", "pixel"))
    changed = []
    for cell in evidence.cells:
        names = ("classification", *cell.losses)
        slopes = dict(zip(names, (0.5, 2.0, -1.0), strict=False))
        meta = {"steps": 9, "skipped": 0}
        ratios = dict(zip(names, (0.35, 0.02, None), strict=False))
        meta["signal_to_noise"] = ratios
        records = {
            seed: replace(
                record,
                weights=slopes,
                config={"train": {"clip_norm": 5.0}},
                training={"meta": meta} if signal and cell.losses else {},
            )
            for seed, record in cell.records.items()
        }
        changed.append(replace(cell, records=records))
    evidence = replace(evidence, cells=tuple(changed))
    for record in evidence.records:
        norms = {"classification": 4.0, "infonce": 3.0, "pixel": None}
        rows = [
            {"step": step, "unified": 1.0, "lr": 0.1, "gradient_norm": norm,
             "losses": dict.fromkeys(record.weights, 1.0), "slopes": record.weights}
            for step, norm in ((0, 9.0), (10, 4.0), (20, 6.0), (30, 5.0))
        ]  # fmt: skip
        if gradients:
            kept = {name: norms[name] for name in record.weights}
            rows[-1]["gradients"] = {"norms": kept, "cosines": {}}
        evidence._histories[record.key] = rows
    return evidence


def test_slopes_are_set_against_the_primary_and_the_gradient():
    evidence = sweep()
    found = weighings(evidence, evidence.cells[2].records[0])
    assert found["infonce"].relative == pytest.approx(4.0)
    assert found["pixel"].relative == pytest.approx(-2.0)
    # 0.5 * 4 of the primary, 2 * 3 of infonce, nothing of a loss without a gradient
    assert [w.share for w in found.values()] == pytest.approx([0.25, 0.75, 0.0])
    assert found["infonce"].signal == 0.02
    assert math.isnan(found["pixel"].signal)
    frame = table_of(evidence)
    assert {"over_primary", "gradient_share", "meta_signal_to_noise"} <= set(frame)


def test_without_gradients_or_a_taught_combiner_there_is_a_dash():
    evidence = sweep(gradients=False, signal=False)
    found = weighings(evidence, evidence.cells[2].records[0])
    assert all(math.isnan(w.share) and math.isnan(w.signal) for w in found.values())
    text = page_of(evidence)
    assert "| infonce | 2.00 | 4.00 | – | – |" in text
    assert "is noise" not in text


def page_of(evidence):
    sections = training_sections(found_in(evidence))
    blocks = [block for section in sections for block in section.blocks]
    return "\n".join(
        markdown_table(block) if block.kind == "table" else getattr(block, "text", "")
        for block in blocks
    )


def test_noise_is_called_noise_and_clipping_is_counted():
    evidence = sweep()
    text = page_of(evidence)
    assert "The meta gradient of meltr is noise for `infonce`" in text
    assert "| infonce | 2.00 | 4.00 | 75 % | 0.02 |" in text
    assert "| classification | 0.50 | 1.00 | 25 % | 0.35 |" in text
    assert clipped_share(evidence, evidence.records[0]) == 0.5
    assert "50 % / 50 %" in text
    bare = replace(evidence.records[0], config={})
    assert math.isnan(clipped_share(evidence, bare))

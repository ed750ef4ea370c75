"""Runs that did not train as an outcome of their own."""

import pytest
from scipy import stats

from sweep.records.files import read_json, write_json
from sweep.report import build as building
from sweep.report import tables
from sweep.report.answer import facts
from sweep.report.comparisons import comparisons
from sweep.report.evidence import collect
from sweep.report.sections.failures import failure_blocks

SMALL = {"few": True, "clips": 40, "steps": 40, "missing": ()}
SEEDS = (300, 301, 302, 303)


def found_in(sweep):
    return building._findings(collect(sweep), lambda *_: "")


@pytest.fixture(scope="session")
def failing(new_sweep):
    """`all` fails in three of four seeds, `none` in one; one run of `all` diverged."""
    sweep = new_sweep(
        **SMALL,
        seeds=SEEDS,
        untrained=(("all", 300), ("all", 301), ("none", 300)),
        failed=(("all", 302), ("all - pixel", 303)),
    )
    for path in sweep.glob("cells/*/failure.json"):
        content = read_json(path)
        if content["label"] == "all":
            content["error"]["type"] = "Diverged"
            write_json(path, content)
    return sweep


def test_rates_are_exact_and_a_diverged_run_is_one_that_did_not_train(failing):
    text, by_cell, by_comparison = failure_blocks(found_in(failing))
    rows = {row[0].text: row[1:] for row in by_cell.entries}
    assert rows["all"][0].text == "3 of 4"
    low = stats.beta.ppf(0.025, 3, 2)
    high = stats.beta.ppf(0.975, 4, 1)
    assert rows["all"][1].text == "75 %"
    assert rows["all"][1].details == (f"[{100 * low:.0f}, {100 * high:.0f}]",)
    p = stats.fisher_exact([[3, 1], [1, 3]]).pvalue
    assert rows["all"][2].text == f"{p:.2f}".removeprefix("0")
    assert rows["none"][2].text == "–"
    # a run that failed of something else is neither
    assert rows["all - pixel"][0].text == "0 of 3"
    assert "4 of 23 runs" in text.text
    # interactions aside, every comparison of this design has `all` on one side
    names = {row[0].text for row in by_comparison.entries}
    assert names == {c.name for c in comparisons(collect(failing))}


def test_the_file_holds_what_the_page_rounds(failing):
    evidence = collect(failing)
    frame = tables.failures(evidence, comparisons(evidence)).set_index(["of", "name"])
    assert frame.loc[("cell", "all"), ["failed", "runs"]].tolist() == [3, 4]
    row = frame.loc[("comparison", "pixel")]
    assert row[["failed", "runs", "reference_failed", "reference_runs"]].tolist() == [3, 4, 0, 3]
    assert row.fisher_p == pytest.approx(stats.fisher_exact([[3, 1], [0, 3]]).pvalue)


def test_the_answer_says_it(failing, new_sweep):
    said = {fact.label: fact.text for fact in facts(found_in(failing))}
    assert said["Did not train"].startswith("4 of 23 runs (17 %, exact 95 % interval ")
    assert "all 3 of 4; " in said["Did not train"] or "none 1 of 4" in said["Did not train"]
    trained = found_in(new_sweep(**SMALL, untrained=(), failed=()))
    assert "Did not train" not in {fact.label for fact in facts(trained)}
    (text,) = failure_blocks(trained)
    assert text.text.startswith("Every run trained: 0 of 18 failed to, ")
    assert f"ends at {100 * (1 - 0.025 ** (1 / 18)):.0f} %" in text.text


def test_a_sweep_without_any_result_says_nothing_of_training(new_sweep):
    sweep = new_sweep(**SMALL, seeds=(300,), untrained=(), failed=())
    for path in sweep.glob("cells/*/result.json"):
        path.unlink()
    assert failure_blocks(found_in(sweep)) == []

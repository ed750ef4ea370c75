"""What a report says about a search: its own numbers, full fidelity, fresh seeds, the front."""

import importlib.util
from pathlib import Path

import pandas as pd
import pytest

from sweep.engine.run import run_study
from sweep.records.ledger import Ledger
from sweep.report.build import build
from sweep.report.evidence import collect

SCRIPT = Path(__file__).resolve().parents[1] / "engine" / "tiny_driver.py"
SEARCH = (
    "design.kind=search", "search.trials=10", "search.objective=clean", "seeds=2",
    "search.early_stopping=false", "search.confirm={best: 2, seeds: 3}",
    "outcomes={clean: [clean], ood: [appearance, viewpoint, dynamics]}", "headline=[clean, ood]",
    "search.space={train.lr: {low: 1e-3, high: 1e-2, log: true}}",
)  # fmt: skip


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """Run a search whose trials cost nothing; returns its folder."""
    spec = importlib.util.spec_from_file_location("tiny_driver", SCRIPT)
    tiny = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tiny)

    def run(*overrides):
        sweep = tmp_path_factory.mktemp("search") / "s"
        run_study(
            tiny.study([*SEARCH, *overrides]), out=sweep, engine="local",
            trial=tiny.make_trial(), plan=tiny.plan,
        )  # fmt: skip
        return sweep

    return run


def test_the_verdict_is_that_of_the_fresh_seeds(searched):
    sweep = searched("evaluate.fidelity=screen", "search.finalists=3")
    paths = build(sweep)
    evidence = collect(sweep)
    assert evidence.stage == "confirm"
    assert evidence.seeds == [302, 303, 304]  # none that the search saw
    assert {r.config["evaluate"]["fidelity"] for r in evidence.records} == {"full"}
    assert evidence.done == evidence.planned == len(Ledger(sweep).finished())
    assert not evidence.unequal_protocol  # the learning rate is what was searched

    rows = pd.read_csv(paths.html.parent / "tables" / "search.csv")
    assert len(rows) == len(set(rows.key))
    confirmed = rows[rows.fresh_seeds > 0]
    assert set(confirmed.fresh_seeds) == {3}
    ledger = Ledger(sweep)
    for row in confirmed.itertuples():
        assert ledger.result(row.key).accuracy["clean"] == pytest.approx(row.search)
        cell = next(
            c
            for c in evidence.cells
            if c.records[302].config["losses"] == ledger.result(row.key).config["losses"]
            and c.records[302].config["train"] == ledger.result(row.key).config["train"]
        )
        fresh = [r.accuracy["clean"] for r in cell.records.values()]
        assert sum(fresh) / 3 == pytest.approx(row.fresh_mean)
    assert rows.every_clip.notna().any()

    text = paths.markdown.read_text()
    assert "clean: the search" in text
    assert "clean: fresh seeds" in text
    assert any("the search had seen" in sentence for sentence in paths.answer)
    contrasts = pd.read_csv(paths.html.parent / "tables" / "contrasts.csv")
    assert set(contrasts.pairs) == {3}
    assert "search.svg" in {path.name for path in paths.figures}


def test_several_objectives_show_the_front(searched):
    sweep = searched("search.objective=[clean, ood]", "search.objective_on=test",
                     "search.confirm=null", "search.constraints={losses: {low: 1}}")  # fmt: skip
    paths = build(sweep)
    assert "pareto.svg" in {path.name for path in paths.figures}
    rows = pd.read_csv(paths.html.parent / "tables" / "search.csv")
    wide = rows.pivot_table(index="key", columns="objective", values="search")
    kept = wide[rows.drop_duplicates("key").set_index("key").feasible.reindex(wide.index)]
    front = [
        k
        for k, r in kept.iterrows()
        if not ((kept >= r).all(axis=1) & (kept > r).any(axis=1)).any()
    ]
    assert any(s.startswith(f"{len(front)} of {len(kept)} tried") for s in paths.answer)
    assert not rows[rows.cell == "none"].feasible.any()
    assert paths.markdown.read_text().count("| yes |") == len(front)


def test_an_unfinished_search_shows_what_it_has(searched):
    sweep = searched("search.confirm=null", "evaluate.fidelity=screen", "search.finalists=2")
    for event in Ledger(sweep).events():
        if event["event"] == "promoted":
            for row in event["cells"]:
                (Ledger(sweep).cell(row["key"]) / "result.json").unlink()
    paths = build(sweep)
    assert collect(sweep).stage == ""
    assert any("Winner's curse" in sentence for sentence in paths.answer)


def test_the_report_says_which_dimensions_mattered_once_there_are_enough_trials(searched):
    given = ("search.trials=40", "search.sampler=random", "search.confirm=null", "seeds=1")
    text = build(searched(*given)).markdown.read_text()
    assert "less what chance gives" in text
    assert "| `train.lr` |" in text
    assert "| `use_infonce` |" in text
    assert "less what chance gives" not in build(searched()).markdown.read_text()

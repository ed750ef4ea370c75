"""Cells shared by sweeps, and sweeps that grow: what runs, what is taken over, what is refused."""

import json

import pytest

from sweep.engine.run import run_study
from sweep.records.files import read_records
from sweep.records.ledger import Ledger
from sweep.records.reuse import is_finished, offers, sweeps
from sweep.settings.section import ConfigError
from sweep.tracking.track import run_id

ONE_SEED = ("seeds=1",)


@pytest.fixture
def run(tiny):
    def call(sweep, *overrides, extend=False, **options):
        return run_study(
            tiny.study(overrides), out=sweep, engine="local", trial=tiny.make_trial(**options),
            plan=tiny.plan, extend=extend,
        )  # fmt: skip

    return call


def executed(sweep):
    return set(Ledger(sweep).executions())


def labels(sweep):
    return {f"{r.label} s{r.seed}" for r in read_records(sweep)}


def test_a_second_study_runs_only_what_the_first_has_not(run, tmp_path, look):
    """`none`, `all` and two sets without a loss are in both designs, under other names."""
    first, second = tmp_path / "first", tmp_path / "second"
    run(first, *ONE_SEED)
    other = ("name=other", "design.kind=factorial", f"reuse=['{first}']")
    summary = run(second, *ONE_SEED, *other)
    assert (summary.code, summary.planned, summary.done, summary.reused) == (0, 16, 16, 6)
    assert executed(second).isdisjoint(executed(first))
    assert len(executed(second)) == 10
    before, now = look.results(first), look.results(second)
    for key in executed(first):
        assert now[key]["scores"] == before[key]["scores"]
        assert now[key]["config"]["study"] == "other"
        copied = (second / "cells" / key / "history.jsonl").read_bytes()
        assert copied == (first / "cells" / key / "history.jsonl").read_bytes()
    assert {"all", "none", "frame_difference+infonce+pixel"} <= {
        r.label for r in read_records(second)
    }
    assert "all - consistency" not in {r.label for r in read_records(second)}
    origins = [e["origin"] for e in Ledger(second).events() if "origin" in e]
    assert {o["sweep"] for o in origins} == {"first"}
    assert {o["folder"] for o in origins} == {"../first"}
    assert {
        r.run["reused_from"]["study"] for r in read_records(second) if "reused_from" in r.run
    } == {"quickstart"}
    # a shared cell has a run of its own in each sweep
    key = next(iter(executed(first)))
    assert run_id(first, key) != run_id(second, key)
    assert run_id(first, key) == run_id(first, key)


def test_equal_cells_of_two_studies_have_equal_keys(tiny, tmp_path):
    from sweep.cells.resolve import cells

    first = {c.key for c in cells(tiny.study(ONE_SEED), "f")}
    second = {c.key for c in cells(tiny.study((*ONE_SEED, "name=b", "title=b", "reuse=[x]")), "f")}
    assert first == second
    assert first.isdisjoint(c.key for c in cells(tiny.study(ONE_SEED), "other data"))


def test_reuse_survives_the_origin_and_edits_are_noticed(run, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    run(first, *ONE_SEED)
    edited = sorted(executed(first))[0]
    path = first / "cells" / edited / "result.json"
    content = json.loads(path.read_text())
    content["config"]["train"]["lr"] = 1.0
    path.write_text(json.dumps(content))
    assert not is_finished(Ledger(first), edited)
    (second.parent / "empty").mkdir()
    with pytest.raises(ConfigError, match="neither a sweep nor a folder of sweeps"):
        run(second, *ONE_SEED, "reuse=[/nowhere]")
    assert not second.exists()
    run(second, *ONE_SEED, f"reuse=['{tmp_path}']")
    assert executed(second) == {edited}
    first.rename(tmp_path / "moved")
    again = run(second, *ONE_SEED, f"reuse=['{first}']")
    assert (again.code, again.done, again.reused) == (0, 6, 6)


def test_folders_of_sweeps_stand_for_all_of_them(run, tmp_path):
    run(tmp_path / "a", *ONE_SEED)
    run(tmp_path / "b", "seeds=[301]")
    assert sweeps([tmp_path]) == [tmp_path / "a", tmp_path / "b"]
    keys = executed(tmp_path / "a") | executed(tmp_path / "b")
    found = offers([tmp_path], keys | {"0" * 16})
    assert set(found) == keys
    assert set(found.values()) == {tmp_path / "a", tmp_path / "b"}


@pytest.mark.parametrize(
    ("more", "new", "left"),
    [
        (("seeds=2",), 6, 0),
        (("seeds=[300, 7]",), 6, 0),
        # without a loss less, the old sets without one are no part of the new design
        (("seeds=1", "losses.frame_order={}"), 5, 4),
        (("seeds=1", "design.kind=factorial"), 10, 0),
        (("seeds=1", "design.sets=[[pixel]]"), 1, 0),
        (("seeds=1", "combiners={static: {}, uncertainty: {}}"), 5, 0),
    ],
)
def test_a_sweep_grows_without_running_anything_again(run, tmp_path, look, more, new, left):
    sweep = tmp_path / "s"
    run(sweep, *ONE_SEED)
    before = executed(sweep)
    with pytest.raises(ConfigError, match="--extend"):
        run(sweep, *more)
    summary = run(sweep, *more, extend=True)
    assert summary.code == 0
    assert len(executed(sweep) - before) == new
    assert look.again(sweep) == []
    plan = json.loads((sweep / "plan.json").read_text())
    assert len(plan["not_planned"]) == left
    assert len(plan["cells"]) == 6 + new - left == summary.planned
    # reports see the plan, under its names
    records = {r.key: r.label for r in read_records(sweep)}
    assert records == {c["key"]: c["label"] for c in plan["cells"]}
    assert len(look.results(sweep)) == 6 + new
    (event,) = [e for e in Ledger(sweep).events() if e["event"] == "extended"]
    assert event["changes"]
    assert run(sweep, *more).reused == summary.planned
    # the command that goes on is one that does: this sweep ran without Ray
    with pytest.raises(ConfigError, match=r"another configuration[\s\S]* resume \S+ --local`"):
        run(sweep, *ONE_SEED)


def test_what_was_all_is_renamed_when_a_loss_joins(run, tmp_path):
    sweep = tmp_path / "s"
    run(sweep, *ONE_SEED)
    (old,) = (r for r in read_records(sweep) if r.label == "all")
    run(sweep, *ONE_SEED, "losses.frame_order={}", extend=True)
    (now,) = (r for r in read_records(sweep) if r.key == old.key)
    assert now.label == now.config["label"] == "all - frame_order"
    assert now.scores == old.scores
    assert labels(sweep) >= {"all s300", "all - pixel s300"}


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (("seeds=1", "train.lr=0.5"), "train.lr: 0.002 -> 0.5"),
        (("seeds=1", "losses.pixel.weight=1"), "losses.pixel.weight: 0.05 -> 1"),
        (("seeds=1", "losses.pixel=null"), "losses.pixel: "),
        (("seeds=[301]",), "seed"),
        (("seeds=1", "combiners={uncertainty: {}}"), "combiners.static: "),
        (("seeds=1", "evaluate.fidelity=screen"), "evaluate.fidelity: 'full' -> 'screen'"),
        (("seeds=1", "design.kind=search"), "design.kind: 'loo' -> 'search'"),
    ],
)
def test_what_is_no_growth_is_refused(run, tmp_path, more, line):
    sweep = tmp_path / "s"
    run(sweep, *ONE_SEED)
    with pytest.raises(ConfigError, match="--extend adds cells") as refused:
        run(sweep, *more, extend=True)
    assert line in str(refused.value)
    assert f"--reuse {sweep}" in str(refused.value)
    assert run(sweep, *ONE_SEED).reused == 6


def test_a_search_learns_from_cells_of_other_sweeps(run, tmp_path, look):
    search = (*ONE_SEED, "design.kind=search", "search.trials=6", "search.early_stopping=false",
              "combiners={equal: {}}")  # fmt: skip
    first, second = tmp_path / "first", tmp_path / "second"
    run(first, *search)
    summary = run(second, *search, f"reuse=['{first}']")
    assert summary.code == 0
    assert executed(second) == set()
    assert set(look.results(second)) == set(look.results(first))
    longer = run(second, *search[:-3], "search.trials=9", *search[-2:], extend=True)
    assert longer.code == 0
    suggested = [e["key"] for e in Ledger(second).events() if e["event"] == "suggested"]
    assert len(suggested) == 9
    assert look.again(second) == []


# ---------------------------------------------------------------------------------------- pixels
def with_pixels(sweep, keys, made, version):
    """Records as if their tests had been made by a version of a library."""
    for key in keys:
        path = sweep / "cells" / key / "result.json"
        content = json.loads(path.read_text())
        for score in content["scores"]:
            score["pixels"] = made
        content["run"]["versions"] = {"av": version}
        path.write_text(json.dumps(content))


def events(sweep, kind):
    return [e for e in Ledger(sweep).events() if e["event"] == kind]


def test_cells_tested_on_other_pixels_are_not_reused(run, tmp_path, capfd):
    first, second, third = (tmp_path / name for name in ("a", "b", "c"))
    run(first, *ONE_SEED)
    run(second, "seeds=[301]")
    with_pixels(first, executed(first), "old", "17.0")
    with_pixels(second, executed(second), "new", "18.0")
    summary = run(third, "seeds=[300, 301]", f"reuse=['{tmp_path}']")
    assert summary.code == 0
    assert executed(third) == executed(second), "the first sweep set what is compared with"
    said = capfd.readouterr()
    text = " ".join((said.out + said.err).split())
    assert "is not reused and runs here: it was tested on other pixels under clean, " in text
    assert "av 18.0 against av 17.0" in text
    # reused alone, they agree with themselves
    fourth = tmp_path / "d"
    assert run(fourth, "seeds=[301]", f"reuse=['{second}']").reused == 6


def test_reused_cells_run_again_where_the_cells_that_ran_here_have_other_pixels(run, tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    run(first, *ONE_SEED)
    with_pixels(first, executed(first), "old", "17.0")
    run(second, "seeds=2", f"reuse=['{first}']")
    taken, own = executed(first), executed(second)
    assert taken.isdisjoint(own)
    with_pixels(second, own, "new", "18.0")  # as this machine makes them
    again = run(second, "seeds=2", f"reuse=['{first}']")
    assert again.code == 0
    assert executed(second) == taken | own
    reasons = {e["reason"] for e in events(second, "withdrawn")}
    assert len(events(second, "withdrawn")) == len(taken)
    assert all("av 17.0 against av 18.0" in reason for reason in reasons)
    assert not [r for r in read_records(second) if "reused_from" in r.run]

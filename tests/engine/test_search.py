import math
import subprocess
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from sweep.cells.search.search import Search
from sweep.engine.folder import read_plan
from sweep.engine.run import run_study
from sweep.records.ledger import Ledger, failed_record
from sweep.records.record import Score
from sweep.settings.section import ConfigError
from sweep.studies.load import load_study

SEARCH = (
    "design.kind=search",
    "search.trials=16",
    "search.objective=clean",
    "search.early_stopping=false",
    "search.confirm=null",
)


@pytest.fixture
def study(tiny):
    """Searches that run every trial to its end, unless a test asks for early stopping."""
    return lambda *overrides: tiny.study([*SEARCH, *overrides])


def run(tiny, study, sweep, **options):
    return run_study(
        study, out=sweep, engine="local", trial=tiny.make_trial(**options), plan=tiny.plan,
    )  # fmt: skip


def suggested(sweep):
    return [(e["number"], e["key"]) for e in Ledger(sweep).events() if e["event"] == "suggested"]


def told(search):
    return [(t.number, t.state.name, t.values, dict(t.params)) for t in search.trials]


def test_a_search_suggests_runs_and_learns(tiny, study, tmp_path, look):
    summary = run(tiny, study(), tmp_path / "a")
    assert summary.code == 0
    ledger = Ledger(tmp_path / "a")
    numbers = suggested(tmp_path / "a")
    assert [n for n, _ in numbers] == list(range(16))
    plan = read_plan(tmp_path / "a")
    assert set(plan.keys) == set(look.results(tmp_path / "a"))
    assert {c.design for c in plan.cells} == {"search"}
    search = Search(study(), ledger, fingerprint="f0")
    assert search.left == 0
    assert search.next() is None
    for (_number, key), trial in zip(numbers, search.trials, strict=True):
        assert trial.value == pytest.approx(ledger.result(key).accuracy["clean"])


def test_equal_content_runs_once(tiny, study, tmp_path):
    narrow = study("losses.consistency=null", "losses.pixel=null", "losses.infonce=null",
                   "combiners={uncertainty: {}}", "search.trials=8")  # fmt: skip
    summary = run(tiny, narrow, tmp_path / "s")
    # one loss, on or off, is two cells; both are anchors of the design with their first seed
    assert len(suggested(tmp_path / "s")) == 8
    assert summary.reused == 8
    assert set(Ledger(tmp_path / "s").executions().values()) == {1}
    assert all(t.state.name == "COMPLETE" for t in Search(
        narrow, Ledger(tmp_path / "s"), fingerprint="f0").trials)  # fmt: skip


def test_the_sampler_is_brought_back_to_where_it_was(tiny, study, tmp_path):
    """Cut the ledger anywhere: what is suggested next is what was suggested then."""
    run(tiny, study("search.trials=24"), tmp_path / "whole")
    whole = Ledger(tmp_path / "whole")
    lines = whole.path.read_bytes().splitlines(keepends=True)
    reference = suggested(tmp_path / "whole")
    keys = dict(reference)
    for cut in range(20, len(lines), 9):
        part = Ledger(tmp_path / f"cut{cut}")
        part.sweep.mkdir()
        part.path.write_bytes(b"".join(lines[:cut]))
        (part.sweep / "cells").mkdir()
        for event in part.events():
            if event["event"] == "finished":
                cell = part.cell(event["key"])
                if not cell.exists():
                    cell.symlink_to(whole.cell(event["key"]))
        search = Search(study("search.trials=24"), part, fingerprint="f0")
        assert [keys[t.number] for t in search.trials] == [k for _, k in reference[: search.asked]]
        while (config := search.next()) is not None:
            (part.cell(config.key)).symlink_to(whole.cell(config.key))
            search.finished(whole.result(config.key))
        assert suggested(part.sweep) == reference


def test_kill_9_of_a_search_changes_nothing(tiny, study, start, tmp_path, look):
    run(tiny, study(), tmp_path / "quiet")
    for _ in range(3):
        process = start(tmp_path / "killed", "engine=local", "pause=0.1", *SEARCH)
        try:
            process.communicate(timeout=1.2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
    out, err = start(tmp_path / "killed", "engine=local", *SEARCH).communicate(timeout=60)
    assert "failed=0" in out, err
    assert suggested(tmp_path / "killed") == suggested(tmp_path / "quiet")
    assert look.results(tmp_path / "killed") == look.results(tmp_path / "quiet")
    assert look.again(tmp_path / "killed") == []


def test_another_sampler_version_keeps_the_trials(tiny, study, tmp_path):
    """Where the suggestions cannot be repeated, their parameters are kept as they were."""
    run(tiny, study(), tmp_path / "s")
    other = Search(study("search.seed=7"), Ledger(tmp_path / "s"), fingerprint="f0")
    same = Search(study(), Ledger(tmp_path / "s"), fingerprint="f0")
    complete = [t[1:] for t in told(other) if t[1] == "COMPLETE"]
    assert complete == [t[1:] for t in told(same)]
    assert other.next() is None


def test_early_stopping_is_told_as_pruned_and_kept(tiny, study, tmp_path):
    early = study("search.early_stopping=true", "search.grace=0.4", "search.reduction=2",
                  "search.trials=20")  # fmt: skip
    summary = run(tiny, early, tmp_path / "s")
    assert summary.code == 0
    assert summary.stopped > 0
    assert summary.done + summary.stopped == summary.planned
    ledger = Ledger(tmp_path / "s")
    for key, event in ledger.stopped().items():
        assert event["step"] in {2, 4}
        assert (ledger.cell(key) / "history.jsonl").read_text().count("\n") == event["step"]
        assert not (ledger.cell(key) / "result.json").exists()
    search = Search(early, ledger, fingerprint="f0")
    states = [t.state for t in search.trials]
    assert optuna.trial.TrialState.PRUNED in states
    assert all(s.is_finished() for s in states)
    again = run(tiny, early, tmp_path / "s")
    assert (again.code, again.stopped, again.done) == (0, summary.stopped, summary.done)
    assert max(ledger.executions().values()) == 1


def test_failed_and_unmeasured_trials_never_reach_the_sampler_as_numbers(tiny, study, tmp_path):
    ledger = Ledger(tmp_path)
    search = Search(study(), ledger, fingerprint="f0")
    for value in (math.nan, None):
        config = search.next()
        record = tiny.record_of(config)
        score = Score(condition="clean", category="clean", metrics={"top1": math.nan}, clips=0)
        record = replace(record, validation=() if value is None else (score,))
        search.finished(record)
    assert [t.state.name for t in search.trials] == ["FAIL", "FAIL"]


def test_tests_decide_nothing_that_a_search_keeps(tiny, study, tmp_path):
    """What trials score on test clips is the best where it is worst on validation clips."""
    best = {}
    for on, more in (("validation", ()), ("test", ("search.objective_on=test",))):
        given = study("evaluate.fidelity=screen", "search.confirm={best: 1, seeds: 1}", *more)
        (tmp_path / on).mkdir()
        search = Search(given, Ledger(tmp_path / on), fingerprint="f0")
        while search.left and (config := search.next()) is not None:
            record = tiny.record_of(config)
            turned = [replace(s, metrics={"top1": 100 - s.accuracy}) for s in record.scores]
            record = replace(record, scores=tuple(turned))
            search.ledger.store(record, [], None, attempt=1)
            search.finished(record)
        records = [search.ledger.result(key) for key in search.configs]
        by_test = {r.key: r.accuracy["clean"] for r in records}
        best[on] = [by_test[c.key] for c in search.winners(len(by_test))]
    assert best["validation"] == sorted(best["validation"])
    assert best["test"] == sorted(best["test"], reverse=True)


def test_suggestions_use_the_first_seed_and_respect_the_limit():
    study = load_study("quickstart", overrides=[*SEARCH, "search.max_losses=2", "seeds=[5, 6]"])
    ledger = Ledger(Path("/nonexistent"))
    ledger.append = lambda *_: None
    search = Search(study, ledger)
    for _ in range(16):
        config = search.next()
        if config is None:
            break
        assert config.seed == 5
        assert len(config.losses) <= 2
        search.finished(failed_record(config, kind="x", message="y"))


SAMPLERS = ["tpe", "tpe_group", "tpe_independent", "random", "nsga2", "nsga3", "qmc"]


def drive(search, tiny, limit=1000):
    """Answer every suggestion at once with the tiny driver's numbers; returns what ran."""
    ran = []
    while (config := search.next()) is not None and len(ran) < limit:
        record = tiny.record_of(config)
        search.ledger.store(record, [], None, attempt=1)
        search.finished(record)
        ran.append(config)
    return ran


@pytest.mark.parametrize(
    ("sampler", "objective"),
    [(name, "clean") for name in SAMPLERS] + [(name, "[clean, noise]") for name in SAMPLERS],
)
def test_every_sampler_searches_and_resumes_with_one_objective_or_two(
    tiny, study, tmp_path, sampler, objective
):
    given = study(f"search.sampler={sampler}", f"search.objective={objective}",
                  "search.space={train.lr: {low: 1e-3, high: 1e-2, log: true}}",
                  "search.trials=12")  # fmt: skip
    whole = Search(given, Ledger(tmp_path), fingerprint="f0")
    drive(whole, tiny, limit=11)
    again = Search(given, Ledger(tmp_path), fingerprint="f0")
    assert told(again)[:11] == told(whole)[:11]
    assert all(t.state.name == "COMPLETE" for t in again.trials[:11])
    drive(again, tiny)
    assert again.is_over
    assert len(again.trials[0].values) == len(given.search.objectives)


def test_the_gaussian_process_suggests_after_its_start(tiny, study, tmp_path):
    given = study("search.sampler=gp", "search.trials=11", "combiners={equal: {}}",
                  "search.space={train.lr: {low: 1e-3, high: 1e-2, log: true}}")  # fmt: skip
    search = Search(given, Ledger(tmp_path), fingerprint="f0")
    drive(search, tiny)
    assert all(t.state.name == "COMPLETE" for t in search.trials)


def test_cmaes_searches_numbers_to_the_end_and_resumes(tiny, study, tmp_path):
    pytest.importorskip("cmaes", reason="extra `cmaes`")
    given = ("search.sampler=cmaes", "search.membership=fixed", "combiners={static: {}}",
             "search.weight_range=[0.01, 10]",
             "search.space={train.lr: {low: 1e-3, high: 1e-2, log: true}}")  # fmt: skip
    summary = run(tiny, study(*given), tmp_path / "s")
    assert (summary.code, summary.failed) == (0, 0)
    search = Search(study(*given), Ledger(tmp_path / "s"), fingerprint="f0")
    assert [t.state.name for t in search.trials] == ["COMPLETE"] * 16
    for trial in search.trials:
        assert len(trial.params) == 5  # four weights and the rate
        assert all(0.01 <= v <= 10 for n, v in trial.params.items() if n != "train.lr")
    # the first ten are drawn at random; then generations, which only CMA-ES numbers
    attributes = [[name for name in t.system_attrs if "cma" in name] for t in search.trials]
    assert any(attributes[10:])
    part = tmp_path / "part"
    run(tiny, study(*given, "search.trials=12"), part)
    again = run(tiny, study(*given), tmp_path / "s")
    assert again.reused >= 16
    whole = [key for _, key in suggested(tmp_path / "s")]
    assert [key for _, key in suggested(part)] == whole[:12]


def test_brute_force_sees_everything_once_and_ends(tiny, study, tmp_path):
    given = study("search.sampler=brute_force", "combiners={equal: {}}", "search.trials=60",
                  "search.space={train.ema: [.9, .99]}")  # fmt: skip
    search = Search(given, Ledger(tmp_path), fingerprint="f0")
    ran = drive(search, tiny)
    assert len(ran) == len({config.key for config in ran}) == 32
    assert search.is_over
    assert Search(given, Ledger(tmp_path), fingerprint="f0").next() is None


def test_constraints_on_the_set_are_kept_without_a_run(tiny, study, tmp_path):
    bounds = "search.constraints={families: {low: 3}, losses: {high: 3}, clean: {low: 40}}"
    given = study("search.sampler=random", "search.trials=10", bounds)
    search = Search(given, Ledger(tmp_path), fingerprint="f0")
    ran = drive(search, tiny)
    assert len(ran) + search.reused == 10  # what is refused is no trial
    assert {len(config.losses) for config in ran} == {3}
    refused = [e for e in search.ledger.events() if e["event"] == "refused"]
    assert len(refused) == search.refused > 0
    assert all(value > 0 for event in refused for value in event["broken"].values())
    best = [t for t in search.trials if t.state.name == "COMPLETE"]
    assert {all(v <= 0 for v in t.constraints.values()) for t in best} == {True, False}
    for trial in best:
        assert trial.constraints["clean"] == pytest.approx(40 - trial.value)
    again = Search(given, Ledger(tmp_path), fingerprint="f0")
    assert told(again) == told(search)
    assert [t.constraints for t in again.trials] == [t.constraints for t in search.trials]


def test_bounds_that_nothing_meets_end_the_search(tiny, study, tmp_path):
    given = study("search.sampler=random", "search.trials=2",
                  "search.constraints={clips: {high: 1}}")  # fmt: skip
    search = Search(given, Ledger(tmp_path), fingerprint="f0")
    assert drive(search, tiny) == []
    assert search.is_over
    summary = run(tiny, given, tmp_path / "s")
    assert summary.code == 1
    assert "ran no trial" in summary.message
    assert "clips" in summary.message


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ("families: {low: 99}", r"families: at least 99 wanted, sets of this study reach 0 to \d"),
        ("losses: {low: 3, high: 2}", "low 3 is above high 2"),
        ("losses: {high: 1}, families: {low: 2}", "no loss set keeps the constraints"),
    ],
)
def test_bounds_that_no_loss_set_meets_are_refused_beforehand(study, bounds, message):
    with pytest.raises(ConfigError, match=message):
        study(f"search.constraints={{{bounds}}}")


def test_a_budget_in_clips_and_a_minimised_objective(tiny, study, tmp_path):
    one_view = study().train.steps * study().train.batch
    given = study("search.objective=[clean, -losses]", "search.trials=12",
                  f"search.constraints={{clips: {{high: {one_view + 10}}}}}")  # fmt: skip
    search = Search(given, Ledger(tmp_path), fingerprint="f0")
    ran = drive(search, tiny)
    assert ran
    assert not any("consistency" in config.losses for config in ran)  # needs a second view
    assert [d.name for d in search._optuna.directions] == ["MAXIMIZE", "MINIMIZE"]
    for trial in search.trials:
        if trial.state.name == "COMPLETE":
            used = sum(v for k, v in trial.params.items() if k.startswith("use_"))
            assert trial.values[1] == used


@pytest.mark.parametrize("on", ["validation", "test"])
def test_early_stopping_by_several_objectives(tiny, study, tmp_path, on):
    given = study("search.objective=[clean, noise]", "search.early_stopping=true",
                  "search.grace=0.2", "search.reduction=2", "search.trials=24",
                  f"search.objective_on={on}")  # fmt: skip
    assert given.evaluate.each_validation == (on == "validation")
    summary = run(tiny, given, tmp_path / "s")
    assert summary.stopped > 0
    ledger = Ledger(tmp_path / "s")
    search = Search(given, ledger, fingerprint="f0")
    assert {t.state.name for t in search.trials} == {"PRUNED", "COMPLETE"}
    again = run(tiny, given, tmp_path / "s")
    assert (again.stopped, again.done) == (summary.stopped, summary.done)
    if on == "test":
        return
    for key, event in ledger.stopped().items():  # something was better in both, at that very step
        mine = [tiny.accuracy(search.configs[key], f"{name} step {event['step']}")
                for name in ("clean", "gaussian_noise/1")]  # fmt: skip
        others = [
            [tiny.accuracy(config, f"{name} step {event['step']}")
             for name in ("clean", "gaussian_noise/1")]
            for config in search.configs.values()
        ]  # fmt: skip
        assert any(a > mine[0] and b > mine[1] for a, b in others)


def test_a_quantity_known_beforehand_is_an_objective_at_every_rung(tiny, study, tmp_path):
    given = study("search.objective=[clean, -losses]", "search.early_stopping=true",
                  "search.grace=0.2", "search.reduction=2", "search.trials=24")  # fmt: skip
    run(tiny, given, tmp_path / "s")
    search, ledger = Search(given, Ledger(tmp_path / "s"), fingerprint="f0"), Ledger(tmp_path / "s")
    stopped = ledger.stopped()
    assert stopped
    # nothing has fewer losses than none
    assert all(search.configs[key].losses for key in stopped)


def test_anchors_never_stop_early(tiny, study, tmp_path):
    narrow = study("losses.consistency=null", "losses.pixel=null", "losses.infonce=null",
                   "combiners={uncertainty: {}}", "search.trials=8", "search.early_stopping=true",
                   "search.grace=0.2", "search.reduction=2")  # fmt: skip
    assert run(tiny, narrow, tmp_path / "s").stopped == 0

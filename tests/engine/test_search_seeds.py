"""Proposals of a search are judged by several seeds, or raced over them."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from sweep.cells.search.search import Search
from sweep.engine.folder import read_plan
from sweep.engine.run import run_study
from sweep.records.ledger import Ledger, failed_record
from sweep.report.analyses import search as analysis
from sweep.report.build import build
from sweep.report.evidence import collect
from sweep.settings.section import ConfigError

GIVEN = (
    "design.kind=search", "search.trials=10", "search.objective=clean", "seeds=4",
    "search.early_stopping=false", "search.confirm=null",
)  # fmt: skip
SEEDS = (*GIVEN, "search.seeds=4")
RACE = (*SEEDS, "search.race=true")


def value_of(config):
    """What a configuration is worth, plus the luck of a seed that all share, plus its own."""
    own = sum(config.key.encode()) % 40 / 10
    shared = np.random.default_rng(config.seed).normal(0, 3)
    worth = 40 + 20 * ("infonce" in config.losses) + 5 * ("pixel" in config.losses)
    return worth + shared + own / 10


def trial_with(tiny, fail=""):
    def trial(config, *, scratch, on_metrics=None):
        if config.label == fail:
            record = failed_record(config, kind="Diverged", message="not finite")
            return SimpleNamespace(record=record, history=[], outcomes=None)
        record = tiny.record_of(config)
        judged = tuple(replace(s, metrics={"top1": value_of(config)}) for s in record.validation)
        return SimpleNamespace(record=replace(record, validation=judged), history=[], outcomes=None)

    return trial


def run(tiny, sweep, given, **options):
    return run_study(
        tiny.study(given), out=sweep, engine="local", plan=tiny.plan,
        trial=trial_with(tiny, **options),
    )  # fmt: skip


def rebuilt(tiny, sweep, given):
    study = tiny.study(given)
    return Search(study, Ledger(sweep), fingerprint="f0", anchors=tiny.cells(study, "f0"))


def events(sweep, name):
    return [e for e in Ledger(sweep).events() if e["event"] == name]


def told(search):
    return [(t.state.name, t.values, dict(t.params)) for t in search.trials]


def test_a_proposal_is_told_the_mean_over_its_seeds(tiny, tmp_path):
    summary = run(tiny, tmp_path, SEEDS)
    assert summary.code == 0
    search, ledger = rebuilt(tiny, tmp_path, SEEDS), Ledger(tmp_path)
    for trial in search.trials:
        first = ledger.result(trial.user_attrs["cell"])
        mine = [
            r
            for r in map(ledger.result, ledger.finished())
            if (r.config["losses"], r.config["combiner"]) == (first.config["losses"],
                                                              first.config["combiner"])
        ]  # fmt: skip
        assert sorted(r.seed for r in mine) == [300, 301, 302, 303]
        mean = np.mean([r.validation[0].accuracy for r in mine])
        assert trial.values == [pytest.approx(mean)]
    plan = read_plan(tmp_path)
    assert set(plan.keys) == ledger.finished()
    assert set(ledger.executions().values()) == {1}
    assert run(tiny, tmp_path, SEEDS).done == summary.done


def test_a_race_drops_what_is_clearly_worse_and_keeps_the_winner(tiny, tmp_path):
    whole = run(tiny, tmp_path / "whole", SEEDS)
    raced = run(tiny, tmp_path / "raced", [*RACE, "search.sampler=random"])
    run(tiny, tmp_path / "same", [*SEEDS, "search.sampler=random"])
    assert (whole.code, raced.code) == (0, 0)
    dropped = events(tmp_path / "raced", "dropped")
    assert dropped
    search = rebuilt(tiny, tmp_path / "raced", [*RACE, "search.sampler=random"])
    same = rebuilt(tiny, tmp_path / "same", [*SEEDS, "search.sampler=random"])
    assert search.winners(1)[0].key == same.winners(1)[0].key
    names = {e["key"] for e in dropped}
    states = {t.user_attrs["cell"]: t.state.name for t in search.trials}
    assert all((state == "PRUNED") == (key in names) for key, state in states.items())
    fewer = len(Ledger(tmp_path / "same").finished()) - len(Ledger(tmp_path / "raced").finished())
    assert fewer >= len(names)


@pytest.mark.parametrize("given", [SEEDS, RACE], ids=["seeds", "race"])
def test_the_ledger_brings_seeds_and_races_back(tiny, tmp_path, given):
    """Cut anywhere: what comes next is what came then, and no cell runs twice."""
    run(tiny, tmp_path / "whole", given)
    whole = Ledger(tmp_path / "whole")
    lines = whole.path.read_bytes().splitlines(keepends=True)
    reference = told(rebuilt(tiny, tmp_path / "whole", given))
    for cut in range(24, len(lines), 17):
        part = Ledger(tmp_path / f"cut{cut}")
        (part.sweep / "cells").mkdir(parents=True)
        part.path.write_bytes(b"".join(lines[:cut]))
        (part.sweep / "sweep.yaml").write_bytes((whole.sweep / "sweep.yaml").read_bytes())
        (part.sweep / "plan.json").write_bytes((whole.sweep / "plan.json").read_bytes())
        for event in part.events():
            if event["event"] == "finished" and not part.cell(event["key"]).exists():
                part.cell(event["key"]).symlink_to(whole.cell(event["key"]))
        done = part.finished()
        assert run(tiny, part.sweep, given).code == 0
        assert told(rebuilt(tiny, part.sweep, given)) == reference
        assert part.finished() == whole.finished()
        started = [e["key"] for e in part.events()[cut:] if e["event"] == "started"]
        assert not set(started) & done


@pytest.mark.slow
def test_kill_9_of_a_race_changes_nothing(tiny, start, tmp_path, look):
    run_study(tiny.study(RACE), out=tmp_path / "quiet", engine="local", plan=tiny.plan,
              trial=tiny.make_trial())  # fmt: skip
    for _ in range(2):
        process = start(tmp_path / "killed", "engine=local", "pause=0.1", *RACE)
        try:
            process.communicate(timeout=3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
    out, err = start(tmp_path / "killed", "engine=local", *RACE).communicate(timeout=100)
    assert "failed=0" in out, err
    assert look.results(tmp_path / "killed") == look.results(tmp_path / "quiet")
    assert look.again(tmp_path / "killed") == []


def test_a_failed_seed_fails_the_proposal(tiny, tmp_path):
    label = "consistency+infonce"
    run(tiny, tmp_path, [*SEEDS, "search.sampler=random", "search.trials=16"], fail=label)
    search = rebuilt(tiny, tmp_path, [*SEEDS, "search.sampler=random", "search.trials=16"])
    failed = [t for t in search.trials if t.user_attrs["label"].startswith(f"{label} ")
              or t.user_attrs["label"] == label]  # fmt: skip
    assert failed
    assert {t.state.name for t in failed} == {"FAIL"}


def test_the_report_shows_means_over_seeds(tiny, tmp_path):
    given = [*RACE, "search.sampler=random", "outcomes={clean: [clean]}", "headline=[clean]"]
    run(tiny, tmp_path, given)
    evidence = collect(tmp_path)
    rows = analysis.tries(evidence)
    assert {t.seeds for t in rows} > {4}
    search = rebuilt(tiny, tmp_path, given)
    whole = {t.user_attrs["cell"]: t.value for t in search.trials if t.value is not None}
    for t in rows:
        if t.record.key in whole:
            assert t.values["clean"].value == pytest.approx(whole[t.record.key])
    text = build(tmp_path).markdown.read_text()
    assert "The search: mean over 4 seeds" in text
    names = {e["key"] for e in events(tmp_path, "dropped")}
    assert names
    left = [t.seeds < 4 for t in rows]  # an anchor that was dropped has all its seeds anyway
    assert text.count("dropped after") == sum(left) <= len(names)
    assert left == sorted(left)


def test_seeds_and_races_that_cannot_be_are_refused(tiny):
    with pytest.raises(ConfigError, match=r"search.seeds: 5 given, and the study has 4"):
        tiny.study([*GIVEN, "search.seeds=5"])
    with pytest.raises(ConfigError, match=r"search.race: .* give search.seeds=3 or more \(given 1"):
        tiny.study([*GIVEN, "search.race=true"])

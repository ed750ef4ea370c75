"""The end of a search: full fidelity for the best, fresh seeds for the winners."""

import subprocess

import numpy as np
import optuna
import pytest

from sweep.cells.search import promotion
from sweep.cells.search.quantities import Measured, measure
from sweep.cells.search.search import Search
from sweep.engine.folder import read_plan
from sweep.engine.run import run_study
from sweep.evaluation.fidelity import draw
from sweep.records.ledger import Ledger
from sweep.records.outcomes import Outcomes
from sweep.records.record import Score, TrialRecord
from sweep.studies.load import load_study

SCREEN = (
    "design.kind=search", "search.trials=8", "search.objective=clean", "seeds=2",
    "search.early_stopping=false", "evaluate.fidelity=screen", "search.finalists=3",
    "search.confirm={best: 2, seeds: 2}",
)  # fmt: skip


def candidate(key, *values):
    return promotion.Candidate(key, tuple(Measured(v, v - half, v + half) for v, half in values))


def run(tiny, study, sweep, **options):
    return run_study(
        study, out=sweep, engine="local", trial=tiny.make_trial(**options), plan=tiny.plan,
    )  # fmt: skip


def promoted(sweep):
    return [e for e in Ledger(sweep).events() if e["event"] == "promoted"]


def test_what_is_surely_worse_is_not_promoted():
    rows = [candidate("a", (50, 1)), candidate("b", (49, 1)), candidate("c", (45, 1)),
            candidate("d", (47, 3)), candidate("e", (44, 1))]  # fmt: skip
    assert [c.key for c in promotion.rank(rows)] == ["a", "b", "d", "c", "e"]
    assert [c.key for c in promotion.promising(rows, 4)] == ["a", "b", "d"]
    assert [c.key for c in promotion.promising(rows, 2)] == ["a", "b"]
    assert [c.key for c in promotion.promising(rows, 5, least=4)] == ["a", "b", "d", "c"]


def test_with_two_objectives_fronts_come_first():
    rows = [candidate("a", (50, 0), (10, 0)), candidate("b", (40, 0), (20, 0)),
            candidate("c", (45, 0), (9, 0)), candidate("d", (39, 0), (19, 0))]  # fmt: skip
    assert [c.key for c in promotion.rank(rows)] == ["a", "b", "c", "d"]
    assert [c.key for c in promotion.promising(rows, 4)] == ["a", "b"]


def test_bounds_of_a_thinned_outcome_hold_what_testing_everything_gives():
    """Clean clips and shifts are exact, the thinned cells carry the interval."""
    study = load_study("quickstart", overrides=["outcomes={ood: [appearance, noise/*]}",
                                                "headline=[ood]"])  # fmt: skip
    rng, cells, clips = np.random.default_rng(0), [f"noise/{i}" for i in range(1, 6)], 600
    hits = 0
    for number in range(60):
        skill = rng.standard_normal(clips)
        truth = {c: rng.standard_normal(clips) * 0.6 + skill - 0.3 * i > 0
                 for i, c in enumerate(cells)}  # fmt: skip
        clean = skill + 0.5 > 0
        table = draw(cells, clips, fidelity="screen", per_cell=64, seed=number)
        outcomes = Outcomes(
            ids={"clean": tuple(map(str, range(clips)))},
            clip_sets=dict.fromkeys(["clean", *cells], "clean"),
            values={"top1": {"clean": clean} | {c: truth[c][table.rows[c]] for c in cells}},
            rows=table.rows,
        )
        scores = [Score(condition="appearance", category="shift", metrics={"top1": 30.0}, clips=9)]
        scores += [Score(condition=c, category="noise", clips=64,
                         metrics={"top1": 100 * float(truth[c][table.rows[c]].mean())})
                   for c in cells]  # fmt: skip
        record = TrialRecord(key="k", label="l", status="done", seed=0, losses=(), combiner="equal",
                             config={}, scores=tuple(scores), fidelity=table.about())  # fmt: skip
        found = measure("ood", study.outcomes, record, outcomes)
        full = (30.0 + sum(100 * float(truth[c].mean()) for c in cells)) / 6
        hits += found.low <= full <= found.high
        assert found.high - found.low < 12
    assert hits >= 51  # 95 % of 60, less four standard errors
    point = measure("ood", study.outcomes, record)
    assert point.low == point.value == point.high


@pytest.mark.parametrize("on", ["validation", "test"])
def test_the_best_and_the_anchors_are_tested_whole_then_confirmed(tiny, tmp_path, on):
    study = tiny.study([*SCREEN, f"search.objective_on={on}"])
    summary = run(tiny, study, tmp_path / "s")
    assert summary.code == 0
    final, confirm = promoted(tmp_path / "s")
    assert (final["stage"], confirm["stage"]) == ("final", "confirm")
    ledger = Ledger(tmp_path / "s")
    configs = {key: ledger.result(key).config for key in ledger.finished()}
    search = Search(study, ledger, fingerprint="f0", anchors=tiny.cells(study, "f0"))
    tried = {t.user_attrs["cell"]: t.value for t in search.trials}

    assert {configs[row["key"]]["evaluate"]["fidelity"] for row in final["cells"]} == {"full"}
    sources = [row["of"] for row in final["cells"]]
    anchors = [c.key for c in tiny.cells(study, "f0")]
    assert set(anchors) <= set(sources)
    best = sorted(tried, key=lambda key: -tried[key])[:3]
    assert set(best[:2]) <= set(sources) <= {*anchors, *best}  # the third may be surely worse

    seeds = {row["seed"] for row in confirm["cells"]}
    assert seeds == {302, 303}
    assert seeds.isdisjoint(study.seed_list)
    at_full = {row["of"]: ledger.result(row["key"]).accuracy["clean"] for row in final["cells"]}
    finalists = [key for key in best if key in sources]
    winners = sorted(finalists, key=lambda key: -at_full[key])[:2] if on == "test" else best[:2]
    first = [c.key for c in tiny.cells(study, "f0") if c.seed == 300]
    assert {row["of"] for row in confirm["cells"]} == {*winners, *first}
    for row in confirm["cells"]:
        mine, source = configs[row["key"]], configs[row["of"]]
        assert mine["losses"] == source["losses"]
        assert mine["evaluate"]["fidelity"] == "full"
    stages = [cell.stage for cell in read_plan(tmp_path / "s").cells]
    assert stages.count("confirm") == len(confirm["cells"])
    assert summary.planned == len(configs)
    added = sum(len(event["cells"]) for event in promoted(tmp_path / "s"))
    most = promotion.most_promoted(study, tiny.cells(study, "f0"))
    assert added <= len(most)
    assert {trial.seed for trial in most} >= seeds
    assert {trial.evaluate.fidelity for trial in most} == {"full"}


def test_a_final_cell_is_not_trained_again(tiny, tmp_path):
    run(tiny, tiny.study(SCREEN), tmp_path / "s")
    ledger = Ledger(tmp_path / "s")
    final, confirm = promoted(tmp_path / "s")
    steps = lambda row: ledger.result(row["key"]).run["trained_steps"]  # noqa: E731
    assert {steps(row) for row in final["cells"]} == {0}
    assert {steps(row) for row in confirm["cells"]} == {5}


def test_without_a_checkpoint_it_is_trained_again(tiny, tmp_path):
    study = tiny.study(SCREEN)
    session = tiny.plan(study, tmp_path / "s", None) if (tmp_path / "s").mkdir() is None else None
    session.queue.search.trained_by["new"] = "old"
    session.queue.reuse_training("new")
    assert not session.ledger.cell("new").exists()


def test_at_full_fidelity_winners_are_confirmed_at_once(tiny, tmp_path):
    study = tiny.study([o for o in SCREEN if "fidelity" not in o])
    run(tiny, study, tmp_path / "s")
    assert [e["stage"] for e in promoted(tmp_path / "s")] == ["confirm"]


@pytest.mark.slow
def test_kill_9_changes_no_choice(tiny, start, tmp_path, look):
    run(tiny, tiny.study(SCREEN), tmp_path / "quiet")
    for _ in range(4):
        process = start(tmp_path / "killed", "engine=local", "pause=0.15", *SCREEN)
        try:
            process.communicate(timeout=2.5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
    out, err = start(tmp_path / "killed", "engine=local", *SCREEN).communicate(timeout=60)
    assert "failed=0" in out, err
    strip = lambda events: [(e["stage"], e["cells"]) for e in events]  # noqa: E731
    assert strip(promoted(tmp_path / "killed")) == strip(promoted(tmp_path / "quiet"))
    assert look.results(tmp_path / "killed") == look.results(tmp_path / "quiet")
    assert look.again(tmp_path / "killed") == []


@pytest.mark.slow
@pytest.mark.ray
def test_both_engines_end_alike(tiny, start, tmp_path, look):
    """One trial at a time: the sampler then sees the same order."""
    one = [*SCREEN, "resources.max_concurrent=1"]
    on_ray = start(tmp_path / "ray", "engine=ray", *one)
    run(tiny, tiny.study(one), tmp_path / "local")  # while Ray starts
    out, err = on_ray.communicate(timeout=200)
    assert "failed=0" in out, err
    stages = [e["stage"] for e in promoted(tmp_path / "ray")]
    assert stages == ["final", "confirm"]
    plan = read_plan(tmp_path / "ray").cells
    assert len(look.results(tmp_path / "ray")) == len(plan)
    results = look.results(tmp_path / "ray")
    both = results.keys() & look.results(tmp_path / "local").keys()
    assert both
    assert all(results[k] == look.results(tmp_path / "local")[k] for k in both)


def test_the_journal_is_read_by_optuna_and_a_resume_adds_nothing(tiny, start, tmp_path):
    given = [*SCREEN, "search.journal=true", "search.confirm=null"]
    process = start(tmp_path / "s", "engine=local", "pause=0.2", *given)
    try:
        process.communicate(timeout=2.5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    study = tiny.study(given)
    for _ in range(2):
        run(tiny, study, tmp_path / "s")
        storage = optuna.storages.JournalStorage(
            optuna.storages.journal.JournalFileBackend(str(tmp_path / "s" / "optuna.log"))
        )
        stored = optuna.load_study(study_name=study.name, storage=storage)
        trials = Search(
            study, Ledger(tmp_path / "s"), fingerprint="f0", anchors=tiny.cells(study, "f0")
        ).trials
        assert len(stored.trials) == len(trials) == 8
        for mine, theirs in zip(trials, stored.trials, strict=True):
            assert (mine.number, mine.state, mine.value) == (
                theirs.number, theirs.state, theirs.value)  # fmt: skip
            assert (mine.params, mine.user_attrs) == (theirs.params, theirs.user_attrs)
        assert stored.metric_names == ["clean"]

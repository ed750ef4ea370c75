"""What a plan counts, predicts, chooses and refuses."""

import json
import math
from dataclasses import replace

import pytest

from sweep.cells.resolve import cells
from sweep.commands import plan as command
from sweep.commands.plan import RefusedError, Wishes, decide
from sweep.data.prepare import make as make_data
from sweep.engine.run import run_study
from sweep.planning import budget, cost, dry_step, pilot
from sweep.planning.cost import Rates, predict, step_seconds
from sweep.planning.plan import duplicates, make
from sweep.planning.workers import slots
from sweep.records.condition import ORDER_CONTROLS
from sweep.records.files import read_records, write_cell
from sweep.records.record import Score, TrialRecord
from sweep.report.family import family_size
from sweep.settings.resources import ResourceSettings
from sweep.settings.section import ConfigError
from sweep.statistics.power import DETECTABLE_SD
from sweep.studies.files import study_names
from sweep.studies.load import load_study
from tests.conftest import SMALL

RATES = Rates(
    source="cells", where="a test", forward_s=0.001, cell_s=1.0, start_s=2.0, data_s=0.01,
    step_s={"static/none": 0.1, "static/pixel": 0.2, "static/infonce": 0.3,
            "static/consistency": 0.3, "static/frame_difference": 0.2,
            "static/consistency+frame_difference+infonce+pixel": 0.4, "meltr/pixel": 0.4},
    perturb_s={"gaussian_noise": 0.01, "jpeg": 0.03}, host_gb=1.0,
)  # fmt: skip


@pytest.mark.parametrize("name", study_names())
def test_every_built_in_study_can_be_planned(name):
    plan = make(load_study(name))
    assert plan.to_run == len(plan.cells) + plan.search_trials
    assert plan.forwards.train > 0
    assert plan.cache_gb.perturbed > 0
    assert json.loads(json.dumps(plan.to_json()))["to_run"] == plan.to_run


@pytest.mark.parametrize(
    ("kind", "losses", "count"),
    [("anchors", 4, 2), ("loo", 4, 6), ("loo", 2, 4), ("factorial", 4, 16), ("factorial", 3, 8),
     ("count", 2, 4), ("loo", 0, 1)],
)  # fmt: skip
def test_cells_per_design_and_number_of_losses(kind, losses, count):
    drop = ["pixel", "infonce", "frame_difference", "consistency"][losses:]
    given = [f"design.kind={kind}", *(f"losses.{name}=null" for name in drop)]
    plan = make(load_study("quickstart", overrides=[*given, "seeds=2"]))
    assert len(plan.labels) == count
    assert len(plan.cells) == 2 * count


def test_equal_cells_are_counted_and_named():
    study = load_study("quickstart", overrides=["combiners={static: {}, meltr: {}}"])
    assert duplicates(study) == ["none [meltr] = none [static]"]
    assert len(make(study).cells) == len(study.seed_list) * 11
    # the one auxiliary loss of weight 0 is none
    off = load_study("quickstart", overrides=["losses.pixel.weight=0"])
    assert "all - pixel = all" in duplicates(off)


# ------------------------------------------------------------------------------------------ cost


def test_a_step_is_measured_or_put_together():
    step = RATES.step_s
    four = ["consistency", "frame_difference", "infonce", "pixel"]
    assert step_seconds(step, "static", four) == 0.4
    assert step_seconds(step, "static", ["pixel"]) == 0.2
    # .1 + (.1 + .2) x what is left of sharing between 1 loss (all) and 4 losses (3/6)
    expected = 0.1 + 0.3 * (1 + (0.5 - 1) / 3)
    assert step_seconds(step, "static", ["infonce", "pixel"]) == pytest.approx(expected)
    assert step_seconds(step, "meltr", ["infonce", "pixel"]) == pytest.approx(2 * expected)
    # nothing but one set: scaled by views
    only = {"static/none": 0.1}
    assert step_seconds(only, "static", ["consistency"]) == pytest.approx(0.2)


def test_time_adds_up():
    study = load_study("quickstart")
    trials = cells(study)
    data = {"evaluation_clips": 240, "clips": 1344, "is_ready": True, "train_clips": 384}
    data["shifts"] = ["appearance", "viewpoint", "dynamics"]
    found = predict(study, trials, RATES, data=data, workers=2)
    tests = 27 * 240 * 0.001
    assert found.cells_s[0] == pytest.approx(400 * 0.1 + tests + 1.0)
    assert found.worker_s == pytest.approx(sum(found.cells_s) + found.once_s)
    assert found.parts["perturb"] == pytest.approx(found.once_s)
    assert sum(found.parts.values()) == pytest.approx(found.worker_s)
    work = found.worker_s / 2
    assert work + cost.RAY_START_S + 2 <= found.wall_s <= work + 10 + max(found.cells_s)
    one = predict(study, trials, RATES, data=data, workers=1, ray=False)
    assert one.wall_s == pytest.approx(2 + one.worker_s)
    fresh = predict(study, trials, RATES, data=data | {"is_ready": False}, workers=2)
    assert fresh.wall_s == pytest.approx(found.wall_s + 13.44)
    # perturbed clips that are too large to keep are made by every cell
    large = data | {"evaluation_clips": 24_000}
    every = predict(study, trials, RATES, data=large, workers=2)
    assert every.once_s == 0
    assert every.parts["perturb"] > 18 * 24_000 * 23 * 0.009


def test_a_dry_step_measures_parts_of_large_designs():
    small = load_study("quickstart")
    assert len(dry_step.representatives(small, cells(small))) == 6
    overrides = ["design.kind=factorial", "combiners={static: {}, meltr: {}}"]
    large = load_study("quickstart", overrides=overrides)
    chosen = [cost.kind_of(t) for t in dry_step.representatives(large, cells(large))]
    whole = "consistency+frame_difference+infonce+pixel"
    assert chosen == [
        "static/none", "static/consistency", "static/frame_difference", "static/infonce",
        "static/pixel", f"static/{whole}", f"meltr/{whole}",
    ]  # fmt: skip


def test_a_dry_step_measures_every_kind_of_cell_and_the_plan_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # no finished cells tell anything
    kept = []
    measure = dry_step.measure_rates

    def once(*given, **how):
        kept.append(kept[0] if kept else measure(*given, **how))
        return kept[0]

    monkeypatch.setattr(dry_step, "measure_rates", once)
    given = [*SMALL, "design.kind=anchors", "seeds=2", "combiners={static: {}, meltr: {}}",
             "losses.infonce=null", "losses.consistency=null"]  # fmt: skip
    wishes = Wishes(out=tmp_path / "none", workers=1, dry_step=True)
    how = {"scale": None, "overrides": given, "wishes": wishes}
    assert command.run("quickstart", as_json=True, **how) == 0
    plan = json.loads(capsys.readouterr().out)
    (rates,) = kept
    trials = cells(load_study("quickstart", overrides=given))
    assert set(rates.step_s) == {cost.kind_of(trial) for trial in trials}
    assert len(rates.step_s) == 3
    assert set(rates.perturb_s) > {"gaussian_noise", "jumbling"}
    numbers = [*rates.step_s.values(), *rates.perturb_s.values(), rates.forward_s, rates.cell_s,
               rates.data_s, rates.start_s, rates.host_gb]  # fmt: skip
    assert all(math.isfinite(number) and number > 0 for number in numbers)
    assert rates.step_s["static/none"] < max(rates.step_s.values())
    assert 1 <= rates.stretch < 100
    time = plan["time"]
    assert time["source"] == "dry step"
    trained = sum(trial.train.steps * rates.step_s[cost.kind_of(trial)] for trial in trials)
    assert time["parts_s"]["train"] == pytest.approx(trained, abs=0.06)
    assert sum(time["parts_s"].values()) == pytest.approx(3600 * time["core_hours"], abs=0.4)
    assert time["wall_s"] > time["data_s"] + rates.start_s
    assert command.run("quickstart", as_json=False, **how) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"{time['cell_s']:.3g} s per cell, from a dry step on" in text
    assert f"{plan['memory_gb']['host']:.2f} GB per cell at its peak" in text


SEARCH = ("design.kind=search", "search.trials=10", "seeds=1", "evaluate.fidelity=screen")


def test_the_end_of_a_search_is_part_of_its_time(measured, capsys):
    """Finalists and anchors on all clips, then winners and anchors with fresh seeds."""
    settings = "search={finalists: 4, confirm: {best: 2, seeds: 3}}"

    def planned(*more):
        return decide(load_study("quickstart", overrides=[*SEARCH, settings, *more]), measured)[1]

    whole, bare = planned(), planned("search.finalists=1", "search.confirm=null")
    anchors = len(whole.cells)
    assert whole.search_promoted == (4 + anchors) + 3 * (2 + anchors)
    assert bare.search_promoted == 1 + anchors
    grown = whole.time.parts_s["train"] - bare.time.parts_s["train"]
    # 3 finalists more and 3 x 2 winners with all losses; the anchors three times more
    step = RATES.step_s
    every = step["static/consistency+frame_difference+infonce+pixel"]
    assert grown == pytest.approx(400 * (9 * every + 3 * (every + step["static/none"])), rel=1e-3)
    full = planned("evaluate.fidelity=full")
    assert full.search_promoted == 3 * (2 + anchors)
    assert full.time.parts_s["test"] > whole.time.parts_s["test"]
    command.run("quickstart", scale=None, overrides=[*SEARCH, settings], as_json=False,
                wishes=measured)  # fmt: skip
    text = " ".join(capsys.readouterr().out.split())
    assert f"up to {whole.search_promoted} for its best" in text
    assert "An upper bound: suggested cells are counted as the largest set" in text
    assert f"the {whole.search_promoted} runs for the best as trained again" in text


@pytest.mark.parametrize(
    ("nodes", "settings", "count"),
    [
        ([(2, 0)], {}, 2),
        ([(8, 0), (3, 0)], {"cpus_per_trial": 2}, 5),
        ([(64, 8), (64, 8)], {"cpus_per_trial": 4, "gpus_per_trial": 0.5}, 32),
        ([(8, 8)], {"cpus_per_trial": 4, "gpus_per_trial": 1}, 2),
        ([(64, 8)], {"gpus_per_trial": 1, "max_concurrent": 3}, 3),
        ([(1, 0)], {"cpus_per_trial": 2}, 1),
    ],
)
def test_trials_at_a_time(nodes, settings, count):
    assert slots(nodes, ResourceSettings(**settings)) == count


# ---------------------------------------------------------------------------------------- budget


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [("8gpuh", 8, "gpuh"), ("20 cpuh", 20, "cpuh"), ("3h", 3, "h"), ("45min", 0.75, "h"),
     ("2d", 48, "h"), ("1.5GPUh", 1.5, "gpuh")],
)  # fmt: skip
def test_budgets_are_read(text, amount, unit):
    assert budget.parse(text) == budget.Budget(amount, unit)


@pytest.mark.parametrize("text", ["8", "gpuh", "8 euros", "-1h", "0h", ""])
def test_other_budgets_are_explained(text):
    with pytest.raises(ConfigError, match="8gpuh"):
        budget.parse(text)


@pytest.mark.parametrize(
    ("given", "amount", "chosen"),
    [("full", 100, "full"), ("full", 50, "screen"), ("full", 20, "screen"), ("full", 12, "probe"),
     ("full", 9, None), ("screen", 100, "screen"), ("screen", 11, "probe"), ("probe", 9, None)],
)  # fmt: skip
def test_the_highest_fidelity_that_fits(given, amount, chosen):
    prices = {"full": 60.0, "screen": 20.0, "probe": 10.0}
    study = load_study("quickstart", overrides=[f"evaluate.fidelity={given}"])
    limit = budget.Budget(amount, "cpuh")
    choice = budget.choose(study, limit, lambda one: prices[one.evaluate.fidelity])
    if chosen is None:
        assert choice.study is None
        assert choice.smallest == 10
        assert "10cpuh (fidelity probe)" in budget.refusal(choice, limit, ("seeds",))
    else:
        assert choice.study is not None
        assert choice.study.evaluate.fidelity == choice.fidelity == chosen


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Plans with known rates, away from the user's folders."""
    monkeypatch.setattr(cost, "from_cells", lambda *_: RATES)
    return Wishes(out=tmp_path / "none", workers=2)


def test_a_budget_decides_and_says_what_it_costs(measured):
    study = load_study("quickstart")
    _, plan, _ = decide(study, measured)
    full = plan.time.core_hours
    chosen, _, said = decide(study, replace(measured, budget=f"{full * 1.01}cpuh"))
    assert chosen.evaluate.fidelity == "full"
    assert "every clip is tested" in said[0]
    thinned = load_study("quickstart", overrides=["evaluate.fidelity=screen"])
    enough = 1.01 * decide(thinned, measured)[1].time.core_hours
    assert enough < full
    chosen, plan, said = decide(study, replace(measured, budget=f"{enough}cpuh"))
    assert chosen.evaluate.fidelity == plan.fidelity == plan.budget.fidelity == "screen"
    assert plan.grid_interval_points > 1
    assert f"+-{plan.grid_interval_points:.1f} points" in said[0]
    with pytest.raises(RefusedError, match="smallest budget that works is") as refused:
        decide(study, replace(measured, budget="0.001cpuh"))
    least = str(refused.value).split("works is ")[1].split(" ")[0]
    assert decide(study, replace(measured, budget=least))[0].evaluate.fidelity == "probe"
    with pytest.raises(ConfigError, match="uses no GPU"):
        decide(study, replace(measured, budget="8gpuh"))


def test_a_refusal_is_exit_code_3(measured, capsys):
    wishes = replace(measured, budget="1min")
    code = command.run("quickstart", scale=None, overrides=(), as_json=False, wishes=wishes)
    assert code == 3
    assert "over budget" in capsys.readouterr().err


def test_a_budget_needs_measured_cells(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="--dry-step"):
        decide(load_study("quickstart"), Wishes(out=tmp_path / "s", budget="8h"))


# ----------------------------------------------------------------------------------------- power


def test_power_agrees_with_the_table_of_detectable_effects():
    for seeds, effect in DETECTABLE_SD.items():
        alone = pilot.weakest(effect, {"clean": 1.0}, seeds, ["clean", "ood"], family=1)
        assert alone == ("clean", pytest.approx(0.8, abs=0.01))
        among = pilot.weakest(effect, {"clean": 1.0}, seeds, ["clean"], family=5)
        assert among[1] < alone[1]


@pytest.mark.parametrize(
    ("given", "tests"),
    [
        ((), 5),  # four losses and the whole set, on the primary outcome
        (("primary_outcome=null",), 4 * 5),
        (("design.kind=loo+aoi", "primary_outcome=null", "headline=[clean]"), 4 + 4 + 4 + 1),
        (("combiners={static: {}, meltr: {}}",), 2 * 5 + 1),
    ],
)
def test_the_tests_of_a_report_are_counted_before_it_is_run(given, tests):
    assert family_size(load_study("quickstart", overrides=list(given))) == tests


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("loss-count", ("design.counts=[0, 8]",), ["2 per combiner", "not tested below 12"]),
        ("loss-count", (), ["26 per combiner, one run each", "±0.54 or more"]),
        ("loss-diversity", ("design.subsets=60",), ["60 per combiner", "±0.39", "given which"]),
        ("loss-diversity", ("design.subsets=9",), ["too few for any correlation"]),
    ],
)
def test_the_set_is_the_unit_of_a_trend_whatever_its_seeds(name, given, said):
    one = make(load_study(name, overrides=[*given, "seeds=1"]))
    text = command._power(one)
    assert all(part in text for part in ("the loss set is the unit", *said)), text
    assert "one seed: no interval" not in text
    more = make(load_study(name, overrides=[*given, "seeds=3"]))
    assert more.trend == one.trend
    assert "each the mean of 3 seeds" in command._power(more)


def test_one_seed_still_claims_nothing_where_seeds_are_the_unit():
    plan = make(load_study("quickstart", overrides=["seeds=1"]))
    assert plan.trend is None
    assert command._power(plan).startswith("one seed: no interval, no claim")


def test_thinned_tests_leave_the_interval_of_the_closed_form():
    assert pilot.grid_interval(85, 3783, None) == 0
    assert pilot.grid_interval(85, 10**9, 64) == pytest.approx(1.96 * 42 / math.sqrt(85 * 64))
    assert pilot.grid_interval(85, 64, 64) == 0


@pytest.fixture
def finished(tmp_path):
    """A sweep whose paired differences have a standard deviation of sqrt(2) points."""
    study = load_study("quickstart", overrides=["headline=[clean]", "seeds=3"])
    sweep = tmp_path / "pilot"
    for trial in cells(study):
        place = study.seed_list.index(trial.seed) - 1
        shift = place * (trial.label == "none") * math.sqrt(2)
        record = TrialRecord(
            key=trial.key, label=trial.label, status="done", seed=trial.seed,
            losses=tuple(sorted(trial.losses)), combiner="static",
            config=trial.model_dump(mode="json"),
            scores=(
                Score(condition="clean", category="clean", metrics={"top1": 70 + shift}, clips=9),
            ),
        )  # fmt: skip
        if trial.label in {"none", "all"}:
            write_cell(sweep / "cells" / trial.key, record, [], None)
    (sweep / "sweep.yaml").write_text("name: pilot\n")
    return study.model_copy(update={"reuse": [str(sweep)]})


def test_a_pilot_gives_points_and_refuses_what_it_would_not_find(finished, tmp_path):
    wishes = Wishes(out=tmp_path / "none", workers=1)
    _, plan, _ = decide(finished, wishes)
    assert plan.pilot.sd == {"clean": pytest.approx(math.sqrt(2))}
    points = plan.pilot.detectable_points["clean"]
    assert points == pytest.approx(DETECTABLE_SD[3] * math.sqrt(2))
    with pytest.raises(RefusedError, match=r"power for 1 points: \d+% on 'clean'"):
        decide(finished, replace(wishes, effect=1.0))
    _, plan, said = decide(finished, replace(wishes, effect=1.0, yes=True))
    assert plan.power.power < 0.5
    _, plan, said = decide(finished, replace(wishes, effect=12.0))
    assert plan.power.power > 0.8
    assert "power for 12 points" in said[0]
    more = finished.model_copy(update={"seeds": plan.power.seeds_for_80})
    assert decide(more, replace(wishes, effect=12.0))[1].power.power >= 0.8


def test_without_a_pilot_the_power_is_unknown_not_refused(tmp_path):
    _, _, said = decide(load_study("quickstart"), Wishes(out=tmp_path, workers=1, effect=2.0))
    assert "unknown" in said[0]


def test_shifts_are_those_of_the_folder_not_of_the_row(small, tmp_path):
    """A folder of one's own with shift lists: the plan says what the study then tests."""
    root = make_data(small().data).resolve()
    own = (
        "data.dataset=ssv2", f"data.root={root}", f"data.cache_dir={tmp_path / 'cache'}",
        "track.wandb=disabled", "design.kind=anchors", "seeds=1", "evaluate.batch=60",
        "train.steps=2", "losses.infonce=null", "data.workers=1",
    )  # fmt: skip
    own = (*SMALL, *own)
    study = load_study("quickstart", overrides=own)
    plan = make(study)
    assert plan.data["shifts"] == ["appearance", "viewpoint", "dynamics"]
    grid = len([name for name in plan.conditions if "/" in name or name in ORDER_CONTROLS])
    assert len(plan.conditions) == 1 + 3 + grid
    run_study(study, out=tmp_path / "sweep", engine="local")
    for record in read_records(tmp_path / "sweep"):
        assert [score.condition for score in record.scores] == list(plan.conditions)
    few = [*own, "evaluate.shifts=[appearance]", "outcomes={clean: [clean]}"]
    one = make(load_study("quickstart", overrides=few))
    assert len(one.conditions) == 1 + 1 + grid
    with pytest.raises(ConfigError, match=r"unknown shift 'apearance'; did you mean 'appearance'"):
        make(load_study("quickstart", overrides=[*own, "evaluate.shifts=[apearance]"]))

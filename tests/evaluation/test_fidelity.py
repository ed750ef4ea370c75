"""The fidelity ladder: one balanced table, honest intervals, nothing changed at `full`."""

import json

import numpy as np
import pytest

from sweep.cells.resolve import cells
from sweep.engine.run import open_session
from sweep.evaluation.conditions import TestPlan as Plan
from sweep.evaluation.fidelity import draw, estimate
from sweep.planning.plan import make
from sweep.records.outcomes import Outcomes
from sweep.records.record import TrialRecord, comparable
from sweep.settings.evaluate import EvaluateSettings
from sweep.settings.section import ConfigError
from sweep.studies.load import load_study
from sweep.trial import run_trial

CELLS = [f"kind{j // 5}/{j % 5 + 1}" for j in range(20)]
SHIFTS = ("appearance", "viewpoint", "dynamics")


def simulated(rng, clips, names=CELLS, interaction=0.6):
    """Item-difficulty model: clean (N,) and outcomes (cells, N)."""
    difficulty = rng.standard_normal(clips)
    hardness = rng.normal(0.2, 0.8, (len(names), 1))
    noise = rng.standard_normal((len(names), clips))
    clean = 1.2 - difficulty + interaction * rng.standard_normal(clips) > 0
    return clean, hardness - difficulty + interaction * noise > 0


# -------------------------------------------------------------------------------------- table


@pytest.mark.parametrize(("clips", "count"), [(240, 64), (101, 32), (37, 36), (1000, 8), (50, 64)])
def test_table_is_balanced_and_free_of_repeats(clips, count):
    drawn = draw(CELLS, clips, fidelity="screen", per_cell=count, seed=3)
    times = np.zeros(clips, int)
    for rows in drawn.rows.values():
        assert len(rows) == min(count, clips)
        assert (np.diff(rows) > 0).all()
        times[rows] += 1
    assert np.ptp(times) <= 1
    assert list(drawn.rows) == CELLS


def test_table_depends_on_seed_and_cells_not_on_their_order():
    one = draw(CELLS, 240, fidelity="screen", per_cell=64, seed=3)
    again = draw(CELLS[::-1], 240, fidelity="screen", per_cell=64, seed=3)
    other = draw(CELLS, 240, fidelity="screen", per_cell=64, seed=4)
    assert one.digest == again.digest != other.digest
    content = one.to_json([f"clip-{i}" for i in range(240)])
    assert content["table"] == one.digest
    assert content["pairs"][CELLS[0]][0] == f"clip-{one.rows[CELLS[0]][0]}"
    json.dumps(content)


# ----------------------------------------------------------------------------------- estimates


def test_all_clips_give_the_exact_mean_without_uncertainty():
    clean, outcome = simulated(np.random.default_rng(0), 60)
    drawn = draw(CELLS, 60, fidelity="screen", per_cell=60, seed=0)
    found = estimate(dict(zip(CELLS, outcome, strict=True)), drawn.rows, clean, {"grid": CELLS})
    assert found["grid"].mean == pytest.approx(100 * outcome.mean())
    assert found["grid"].sd == pytest.approx(0, abs=1e-9)


def test_the_control_variate_is_the_least_squares_one():
    rng = np.random.default_rng(1)
    clean, outcome = simulated(rng, 90)
    drawn = draw(CELLS, 90, fidelity="probe", per_cell=30, seed=1)
    tested = {c: outcome[j, drawn.rows[c]] for j, c in enumerate(CELLS)}
    found = estimate(tested, drawn.rows, clean, {"grid": CELLS, "one": CELLS[:5], "no": []})
    y = np.concatenate([tested[c] - tested[c].mean() for c in CELLS])
    x = np.concatenate([clean[drawn.rows[c]] - clean[drawn.rows[c]].mean() for c in CELLS])
    slope = float(np.linalg.lstsq(x[:, None], y, rcond=None)[0][0])
    expected = np.mean(
        [tested[c].mean() - slope * (clean[drawn.rows[c]].mean() - clean.mean()) for c in CELLS]
    )
    assert found["grid"].slope == pytest.approx(slope)
    assert found["grid"].mean == pytest.approx(100 * expected)
    assert found["one"].sd > found["grid"].sd
    assert "no" not in found


@pytest.mark.parametrize("interaction", [0.2, 1.2])
def test_interval_covers_the_grid_mean(interaction):
    """600 tests: 95 % give or take three standard errors, and as wide as the errors are."""
    rng = np.random.default_rng(7)
    hits, errors, widths = 0, [], []
    for seed in range(600):
        clean, outcome = simulated(rng, 240, interaction=interaction)
        drawn = draw(CELLS, 240, fidelity="screen", per_cell=64, seed=seed)
        tested = {c: outcome[j, drawn.rows[c]] for j, c in enumerate(CELLS)}
        found = estimate(tested, drawn.rows, clean, {"grid": CELLS})["grid"]
        truth = 100 * outcome.mean()
        hits += found.low <= truth <= found.high
        errors.append(found.mean - truth)
        widths.append(found.sd)
    assert 0.922 <= hits / 600 <= 0.978
    assert np.mean(errors) == pytest.approx(0, abs=3 * np.std(errors) / np.sqrt(600))
    assert np.mean(widths) == pytest.approx(np.std(errors), rel=0.1)


def test_without_repeats_the_interval_is_too_wide_never_too_narrow():
    rng = np.random.default_rng(2)
    hits = 0
    for seed in range(200):
        clean, outcome = simulated(rng, 700)
        drawn = draw(CELLS, 700, fidelity="probe", per_cell=32, seed=seed)
        tested = {c: outcome[j, drawn.rows[c]] for j, c in enumerate(CELLS)}
        found = estimate(tested, drawn.rows, clean, {"grid": CELLS})["grid"]
        hits += found.low <= 100 * outcome.mean() <= found.high
    assert hits / 200 >= 0.95


# -------------------------------------------------------------------------------------- studies


def test_full_is_the_default_and_leaves_keys_alone():
    """The keys of the built-in study before there was a choice of fidelity."""
    study = load_study("quickstart")
    trial = cells(study)[0]
    content = trial.model_dump(mode="json")
    del content["evaluate"]["fidelity"], content["evaluate"]["clips_per_cell"]
    assert type(trial).model_validate(content).key == trial.key
    thinned = {
        cells(load_study("quickstart", overrides=o))[0].key
        for o in (
            ["evaluate.fidelity=probe"],
            ["evaluate.fidelity=screen"],
            ["evaluate.fidelity=screen", "evaluate.clips_per_cell=100"],
        )
    }
    assert len(thinned | {trial.key}) == 4


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["evaluate.clips_per_cell=64"], ["fidelity is 'full'", "probe"]),
        (["evaluate.fidelity=screen", "evaluate.clips_per_cell=20"], ["64 to 200", "given 20"]),
        (["evaluate.fidelity=probe", "evaluate.clips_per_cell=64"], ["8 to 63"]),
        (["evaluate.fidelity=quick"], ["evaluate.fidelity", "quick"]),
    ],
)
def test_impossible_fidelities_are_explained(overrides, words):
    with pytest.raises(ConfigError) as caught:
        load_study("quickstart", overrides=overrides)
    assert all(word in str(caught.value) for word in words)


def test_plan_counts_whole_sets_and_thinned_cells():
    screen = load_study("quickstart", overrides=["evaluate.fidelity=screen"])
    tests = Plan.of(screen.evaluate, SHIFTS, {"video"}, 240)
    drawn = tests.table
    assert tests.per_cell == 64
    assert set(drawn.rows) == {r.name for r in tests.rows if r.perturbation}
    per_trial = 4 * 240 + 64 * len(drawn.rows)
    plan = make(screen)
    if plan.data.get("evaluation_clips"):
        assert plan.forwards.evaluate == len(plan.cells) * per_trial


def test_screen_costs_two_percent_of_a_grid_like_that_of_ucf101():
    settings = EvaluateSettings(profile="paper_fixed", fidelity="screen", temporal_checks=False)
    drawn = Plan.of(settings, (), {"video"}, 3783).table
    assert len(drawn.rows) == 90
    assert sum(map(len, drawn.rows.values())) <= 0.02 * 90 * 3783


def test_a_thinned_trial_tests_the_table_and_agrees_with_the_whole_one(small, tmp_path):
    over = ("data.val_per_class=3", "train.steps=2")
    whole = run_trial(cells(small(*over))[0], scratch=tmp_path / "1", reraise=True)
    study = small(*over, "evaluate.fidelity=probe", "evaluate.clips_per_cell=9")
    thin = run_trial(cells(study)[0], scratch=tmp_path / "2", reraise=True)
    assert "fidelity" not in whole.record.to_json()
    assert "thinned" not in whole.record.forwards
    about = thin.record.fidelity
    drawn = Plan.of(study.evaluate, SHIFTS, {"video"}, 24).table
    assert (about["name"], about["clips_per_cell"], about["cells"]) == ("probe", 9, 4)
    assert about["table"] == drawn.digest
    for score in thin.record.scores:
        condition = score.condition
        rows = thin.outcomes.tested(condition)
        if score.category in {"clean", "shift"}:
            assert score.accuracy == whole.record.accuracy[condition]
            assert score.pixels == {s.condition: s.pixels for s in whole.record.scores}[condition]
            assert len(rows) == score.clips == 24
        else:
            assert np.array_equal(rows, drawn.rows[condition])
            # the draws of a clip do not depend on its company: the same pixels, predictions
            before = whole.outcomes.predictions[condition][rows]
            assert np.array_equal(thin.outcomes.predictions[condition], before)
            assert score.accuracy == pytest.approx(100 * thin.outcomes.correct(condition).mean())
    assert thin.record.forwards["thinned"] == 4 * (24 - 9)
    grid = thin.record.estimates["grid"]
    assert (grid["cells"], grid["pairs"]) == (2, 18)  # the order controls are no part of it
    assert grid["low"] <= grid["mean"] <= grid["high"]
    again = TrialRecord.from_json(thin.record.to_json())
    assert comparable(again.to_json()) == comparable(thin.record.to_json())
    thin.outcomes.save(tmp_path / "outcomes.npz")
    for stored in (
        Outcomes.load(tmp_path / "outcomes.npz"),
        Outcomes.unpack(thin.outcomes.pack()),
    ):
        for condition in stored.conditions:
            assert np.array_equal(stored.correct(condition), thin.outcomes.correct(condition))
            assert np.array_equal(stored.confidence[condition], thin.outcomes.confidence[condition])


def test_the_sweep_folder_keeps_the_table(small, tmp_path):
    from sweep.engine.signals import Signals

    study = small("evaluate.fidelity=screen", "track.wandb=disabled")
    open_session(study, tmp_path, Signals())
    plan = json.loads((tmp_path / "plan.json").read_text())
    stored = json.loads((tmp_path / "clips_tested.json").read_text())
    assert plan["data"]["fidelity"]["table"] == stored["table"]
    assert all(len(names) == 16 for names in stored["pairs"].values())  # there are no 64

"""Robustness measures against a slow recomputation; reports of thinned tests."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest

from sweep.evaluation.fidelity import draw
from sweep.metrics.calibration import calibration_error
from sweep.records.files import read_records, write_cell
from sweep.records.outcomes import Outcomes
from sweep.records.patterns import outcome
from sweep.records.record import Score
from sweep.report.build import build
from sweep.report.evidence import collect, outcome_arrays
from sweep.report.robustness import _gammas, measure_robustness
from sweep.statistics.intervals import seeds_and_clips
from tests.outcomes import predicting

WHOLE = {"untrained": (), "failed": (), "missing": (), "few": True, "clips": 80, "steps": 100}


@pytest.fixture(scope="module")
def tiny(new_sweep):
    return new_sweep(losses=("consistency", "pixel"), seeds=(1, 2), **WHOLE)


def thin(sweep, per_cell, *, only=None, seed=0):
    """Rewrite the records of a sweep as if few clips had been tested."""
    for record in read_records(sweep):
        if only is not None and record.key not in only:
            continue
        cell = sweep / "cells" / record.key
        whole = Outcomes.load(cell / "outcomes.npz")
        names = [c for c in whole.conditions if "/" in c]
        table = draw(names, 80, fidelity="probe", per_cell=per_cell, seed=seed)
        predictions = {
            c: whole.predictions[c][whole.tested(c) if c not in table.rows else table.rows[c]]
            for c in whole.conditions
        }
        thinned = predicting(whole, predictions, rows=table.rows)
        scores = tuple(
            Score(
                condition=s.condition,
                category=s.category,
                level=s.level,
                metrics={"top1": 100 * float(thinned.correct(s.condition).mean())},
                clips=len(predictions[s.condition]),
            )
            for s in record.scores
        )
        grid = {"mean": 50.0, "low": 45.0, "high": 55.0, "cells": 6, "pairs": 6 * per_cell}
        record = dataclasses.replace(
            record,
            scores=scores,
            fidelity=table.about(),
            estimates={
                "grid": grid,
                "category/noise": grid | {"mean": 61.5},
                "perturbation/frame_shuffle": grid | {"cells": 1},
            },
            forwards={**record.forwards, "thinned": 1234},
        )
        write_cell(cell, record, [], thinned)


@pytest.fixture(scope="module")
def probe(new_sweep):
    sweep = new_sweep(losses=("consistency", "pixel"), seeds=(1, 2), **WHOLE)
    thin(sweep, 20)
    return sweep


# ------------------------------------------------------------------------------------- numbers


def test_measures_equal_a_slow_recomputation(tiny):
    evidence = collect(tiny)
    found = measure_robustness(evidence)
    for record in evidence.records:
        table = evidence.outcome_table(record)
        clean = record.accuracy["clean"]
        noise = [record.accuracy[f"gaussian_noise/{s}"] for s in (1, 3, 5)]
        jumbled = [record.accuracy[f"jumbling/{s}"] for s in (1, 3, 5)]
        mpc = (sum(noise) / 3 + sum(jumbled) / 3) / 2
        steps = [*noise, *jumbled]

        def value(name, key=record.key):
            return found.values[name][key]

        assert value("mPC") == pytest.approx(mpc)
        assert value("rPC") == pytest.approx(mpc / clean) == pytest.approx(value("γr micro"))
        assert value("γa micro") == pytest.approx(1 - (clean - mpc) / 100)
        assert value("γr macro") == pytest.approx(mpc / clean)  # two categories of one kind each
        assert value("worst condition") == pytest.approx(min(steps) / clean)
        assert value("worst perturbation") == pytest.approx(
            min(sum(noise), sum(jumbled)) / 3 / clean
        )
        assert value("CVaR") == pytest.approx(sum(sorted(steps)[:2]) / 2 / clean)
        area = [(clean + a) / 2 + (a + b) / 2 * 2 + (b + c) / 2 * 2 for a, b, c in (noise, jumbled)]
        assert value("AUS") == pytest.approx(sum(area) / 2 / 5 / clean)
        truth, before = table.labels["clean"], table.predictions["clean"]
        kept, resisted = [], []
        for condition in found.conditions:
            after = table.predictions[condition]
            kept.append(sum(a == b for a, b in zip(before, after, strict=True)) / 80)
            right = [i for i in range(80) if before[i] == truth[i]]
            resisted.append(sum(after[i] == truth[i] for i in right) / len(right))
        assert value("consistency") == pytest.approx(sum(kept) / 6)
        assert value("flip rate") == pytest.approx(1 - sum(kept) / 6)
        assert value("resist rate") == pytest.approx(sum(resisted) / 6)
        shuffled = table.predictions["frame_shuffle/1"]
        right = [i for i in range(80) if before[i] == truth[i]]
        changed = sum(shuffled[i] != before[i] for i in right) / len(right)
        assert value("temporal sensitivity") == pytest.approx(changed)
        steps = []
        for name in ("gaussian_noise", "jumbling"):
            path = [before, *(table.predictions[f"{name}/{s}"] for s in (1, 3, 5))]
            steps.append(np.mean([a != b for a, b in itertools.pairwise(path)]))
        assert value("flips per step") == pytest.approx(np.mean(steps))
    assert "hold no class probabilities" in found.reasons["ECE clean"]


def test_errors_are_relative_to_the_run_without_losses_of_the_same_seed(tiny):
    found = measure_robustness(collect(tiny))
    records = {(r.label, r.seed): r for r in found.evidence.records}
    for (label, seed), record in records.items():
        if label == "none":
            assert record.key not in found.values["mCE"]
            continue
        base = records["none", seed].accuracy
        ours = record.accuracy
        errors, rises = [], []
        for name in ("gaussian_noise", "jumbling"):
            rows = [f"{name}/{s}" for s in (1, 3, 5)]
            errors.append(sum(100 - ours[c] for c in rows) / sum(100 - base[c] for c in rows))
            rises.append(
                sum(ours["clean"] - ours[c] for c in rows)
                / sum(base["clean"] - base[c] for c in rows)
            )
        assert found.values["mCE"][record.key] == pytest.approx(np.mean(errors))
        assert found.values["relative mCE"][record.key] == pytest.approx(np.mean(rises))


def test_redrawn_videos_take_all_their_perturbations_along(tiny, probe):
    """Weights of a resample mean the same as repeating the clips, thinned or not."""
    rng = np.random.default_rng(3)
    drawn = rng.integers(0, 80, (4, 80))
    weights = np.array([np.bincount(row, minlength=80) for row in drawn]).astype(np.float32)
    for sweep in (tiny, probe):
        evidence = collect(sweep)
        grid = measure_robustness(evidence).grid
        table = evidence.outcome_table(evidence.records[0])
        fast = _gammas(weights, table, grid)
        for row, (absolute, relative) in zip(drawn, fast, strict=True):
            clean = np.mean([table.correct("clean")[i] for i in row])
            means = []
            for conditions in grid.values():
                levels = []
                for condition in conditions:
                    where = {int(r): i for i, r in enumerate(table.tested(condition))}
                    correct = table.correct(condition)
                    levels.append(np.mean([correct[where[i]] for i in row if i in where]))
                means.append(np.mean(levels))
            assert relative == pytest.approx(np.mean(means) / clean, rel=1e-5)
            assert absolute == pytest.approx(1 - (clean - np.mean(means)), rel=1e-5)


def test_intervals_over_videos_hold_the_estimate_and_differences_are_paired(tiny):
    evidence = collect(tiny)
    found = measure_robustness(evidence)
    cells = {cell.name: cell for cell in evidence.finished}
    for (cell, mark), boot in found.boot.items():
        assert boot.low <= boot.mean <= boot.high
        if mark != "γr − none":
            assert boot.mean == pytest.approx(found.mean(cells[cell], f"{mark} micro")[0], rel=1e-5)
    assert ("none", "γr − none") not in found.boot
    gain = found.boot["all", "γr − none"].mean
    means = [found.boot[name, "γr"].mean for name in ("all", "none")]
    assert gain == pytest.approx(means[0] - means[1], abs=1e-6)


def test_calibration_error_of_confidences():
    rng = np.random.default_rng(0)
    sure = rng.random(500)
    right = rng.random(500) < sure**2
    expected = 0.0
    for low in range(15):
        inside = (sure > low / 15) & (sure <= (low + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(sure[inside].mean() - right[inside].mean())
    assert calibration_error(sure, right) == pytest.approx(expected)
    coarse = np.round(sure * 255) / 255
    assert calibration_error(coarse, right) == pytest.approx(expected, abs=0.02)
    assert np.isnan(calibration_error([], []))


def test_confidences_give_calibration(new_sweep):
    sweep = new_sweep(losses=("pixel",), seeds=(1,), **WHOLE)
    for record in read_records(sweep):
        cell = sweep / "cells" / record.key
        table = Outcomes.load(cell / "outcomes.npz")
        sure = {c: np.full(80, 204, np.uint8) for c in table.conditions}
        dataclasses.replace(table, kept={**table.kept, "confidence": sure}).save(
            cell / "outcomes.npz"
        )
    evidence = collect(sweep)
    found = measure_robustness(evidence)
    for record in evidence.records:
        gap = abs(0.8 - record.accuracy["clean"] / 100)
        assert found.values["ECE clean"][record.key] == pytest.approx(gap)
    # two runs are too few for a line through the others
    assert "needs three of them" in found.reasons["ρ shifts"]


def test_class_probabilities_of_a_record_come_before_its_confidences(new_sweep, undrawn):
    sweep = new_sweep(losses=("pixel",), seeds=(1,), **WHOLE)
    for number, record in enumerate(read_records(sweep)):
        kept = {}
        for place, condition in enumerate(record.accuracy):
            kept[condition] = {"ece": 0.01 * place, "brier": 0.5 + number, "nll": None, "mce": 0.2}
            kept[condition] |= {"adaptive_ece": 0.1, "rms": 0.3, "zipf": 0.01 * place, "top5": 1.0}
        table = Outcomes.load(sweep / "cells" / record.key / "outcomes.npz")
        write_cell(
            sweep / "cells" / record.key,
            dataclasses.replace(record, probabilities=kept),
            [],
            table,
        )
    evidence = collect(sweep)
    found = measure_robustness(evidence)
    for number, record in enumerate(evidence.records):
        places = [list(record.accuracy).index(c) for c in found.conditions]
        assert found.values["ECE clean"][record.key] == 0
        assert found.values["ECE grid"][record.key] == pytest.approx(0.01 * np.mean(places))
        assert found.values["Zipf distance"][record.key] == pytest.approx(0.01 * np.mean(places))
        assert found.values["Brier grid"][record.key] == pytest.approx(0.5 + number)
    assert "NLL" in found.reasons
    text = build(sweep).markdown.read_text()
    assert "1.50 (grid 1.50)" in text
    assert "| adaptive ECE |" in text


def test_a_model_that_knows_nothing_has_no_ratios(new_sweep):
    sweep = new_sweep(losses=("consistency", "pixel"), seeds=(1,), **WHOLE)
    record = next(r for r in read_records(sweep) if r.label == "all")
    cell = sweep / "cells" / record.key
    table = Outcomes.load(cell / "outcomes.npz")
    wrong = {**table.predictions, "clean": (table.labels["clean"] + 1) % 8}
    scores = tuple(
        dataclasses.replace(s, metrics={"top1": 0.0}) if s.condition == "clean" else s
        for s in record.scores
    )
    write_cell(
        cell,
        dataclasses.replace(record, scores=scores),
        [],
        predicting(table, wrong),
    )
    found = measure_robustness(collect(sweep))
    for name in ("γr micro", "γr macro", "rPC", "AUS", "resist rate", "temporal sensitivity"):
        assert np.isnan(found.values[name][record.key])
        assert "clean accuracy 0" in found.reasons[name]
    assert np.isfinite(found.values["γa micro"][record.key])
    assert np.isnan(found.boot[record.label, "γr"].low)
    assert "n/a" in build(sweep).markdown.read_text()


# ------------------------------------------------------------------------------------ the page


def test_the_page_shows_the_measures_with_reasons_for_gaps(tiny):
    paths = build(tiny)
    text = paths.markdown.read_text()
    assert "## Robustness measures" in text
    assert "fidelity full" in text
    assert "the records of these runs hold no class probabilities" in text
    frame = pd.read_csv(paths.html.parent / "tables" / "measures.csv")
    found = measure_robustness(collect(tiny))
    assert len(frame) == sum(len(values) for values in found.values.values())
    assert {"γr micro", "mPC", "CVaR", "resist rate", "ρ shifts"} <= set(frame.measure)


def test_without_outcomes_nothing_is_made_up(new_sweep):
    sweep = new_sweep(losses=("pixel",), seeds=(1,), **WHOLE, outcomes=False)
    found = measure_robustness(collect(sweep))
    assert found.boot == {}
    assert "consistency" not in found.values
    assert found.reasons["consistency"] == "no per-clip outcomes"
    assert found.reasons["intervals over videos"] == "no per-clip outcomes"
    assert "mPC" in found.values


# -------------------------------------------------------------------------------------- fidelity


def test_thinned_reports_show_no_single_cell(probe):
    paths = build(probe)
    text = paths.markdown.read_text()
    assert "fidelity probe, 20 clips per perturbation cell" in text
    assert "## Estimates at fidelity probe" in text
    assert "61.5 (± 5.0)" in text
    assert "Not shown at fidelity probe" in text
    assert "worst perturbation, worst condition and CVaR" in text
    assert f"table of the pairs {read_records(probe)[0].fidelity['table']}" in text
    assert "fidelity probe left out 9,872 more" in text  # eight runs
    folder = paths.html.parent
    conditions = pd.read_csv(folder / "tables" / "conditions.csv")
    assert not conditions.condition.str.contains("/").any()
    assert set(conditions.condition) == {"clean", "appearance", "viewpoint", "dynamics"}
    columns = set(pd.read_csv(folder / "tables" / "contrasts_by_condition.csv").outcome)
    assert "gaussian_noise" in columns
    assert "frame_shuffle" not in columns
    estimates = pd.read_csv(folder / "tables" / "estimates.csv")
    assert set(estimates.group) == {"grid", "category/noise"}


def test_fidelities_never_mix(new_sweep):
    for case in ("part", "other table"):
        sweep = new_sweep(losses=("pixel",), seeds=(1,), **WHOLE)
        first = read_records(sweep)[0].key
        if case == "part":
            thin(sweep, 20, only={first})
        else:
            thin(sweep, 20)
            thin_again = {r.key for r in read_records(sweep)} - {first}
            for record in read_records(sweep):
                if record.key in thin_again:
                    about = {**record.fidelity, "table": "0" * 16}
                    changed = dataclasses.replace(record, fidelity=about)
                    write_cell(sweep / "cells" / record.key, changed, [], None)
        with pytest.raises(ValueError, match=r"different fidelities.*probe"):
            build(sweep)


def test_paired_clip_intervals_of_thinned_tests(probe):
    """The point estimate is the difference of the tested clips' means, clips stay clusters."""
    evidence = collect(probe)
    patterns = ["gaussian_noise/*"]
    one, two = (evidence.cell(name).records[1] for name in ("all", "none"))
    arrays = outcome_arrays(evidence, [[one], [two]], patterns)
    assert [a.shape for a in itertools.chain(*arrays)] == [(1, 3, 80)] * 2
    interval = seeds_and_clips(*arrays).columns
    difference = outcome(one, patterns) - outcome(two, patterns)
    assert interval.mean == pytest.approx(difference)
    assert interval.low < difference < interval.high
